import {
  type Category,
  type Cause,
  CursorConflict,
  type CursorMove,
  type EventOf,
  type EventStore,
  etagMismatch,
  type Loaded,
  type Prepared,
  Rejection,
  storeInSpan,
  VersionConflict,
} from '@interlock/event-store';
import { names } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import { actsUntil, type Principal, reserveMs } from '../principal/decider.ts';
import type { PrincipalEvent } from '../principal/events.ts';
import { type Grant, type RoleAssignment, remove } from '../role-assignment/decider.ts';
import type { RoleAssignmentEvent } from '../role-assignment/events.ts';
import { noteRemoval, type OwnerRemovalEvent, type OwnerRemovals, ownerRemovalsId } from './removals.ts';

/** Conflicts in a row before a change gives up. */
const conflictsMax = 20;

/** Moved by every commit that makes an owner or removes one: removals of the last owners thus exclude each other. */
const ownersCursor = 'platform_owners';

interface Expected {
  /** Only at this version of the stream (an etag). */
  readonly expected?: number;
}

/** An assignment that makes a principal an owner of the platform, by ids. */
interface Ownership {
  readonly assignmentId: string;
  readonly principalId: string;
}

/** A change that removes an owner, now or when its secrets expire. */
interface Removal {
  /** `principals/<id>` */
  readonly principal: string;
  concerns(ownership: Ownership): boolean;
  /** Until when the owner can still act. */
  readonly until: Instant;
}

/** What to store with a new assignment if it makes an owner: a concurrent removal then repeats its check. */
export const cursorOfGrant = async (
  store: Pick<EventStore, 'cursor'>,
  grant: Pick<Grant, 'role' | 'scope'>,
): Promise<readonly CursorMove[]> => {
  if (!isOwnerGrant(grant)) return [];
  const from = await store.cursor(ownersCursor);
  return [{ name: ownersCursor, from, to: from + 1 }];
};

/**
 * Changes that may remove an owner of the platform. They are refused unless another owner has a secret that lasts for a day: only
 * an owner gives that role, so without one the platform could never be managed again.
 */
export class PlatformOwners {
  readonly #store: Pick<EventStore, 'commit' | 'cursor'>;
  readonly #principals: Category<Principal, PrincipalEvent>;
  readonly #assignments: Category<RoleAssignment, RoleAssignmentEvent>;
  readonly #removals: Category<OwnerRemovals, OwnerRemovalEvent>;

  constructor(parts: {
    readonly store: Pick<EventStore, 'commit' | 'cursor'>;
    readonly principals: Category<Principal, PrincipalEvent>;
    readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
    readonly removals: Category<OwnerRemovals, OwnerRemovalEvent>;
  }) {
    this.#store = parts.store;
    this.#principals = parts.principals;
    this.#assignments = parts.assignments;
    this.#removals = parts.removals;
  }

  /**
   * Decides about a principal, as `transact` does.
   * @throws Rejection from `decide`; FAILED_PRECONDITION LAST_PLATFORM_OWNER; ABORTED ETAG_MISMATCH, CONTENTION
   */
  changePrincipal(
    id: string,
    decide: (principal: Principal) => readonly PrincipalEvent[],
    at: Instant,
    cause: Cause,
    options: Expected,
  ): Promise<Loaded<Principal>> {
    const removalOf = (before: Principal, after: Principal): Removal | undefined => {
      const until = actsUntil(after);
      // Without a secret an owner can still act, with an earlier token.
      if (until >= actsUntil(before) && !isDeletedOwner(before, after)) return undefined;
      return { principal: `principals/${id}`, concerns: ({ principalId }) => principalId === id, until };
    };
    return this.#change(this.#principals, id, decide, removalOf, at, cause, options);
  }

  /**
   * Removes a role assignment.
   * @throws Rejection NOT_FOUND ROLE_ASSIGNMENT_NOT_FOUND; FAILED_PRECONDITION LAST_PLATFORM_OWNER; ABORTED ETAG_MISMATCH, CONTENTION
   */
  async removeAssignment(id: string, at: Instant, cause: Cause, options: Expected): Promise<void> {
    const removalOf = (before: RoleAssignment): Removal | undefined =>
      makesOwner(before)
        ? {
            principal: before.principal,
            concerns: ({ assignmentId }) => assignmentId === id,
            until: Number.NEGATIVE_INFINITY,
          }
        : undefined;
    await this.#change(this.#assignments, id, remove(at), removalOf, at, cause, options);
  }

