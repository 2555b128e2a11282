import { hash } from 'node:crypto';
import {
  type Category,
  type Cause,
  CursorConflict,
  type EventStore,
  type Loaded,
  Rejection,
  VersionConflict,
} from '@interlock/event-store';
import { type Instant, inSpan } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type GrantHolder, hold } from '../grant-holder/decider.ts';
import type { GrantHolderEvent } from '../grant-holder/events.ts';
import { turnOfGiving } from '../platform-owner/owners.ts';
import { assign, type Grant, type RoleAssignment } from './decider.ts';
import type { RoleAssignmentEvent } from './events.ts';

/** Conflicts in a row after which something else keeps giving and taking this grant. */
const conflictsMax = 20;

const tracer = trace.getTracer('@interlock/identity');

/**
 * Makes an assignment that is the only one of its principal, role and scope, whoever else makes one meanwhile; the same id and
 * grant again decide nothing.
 * @param permit throws where whoever gives it may not, or may not any more: a role that makes somebody an owner of the platform
 *   is stored only where nobody has ceased to be one since
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

/** Opens it. */
export const openAssigning = (parts: {
  readonly store: Pick<EventStore, 'commit' | 'cursor'>;
  readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
  readonly holders: Category<GrantHolder, GrantHolderEvent>;
}): Assigning => {
  const { store, assignments, holders } = parts;

  /** Another assignment that gives the grant: the one that holds it, or one from before grants had holders. */
  const twinOf = async (id: string, grant: Grant, holder: GrantHolder): Promise<string | undefined> => {
    const named = holder.status === 'held' ? [await assignments.load(holder.assignment)] : [];
    const listed = await assignments.listAll({ index: { index: 'principal', value: grant.principal } });
    return [...named, ...listed].find((other) => other.id !== id && gives(other.state, grant))?.id;
  };

  return async (id, grant, at, cause, permit) => {
    for (let conflicts = 0; conflicts < conflictsMax; conflicts += 1) {
      // Before the look for others: whoever made one before this has it in the list, and whoever does so later moves the holder.
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
      const cursors = await turnOfGiving(store, grant);
      if (cursors.length > 0) await permit?.();
      const appends = [assigned, held].flatMap(({ append }) => append ?? []);
      const rows = [assigned, held].flatMap(({ row }) => row ?? []);
      const attributes = { 'interlock.stream': assigned.append.stream, 'interlock.stream.version': assigned.version };
      try {
        const commit = { appends, rows, cursors };
        await inSpan(tracer, 'append role_assignment', { attributes }, () => store.commit(commit, cause));
        return assigned;
      } catch (error) {
        if (!(error instanceof VersionConflict || error instanceof CursorConflict)) throw error;
      }
    }
    throw new Rejection('ABORTED', 'CONTENTION', `${id} is being changed by others all the time; try again`, {
      name: id,
    });
  };
};

const gives = (state: RoleAssignment, { principal, role, scope }: Grant): boolean =>
  state.status === 'assigned' && state.principal === principal && state.role === role && state.scope === scope;

/** Under which id the holder of a grant is stored: principal, role and scope together are longer than a name may be. */
const holderIdOf = ({ principal, role, scope }: Grant): string =>
  hash('sha256', JSON.stringify([principal, role, scope]));
