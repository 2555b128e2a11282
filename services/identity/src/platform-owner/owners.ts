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
  VersionConflict,
} from '@interlock/event-store';
import { names } from '@interlock/rpc';
import { type Instant, inSpan } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { actsUntil, type Principal, reserveMs } from '../principal/decider.ts';
import type { PrincipalEvent } from '../principal/events.ts';
import { type Grant, type RoleAssignment, remove } from '../role-assignment/decider.ts';
import type { RoleAssignmentEvent } from '../role-assignment/events.ts';
import { noteRemoval, type OwnerRemovals, ownerRemovalsId } from './decider.ts';
import type { OwnerRemovalEvent } from './events.ts';

/** Conflicts in a row after which something else keeps changing the same. */
const conflictsMax = 20;

/** Counts who is made an owner, and who is none any more: those that may take the last one away take turns with all of them. */
const turnsCursor = 'platform_owners';

const tracer = trace.getTracer('@interlock/identity');

interface Expected {
  /** Only at this version of the stream (an etag). */
  readonly expected?: number;
}

/**
 * Changes that may take away an owner of the platform. They are refused where nobody else would be left who is one and has
 * a secret to act with that lasts for another day: only an owner gives that role, so nobody could ever manage the platform again.
 */
export interface PlatformOwners {
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
  ): Promise<Loaded<Principal>>;
  /**
   * Takes a role away.
   * @throws Rejection NOT_FOUND ROLE_ASSIGNMENT_NOT_FOUND; FAILED_PRECONDITION LAST_PLATFORM_OWNER; ABORTED ETAG_MISMATCH, CONTENTION
   */
  removeAssignment(id: string, at: Instant, cause: Cause, options: Expected): Promise<void>;
  /** Until when some owner can act, as things are: `Infinity` where there is one with a secret that does not expire. */
  actUntil(): Promise<Instant>;
}

/** An assignment that makes a principal an owner of the platform, by their ids. */
interface Owning {
  readonly assignmentId: string;
  readonly principalId: string;
}

/** A change that takes an owner away, now or from some time on, if there is one to take away. */
interface Taking {
  /** `principals/<id>` */
  readonly principal: string;
  isTaken(owning: Owning): boolean;
  /** Until when who is taken can still act as an owner. */
  readonly until: Instant;
}

/**
 * What is stored with a role that is given, where it makes somebody an owner: whoever takes their secret away at the same moment,
 * and saw no owner in them, looks again.
 */
export const turnOfGiving = async (
  store: Pick<EventStore, 'cursor'>,
  grant: Pick<Grant, 'role' | 'scope'>,
): Promise<readonly CursorMove[]> => {
  if (!isOwning(grant)) return [];
  const turn = await store.cursor(turnsCursor);
  return [{ name: turnsCursor, from: turn, to: turn + 1 }];
};

