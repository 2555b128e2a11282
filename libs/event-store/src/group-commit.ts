import type { Cause, Commit, CursorMove } from './store.ts';

/** One caller's commit, waiting for the transaction that will carry it. */
export interface Waiting {
  readonly commit: Commit;
  readonly cause: Cause;
  readonly resolve: (result: { readonly positions: readonly number[] }) => void;
  readonly reject: (error: unknown) => void;
}

/** Events plus rows of a commit: what it weighs in a transaction. */
const weight = (commit: Commit): number =>
  (commit.appends ?? []).reduce((sum, append) => sum + append.events.length, 0) + (commit.rows?.length ?? 0);

/** What some commits write. */
interface Touched {
  add(commit: Commit): void;
  /** Whether a commit writes something of it. @param goesOn true for the move of a cursor that is no conflict */
  has(commit: Commit, goesOn?: (move: CursorMove) => boolean): boolean;
}

/**
 * Nothing yet. Names are looked up as they are: to make one of kind and name for each stream and row of a fleet was a
 * twentieth of what a stop costs.
 */
const openTouched = (): Touched => {
  const streams = new Set<string>();
  const cursors = new Set<string>();
  /** Keys by table. */
  const rows = new Map<string, Set<string>>();
  return {
    add(commit) {
      for (const { stream } of commit.appends ?? []) streams.add(stream);
      for (const { name } of commit.cursors ?? []) cursors.add(name);
      for (const { table, key } of commit.rows ?? []) {
        const keys = rows.get(table);
        if (keys) keys.add(key);
        else rows.set(table, new Set([key]));
      }
    },
    has: (commit, goesOn = () => false) =>
      (commit.appends ?? []).some(({ stream }) => streams.has(stream)) ||
      (commit.rows ?? []).some(({ table, key }) => rows.get(table)?.has(key)) ||
      (commit.cursors ?? []).some((move) => cursors.has(move.name) && !goesOn(move)),
  };
};

/** From so many events and rows on a piece of work is in bulk: a page of a fleet, which takes as long as hundreds of others. */
export const bulkWeight = 256;
/** Whether a commit is in bulk. */
export const isBulk = ({ commit }: Waiting): boolean => weight(commit) >= bulkWeight;

/** What a commit in bulk touches, found once: it is compared with all that come while it waits and while it is stored. */
const touchedInBulk = new WeakMap<Waiting, Touched>();
const touchedBy = (waiting: Waiting): Touched => {
  const known = touchedInBulk.get(waiting);
  if (known) return known;
  const touched = openTouched();
  touched.add(waiting.commit);
  touchedInBulk.set(waiting, touched);
  return touched;
};

/** What may go into one transaction. */
export interface BatchLimits {
  /** Most events and rows; the first commit that can go goes also if it has more. */
  readonly maxWeight: number;
  /** Those that may go at all; default all. */
  readonly isWanted?: (waiting: Waiting) => boolean;
  /** What is being stored: nothing of what that touches can go. */
  readonly underWay?: readonly Waiting[];
}

/**
 * Takes from the front of the queue what can be stored in one transaction: commits that touch different things, and
 * nothing of what is under way. What does not fit keeps its place and its order.
 *
 * A cursor may be touched by several: one goes on where the one before it in the batch leaves the cursor, be it that this
 * wants it there and does not move it. So a consumer need not wait for each of its facts, and many may share a guard.
 */
export const takeBatch = (
  queue: Waiting[],
  { maxWeight, isWanted = () => true, underWay = [] }: BatchLimits,
): readonly Waiting[] => {
  // What is touched is for telling commits apart.
  if (queue.length === 1 && underWay.length === 0) return queue.every(isWanted) ? queue.splice(0) : [];
  const batch: Waiting[] = [];
  const left: Waiting[] = [];
  /** By small commits, and by each one in bulk. */
  const small = openTouched();
  const taken = [small];
  const take = (waiting: Waiting): void => {
    if (isBulk(waiting)) taken.push(touchedBy(waiting));
    else small.add(waiting.commit);
  };
  underWay.forEach(take);
  /** By cursor, where the batch leaves it; none that what was left behind touches. */
  const reached = new Map<string, number>();
  const goesOn = ({ name, from }: CursorMove): boolean => reached.get(name) === from;
  let total = 0;
  for (const waiting of queue) {
    const { commit } = waiting;
    const moves = commit.cursors ?? [];
    const size = weight(commit);
    const fits = isWanted(waiting) && (batch.length === 0 || total + size <= maxWeight);
    if (fits && !taken.some((touched) => touched.has(commit, goesOn))) {
      batch.push(waiting);
      total += size;
      for (const { name, to } of moves) reached.set(name, to);
    } else {
      left.push(waiting);
      for (const { name } of moves) reached.delete(name);
    }
    // Also what was left behind holds what it touches, so that a later commit of the same stream does not overtake it.
    take(waiting);
  }
  queue.splice(0, queue.length, ...left);
  return batch;
};

