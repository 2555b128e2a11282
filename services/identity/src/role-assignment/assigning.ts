import { hash } from 'node:crypto';
import {
  type Category,
  type Cause,
  CursorConflict,
  type EventStore,
  type Loaded,
  Rejection,
  storeInSpan,
  VersionConflict,
} from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { cursorOfGrant } from '../platform-owner/owners.ts';
import { assign, type Grant, type RoleAssignment } from './decider.ts';
import type { RoleAssignmentEvent } from './events.ts';
import { type GrantHolder, type GrantHolderEvent, hold } from './grant-holder.ts';

/** Conflicts in a row before an assignment gives up. */
const conflictsMax = 20;

/**
 * Creates the only assignment of its principal, role and scope. A repeat with the same id and grant has no effect.
 * @param permit throws if the caller may not give the role; called again before an owner of the platform is stored, because the
 *   caller may have lost its own role meanwhile
 * @throws Rejection from `permit`; ALREADY_EXISTS ROLE_ASSIGNMENT_ALREADY_EXISTS when another assignment gives the grant,
 *   ROLE_ASSIGNMENT_UPDATE_NOT_PERMITTED as `assign`; ABORTED CONTENTION
 */
export type Assigning = (
  id: string,
  grant: Grant,
  at: Instant,
  cause: Cause,
  permit?: () => Promise<void>,
) => Promise<Loaded<RoleAssignment>>;

export const openAssigning = (parts: {
  readonly store: Pick<EventStore, 'commit' | 'cursor' | 'spanAttributes' | 'tracer'>;
  readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
  readonly holders: Category<GrantHolder, GrantHolderEvent>;
}): Assigning => {
  const { store, assignments, holders } = parts;

  /** Another assignment that gives the grant. */
  const twinOf = async (id: string, grant: Grant, holder: GrantHolder): Promise<string | undefined> => {
    const named = holder.status === 'held' ? [await assignments.load(holder.assignment)] : [];
    const listed = await assignments.listAll({ index: { index: 'principal', value: grant.principal } });
    return [...named, ...listed].find((other) => other.id !== id && gives(other.state, grant))?.id;
  };

  return async (id, grant, at, cause, permit) => {
    for (let conflicts = 0; conflicts < conflictsMax; conflicts += 1) {
      // Read before the other assignments: one that is created later moves the holder, and the commit conflicts.
      const holder = await holders.load(holderIdOf(grant));
      const assigned = assignments.prepare(await assignments.load(id), assign(at, grant));
      if (!assigned.append || !assigned.row) return assigned;
      const twin = await twinOf(id, grant, holder.state);
      if (twin !== undefined) {
        throw new Rejection('ALREADY_EXISTS', 'ROLE_ASSIGNMENT_ALREADY_EXISTS', 'The role assignment already exists.', {
          name: `roleAssignments/${twin}`,
        });
      }
      const held = holders.prepare(holder, hold(at, id));
      const cursors = await cursorOfGrant(store, grant);
      if (cursors.length > 0) await permit?.();
      const appends = [assigned, held].flatMap(({ append }) => append ?? []);
      const rows = [assigned, held].flatMap(({ row }) => row ?? []);
      try {
        await storeInSpan(store, 'append role_assignment', { appends, rows, cursors }, cause);
        return assigned;
      } catch (error) {
        if (!(error instanceof VersionConflict || error instanceof CursorConflict)) throw error;
      }
    }
    throw new Rejection('ABORTED', 'CONTENTION', `${id} is being changed by others: repeat the call`, {
      name: id,
    });
  };
};

const gives = (state: RoleAssignment, { principal, role, scope }: Grant): boolean =>
  state.status === 'assigned' && state.principal === principal && state.role === role && state.scope === scope;

/** Principal, role and scope together would be too long for an id. */
const holderIdOf = ({ principal, role, scope }: Grant): string =>
  hash('sha256', JSON.stringify([principal, role, scope]));