/** Opens them. */
export const openPlatformOwners = (parts: {
  readonly store: Pick<EventStore, 'commit' | 'cursor'>;
  readonly principals: Category<Principal, PrincipalEvent>;
  readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
  readonly removals: Category<OwnerRemovals, OwnerRemovalEvent>;
}): PlatformOwners => {
  const { store, principals, assignments, removals } = parts;

  const listOwning = async (): Promise<readonly Owning[]> => {
    const onPlatform = await assignments.listAll({ index: { index: 'scope', value: '/' } });
    return onPlatform.flatMap(({ id, state }) =>
      makesOwner(state) ? { assignmentId: id, principalId: principalIdOf(state.principal) } : [],
    );
  };

  /** Every owner, and until when each can act. */
  const listActing = async (): Promise<readonly (Owning & { readonly until: Instant })[]> => {
    const owning = await listOwning();
    const loaded = await principals.loadMany([...new Set(owning.map(({ principalId }) => principalId))]);
    const untilOf = new Map(loaded.map(({ id, state }) => [id, actsUntil(state)]));
    return owning.map((one) => ({ ...one, until: untilOf.get(one.principalId) ?? Number.NEGATIVE_INFINITY }));
  };

  /** @returns whether an owner is taken away, and whom, if that is one who can act. @throws Rejection LAST_PLATFORM_OWNER */
  const lookForAnother = async (
    { principal, isTaken, until }: Taking,
    at: Instant,
  ): Promise<{ readonly isOwner: boolean; readonly acting: string | undefined }> => {
    const owners = await listActing();
    const taken = owners.filter(isTaken);
    const before = Math.max(...owners.map((one) => one.until));
    const after = Math.max(...owners.map((one) => (isTaken(one) ? until : one.until)));
    if (before <= at || after >= before || after > at + reserveMs) {
      const isEnded = until <= at && taken.some((one) => one.until > at);
      return { isOwner: taken.length > 0, acting: isEnded ? principal : undefined };
    }
    const since = after > at ? ` from ${new Date(after).toISOString()} on, when the last secret left ends` : '';
    throw new Rejection(
      'FAILED_PRECONDITION',
      'LAST_PLATFORM_OWNER',
      `${principal} is the last that is owner of the platform and has a secret to act with: without it nobody could manage the platform${since}. Give another principal a secret and the role first (\`interlock role assign <principal> owner --scope /\`)`,
      { principal },
    );
  };

  const change = async <State, Event extends EventOf>(
    category: Category<State, Event>,
    id: string,
    decide: (state: State) => readonly Event[],
    takingOf: (before: State, after: State) => Taking | undefined,
    at: Instant,
    cause: Cause,
    { expected }: Expected,
  ): Promise<Prepared<State, Event>> => {
    for (let conflicts = 0; conflicts < conflictsMax; conflicts += 1) {
      // Before the look for others: whoever made one or took one away before this is in what is seen, and whoever does so later
      // moves the cursor.
      const turn = await store.cursor(turnsCursor);
      const removed = await removals.load(ownerRemovalsId);
      const loaded = await category.load(id);
      if (expected !== undefined && expected !== loaded.version) throw etagMismatch(id, expected, loaded.version);
      const prepared = category.prepare(loaded, decide);
      if (!prepared.append) return prepared;
      const taking = takingOf(loaded.state, prepared.state);
      const taken = taking && (await lookForAnother(taking, at));
      const noted = taken?.acting === undefined ? undefined : removals.prepare(removed, noteRemoval(at, taken.acting));
      // Who is no owner takes no turn, but may have been made one, and the last, since the look.
      const cursors = taken ? [{ name: turnsCursor, from: turn, to: taken.isOwner ? turn + 1 : turn }] : [];
      const appends = [prepared, noted].flatMap((one) => one?.append ?? []);
      const rows = [prepared, noted].flatMap((one) => one?.row ?? []);
      const attributes = { 'interlock.stream': prepared.append.stream, 'interlock.stream.version': prepared.version };
      try {
        const name = `append ${category.definition.name}`;
        await inSpan(tracer, name, { attributes }, () => store.commit({ appends, rows, cursors }, cause));
        return prepared;
      } catch (error) {
        if (!(error instanceof VersionConflict || error instanceof CursorConflict)) throw error;
      }
    }
    throw new Rejection('ABORTED', 'CONTENTION', `${id} is being changed by others all the time; try again`, {
      name: id,
    });
  };

  return {
    changePrincipal(id, decide, at, cause, options) {
      const takingOf = (before: Principal, after: Principal): Taking | undefined => {
        const until = actsUntil(after);
        // Without a secret an owner can act still, with a token from before.
        if (until >= actsUntil(before) && !ends(before, after)) return undefined;
        return { principal: `principals/${id}`, isTaken: ({ principalId }) => principalId === id, until };
      };
      return change(principals, id, decide, takingOf, at, cause, options);
    },
    async removeAssignment(id, at, cause, options) {
      const takingOf = (before: RoleAssignment): Taking | undefined =>
        makesOwner(before)
          ? {
              principal: before.principal,
              isTaken: ({ assignmentId }) => assignmentId === id,
              until: Number.NEGATIVE_INFINITY,
            }
          : undefined;
      await change(assignments, id, remove(at), takingOf, at, cause, options);
    },
    actUntil: async () => Math.max(...(await listActing()).map(({ until }) => until)),
  };
};

/** Whether somebody is deleted who may be an owner: the identity of a resource speaks to the key vault alone. */
const ends = (before: Principal, after: Principal): boolean =>
  before.status === 'active' && before.principalType !== 'managed_identity' && after.status === 'deleted';

const isOwning = ({ role, scope }: Pick<Grant, 'role' | 'scope'>): boolean => role === 'roles/owner' && scope === '/';

const makesOwner = (state: RoleAssignment): state is Extract<RoleAssignment, { status: 'assigned' }> =>
  state.status === 'assigned' && isOwning(state);

const principalIdOf = (principal: string): string => names.principal.parse(principal, 'principal').principal;