/** Most events and rows in one transaction: keeps the event loop's pauses and the server's memory bounded. */
const maxBatchWeight = 20_000;
/** The same of commits in bulk, where its work is longer than its flush: whoever comes meanwhile waits for as long at the head's lock. */
const bulkTurnWeight = 2_000;
/** Most transactions of a kind at once; more would only queue up behind each other at the head's lock. */
const maxOfAKind = 2;
/** Most transactions at once: two in bulk, and a small one that waits for neither. */
export const maxUnderWay = 3;
/** What the server works on one event or row, in ms; on another machine it is another, of the same order. */
const workMs = 0.009;
/** Share by which a slower flush than known moves what is known; a faster one counts at once. */
const slowerShare = 0.1;

/** Commits of one process on their way into the store. */
export interface CommitQueue {
  /** Takes a commit; it is answered by its `resolve` or `reject`. */
  push(waiting: Waiting): void;
  /** Resolves once nothing waits and nothing is under way. */
  idle(): Promise<void>;
}

/** Commits of a kind: those in bulk, or the small ones. */
interface Kind {
  readonly isWanted: (waiting: Waiting) => boolean;
  /** What waits: how many, and how much they weigh. Some weigh nothing. */
  waiting: number;
  waitingWeight: number;
  /** Transactions. */
  underWay: number;
}

/**
 * Puts the commits of one process into as few transactions as pays: the first goes at once, and whatever is asked for
 * meanwhile shares the next. Every transaction holds the head's lock through a flush of its own, so a second one beside
 * the first pays only where it takes more work off than a flush lasts: then many are shared out between two, and the
 * server works on one while this process prepares the other. Commits that touch the same thing keep the order of their calls.
 *
 * Small commits and those in bulk never share a transaction: what somebody waits for would take as long as the pages of a
 * fleet beside it, and wait for those before. Small ones go first, and have a transaction of their own under way beside two in
 * bulk; what is left to wait for is the head, for one bounded turn of each of these.
 * @param store stores a batch and answers each of its commits; never rejects. @returns how long the transaction took
 * beyond the server's work on it, in ms; undefined when that is not known
 */
export const commitQueue = (store: (batch: readonly Waiting[]) => Promise<number | undefined>): CommitQueue => {
  const queue: Waiting[] = [];
  const underWay = new Set<readonly Waiting[]>();
  const small: Kind = { isWanted: (one) => !isBulk(one), waiting: 0, waitingWeight: 0, underWay: 0 };
  const bulk: Kind = { isWanted: isBulk, waiting: 0, waitingWeight: 0, underWay: 0 };
  const kindOf = (waiting: Waiting): Kind => (isBulk(waiting) ? bulk : small);
  let isScheduled = false;
  let flushMs = 0;
  let idlers: (() => void)[] = [];

  const paysAlone = (weight: number): boolean => weight * workMs >= flushMs;

  const learnFlush = (ms: number | undefined): void => {
    if (ms !== undefined) flushMs = ms < flushMs ? ms : flushMs + (ms - flushMs) * slowerShare;
  };

  const mostOf = (kind: Kind): number => (kind === small && bulk.underWay > 0 ? 1 : maxOfAKind);

  const mayGo = (kind: Kind): boolean => {
    if (kind.waiting === 0 || underWay.size >= maxUnderWay) return false;
    return kind.underWay === 0 || (kind.underWay < mostOf(kind) && paysAlone(kind.waitingWeight));
  };

  /** Sends what may go of a kind. @returns whether something did */
  const send = (kind: Kind): boolean => {
    const part = Math.ceil(kind.waitingWeight / (mostOf(kind) - kind.underWay));
    const share = paysAlone(part) ? part : kind.waitingWeight;
    const turn = kind === bulk ? Math.max(bulkTurnWeight, flushMs / workMs) : maxBatchWeight;
    const maxWeight = Math.min(maxBatchWeight, turn, share);
    const batch = takeBatch(queue, { maxWeight, isWanted: kind.isWanted, underWay: [...underWay].flat() });
    if (batch.length === 0) return false;
    kind.waiting -= batch.length;
    for (const { commit } of batch) kind.waitingWeight -= weight(commit);
    kind.underWay += 1;
    underWay.add(batch);
    void store(batch).then((ms) => {
      learnFlush(ms);
      kind.underWay -= 1;
      underWay.delete(batch);
      pump();
    });
    return true;
  };

  const pump = (): void => {
    isScheduled = false;
    for (const kind of [small, bulk]) while (mayGo(kind) && send(kind));
    if (queue.length > 0 || underWay.size > 0) return;
    for (const wake of idlers) wake();
    idlers = [];
  };

  return {
    push(waiting) {
      queue.push(waiting);
      const kind = kindOf(waiting);
      kind.waiting += 1;
      kind.waitingWeight += weight(waiting.commit);
      if (isScheduled) return;
      isScheduled = true;
      // A microtask later, so that commits of the same turn share a transaction.
      queueMicrotask(pump);
    },
    idle() {
      return queue.length === 0 && underWay.size === 0
        ? Promise.resolve()
        : new Promise((resolve) => idlers.push(resolve));
    },
  };
};
