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

/**
 * Takes from the front of the queue what can be stored in one transaction: commits that touch different things, and
 * nothing of what is under way, up to `maxWeight` events and rows (or the first one that can go). What does not fit keeps
 * its place and its order.
 *
 * A cursor may be touched by several: one goes on where the one before it in the batch leaves the cursor, be it that this
 * wants it there and does not move it. So a consumer need not wait for each of its facts, and many may share a guard.
 */
export const takeBatch = (
  queue: Waiting[],
  maxWeight: number,
  underWay: readonly Waiting[] = [],
): readonly Waiting[] => {
  // What is touched is for telling commits apart.
  if (queue.length === 1 && underWay.length === 0) return queue.splice(0);
  const batch: Waiting[] = [];
  const left: Waiting[] = [];
  const taken = openTouched();
  for (const { commit } of underWay) taken.add(commit);
  /** By cursor, where the batch leaves it; none that what was left behind touches. */
  const reached = new Map<string, number>();
  const goesOn = ({ name, from }: CursorMove): boolean => reached.get(name) === from;
  let total = 0;
  for (const waiting of queue) {
    const { commit } = waiting;
    const moves = commit.cursors ?? [];
    const size = weight(commit);
    if (!taken.has(commit, goesOn) && (batch.length === 0 || total + size <= maxWeight)) {
      batch.push(waiting);
      total += size;
      for (const { name, to } of moves) reached.set(name, to);
    } else {
      left.push(waiting);
      for (const { name } of moves) reached.delete(name);
    }
    // Also what was left behind holds what it touches, so that a later commit of the same stream does not overtake it.
    taken.add(commit);
  }
  queue.splice(0, queue.length, ...left);
  return batch;
};

/** Most events and rows in one transaction: keeps the event loop's pauses and the server's memory bounded. */
const maxBatchWeight = 20_000;
/** Most transactions at once; more would only queue up behind each other at the head's lock. */
export const maxUnderWay = 2;
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

/**
 * Puts the commits of one process into as few transactions as pays: the first goes at once, and whatever is asked for
 * meanwhile shares the next. Every transaction holds the head's lock through a flush of its own, so a second one beside
 * the first pays only where it takes more work off than a flush lasts: then many are shared out between two, and the
 * server works on one while this process prepares the other. Commits that touch the same thing keep the order of their calls.
 * @param store stores a batch and answers each of its commits; never rejects. @returns how long the transaction took
 * beyond the server's work on it, in ms; undefined when that is not known
 */
export const commitQueue = (store: (batch: readonly Waiting[]) => Promise<number | undefined>): CommitQueue => {
  const queue: Waiting[] = [];
  const underWay = new Set<readonly Waiting[]>();
  let waitingWeight = 0;
  let isScheduled = false;
  let flushMs = 0;
  let idlers: (() => void)[] = [];

  const paysAlone = (weight: number): boolean => weight * workMs >= flushMs;

  const learnFlush = (ms: number | undefined): void => {
    if (ms !== undefined) flushMs = ms < flushMs ? ms : flushMs + (ms - flushMs) * slowerShare;
  };

  /** Sends what may go. @returns whether something did */
  const send = (): boolean => {
    const half = Math.ceil(waitingWeight / maxUnderWay);
    const share = underWay.size === 0 && paysAlone(half) ? half : waitingWeight;
    const batch = takeBatch(queue, Math.min(maxBatchWeight, share), [...underWay].flat());
    if (batch.length === 0) return false;
    for (const { commit } of batch) waitingWeight -= weight(commit);
    underWay.add(batch);
    void store(batch).then((ms) => {
      learnFlush(ms);
      underWay.delete(batch);
      pump();
    });
    return true;
  };

  const pump = (): void => {
    isScheduled = false;
    while (queue.length > 0 && underWay.size < maxUnderWay) {
      if (underWay.size > 0 && !paysAlone(waitingWeight)) break;
      if (!send()) break;
    }
    if (queue.length > 0 || underWay.size > 0) return;
    for (const wake of idlers) wake();
    idlers = [];
  };

  return {
    push(waiting) {
      queue.push(waiting);
      waitingWeight += weight(waiting.commit);
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