  /** Until when some owner can act: `Infinity` with a secret that does not expire. */
  async actUntil(): Promise<Instant> {
    return Math.max(...(await this.#owners()).map(({ until }) => until));
  }

  /** Every owner, and until when it can act. */
  async #owners(): Promise<readonly (Ownership & { readonly until: Instant })[]> {
    const onPlatform = await this.#assignments.listAll({ index: { index: 'scope', value: '/' } });
    const ownerships = onPlatform.flatMap(({ id, state }) =>
      makesOwner(state)
        ? { assignmentId: id, principalId: names.principal.parse(state.principal, 'principal').principal }
        : [],
    );
    const loaded = await this.#principals.loadMany([...new Set(ownerships.map(({ principalId }) => principalId))]);
    const untilOf = new Map(loaded.map(({ id, state }) => [id, actsUntil(state)]));
    return ownerships.map((one) => ({ ...one, until: untilOf.get(one.principalId) ?? Number.NEGATIVE_INFINITY }));
  }

  /** @returns whether the change removes an owner, and its name if it could act. @throws Rejection LAST_PLATFORM_OWNER */
  async #check(
    { principal, concerns, until }: Removal,
    at: Instant,
  ): Promise<{ readonly isOwner: boolean; readonly acting: string | undefined }> {
    const owners = await this.#owners();
    const removed = owners.filter(concerns);
    const before = Math.max(...owners.map((one) => one.until));
    const after = Math.max(...owners.map((one) => (concerns(one) ? until : one.until)));
    if (before <= at || after >= before || after > at + reserveMs) {
      const endsNow = until <= at && removed.some((one) => one.until > at);
      return { isOwner: removed.length > 0, acting: endsNow ? principal : undefined };
    }
    const since = after > at ? ` from ${new Date(after).toISOString()} on, when the last secret expires` : '';
    throw new Rejection(
      'FAILED_PRECONDITION',
      'LAST_PLATFORM_OWNER',
      `${principal} is the last owner of the platform with a usable secret: without it the platform could not be managed${since}. Give another principal a secret and the role first (\`interlock role assign <principal> owner --scope /\`)`,
      { principal },
    );
  }

  async #change<State, Event extends EventOf>(
    category: Category<State, Event>,
    id: string,
    decide: (state: State) => readonly Event[],
    removalOf: (before: State, after: State) => Removal | undefined,
    at: Instant,
    cause: Cause,
    { expected }: Expected,
  ): Promise<Prepared<State, Event>> {
    for (let conflicts = 0; conflicts < conflictsMax; conflicts += 1) {
      // Read before the other owners: a later change of owners moves the cursor, and the commit conflicts.
      const cursor = await this.#store.cursor(ownersCursor);
      const removed = await this.#removals.load(ownerRemovalsId);
      const loaded = await category.load(id);
      if (expected !== undefined && expected !== loaded.version) throw etagMismatch(id, expected, loaded.version);
      const prepared = category.prepare(loaded, decide);
      if (!prepared.append) return prepared;
      const removal = removalOf(loaded.state, prepared.state);
      const found = removal && (await this.#check(removal, at));
      const noted =
        found?.acting === undefined ? undefined : this.#removals.prepare(removed, noteRemoval(at, found.acting));
      // A principal that is no owner only guards the cursor: it may have become the last owner since the check.
      const cursors = found ? [{ name: ownersCursor, from: cursor, to: found.isOwner ? cursor + 1 : cursor }] : [];
      const appends = [prepared, noted].flatMap((one) => one?.append ?? []);
      const rows = [prepared, noted].flatMap((one) => one?.row ?? []);
      try {
        await storeInSpan(this.#store, `append ${category.definition.name}`, { appends, rows, cursors }, cause);
        return prepared;
      } catch (error) {
        if (!(error instanceof VersionConflict || error instanceof CursorConflict)) throw error;
      }
    }
    throw new Rejection('ABORTED', 'CONTENTION', `${id} is being changed by others: repeat the call`, { name: id });
  }
}

/** Whether a principal is deleted that may be an owner. A managed identity never is. */
const isDeletedOwner = (before: Principal, after: Principal): boolean =>
  before.status === 'active' && before.principalType !== 'managed_identity' && after.status === 'deleted';

const isOwnerGrant = ({ role, scope }: Pick<Grant, 'role' | 'scope'>): boolean =>
  role === 'roles/owner' && scope === '/';

const makesOwner = (state: RoleAssignment): state is Extract<RoleAssignment, { status: 'assigned' }> =>
  state.status === 'assigned' && isOwnerGrant(state);
