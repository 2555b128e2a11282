import { oncePerTurn } from '@interlock/runtime';
import type { Cause } from './cause.ts';
import type { Commit, CursorMove } from './store.ts';

/** The commit of one caller, until a transaction has stored it. */
export interface PendingCommit {
  readonly commit: Commit;
  readonly cause: Cause;
  readonly resolve: (result: { readonly positions: readonly number[] }) => void;
  readonly reject: (error: unknown) => void;
}

/** Weight of a commit in a transaction: its events plus its rows. */
const weightOf = (commit: Commit): number =>
  (commit.appends ?? []).reduce((sum, append) => sum + append.events.length, 0) + (commit.rows?.length ?? 0);

/**
 * Streams, rows and cursors that some commits write. Names are looked up as they are: building one key of kind and name for each
 * stream and row of a fleet was a twentieth of the cost of a stop.
 */
class WriteSet {
  readonly #streams = new Set<string>();
  readonly #cursors = new Set<string>();
  /** Keys by table. */
  readonly #rows = new Map<string, Set<string>>();

  add(commit: Commit): void {
    for (const { stream } of commit.appends ?? []) this.#streams.add(stream);
    for (const { name } of commit.cursors ?? []) this.#cursors.add(name);
    for (const { table, key } of commit.rows ?? []) {
      const keys = this.#rows.get(table);
      if (keys) keys.add(key);
      else this.#rows.set(table, new Set([key]));
    }
  }

  /** @param isContinued true for the move of a cursor that is no conflict */
  conflictsWith(commit: Commit, isContinued: (move: CursorMove) => boolean): boolean {
    return (
      (commit.appends ?? []).some(({ stream }) => this.#streams.has(stream)) ||
      (commit.rows ?? []).some(({ table, key }) => this.#rows.get(table)?.has(key)) ||
      (commit.cursors ?? []).some((move) => this.#cursors.has(move.name) && !isContinued(move))
    );
  }
}

/** From this weight on a commit is bulk: a page of a fleet, which takes as long as hundreds of others. */
export const BULK_WEIGHT = 256;
/** Whether a commit is bulk. */
export const isBulk = ({ commit }: PendingCommit): boolean => weightOf(commit) >= BULK_WEIGHT;

/** Write sets of bulk commits, computed once: each is compared with every commit that arrives while it waits or is stored. */
const bulkWriteSets = new WeakMap<PendingCommit, WriteSet>();
const writeSetOf = (pending: PendingCommit): WriteSet => {
  const known = bulkWriteSets.get(pending);
  if (known) return known;
  const writeSet = new WriteSet();
  writeSet.add(pending.commit);
  bulkWriteSets.set(pending, writeSet);
  return writeSet;
};

/** What may go into one transaction. */
export interface BatchLimits {
  /** Most events and rows; the first commit is taken even if it has more. */
  readonly maxWeight: number;
  /** Which commits may be taken; default all. */
  readonly isWanted?: (pending: PendingCommit) => boolean;
  /** Commits that are being stored: a commit that conflicts with one of them waits. */
  readonly running?: readonly PendingCommit[];
}

/**
 * Takes from the front of the queue what one transaction can store: commits that conflict neither with each other nor with
 * running ones. The others keep their place and order.
 *
 * Several commits may move the same cursor, if each continues where the one before it in the batch leaves the cursor (a guard
 * leaves it where it is). So a consumer need not wait for each of its facts, and many commits can share a guard.
 */
export const takeBatch = (
  queue: PendingCommit[],
  { maxWeight, isWanted = () => true, running = [] }: BatchLimits,
): readonly PendingCommit[] => {
  if (queue.length === 1 && running.length === 0) return queue.every(isWanted) ? queue.splice(0) : [];
  const batch: PendingCommit[] = [];
  const left: PendingCommit[] = [];
  /** One for all small commits, and one for each bulk commit. */
  const smallWrites = new WriteSet();
  const writes = [smallWrites];
  const addWrites = (pending: PendingCommit): void => {
    if (isBulk(pending)) writes.push(writeSetOf(pending));
    else smallWrites.add(pending.commit);
  };
  running.forEach(addWrites);
  /** Where the batch leaves each cursor; without cursors of commits that stay in the queue. */
  const reached = new Map<string, number>();
  const isContinued = ({ name, from }: CursorMove): boolean => reached.get(name) === from;
  let total = 0;
  for (const pending of queue) {
    const { commit } = pending;
    const moves = commit.cursors ?? [];
    const weight = weightOf(commit);
    const fits = isWanted(pending) && (batch.length === 0 || total + weight <= maxWeight);
    if (fits && !writes.some((set) => set.conflictsWith(commit, isContinued))) {
      batch.push(pending);
      total += weight;
      for (const { name, to } of moves) reached.set(name, to);
    } else {
      left.push(pending);
      for (const { name } of moves) reached.delete(name);
    }
    // Also for commits that stay: a later commit of the same stream must not overtake them.
    addWrites(pending);
  }
  queue.splice(0, queue.length, ...left);
  return batch;
};

/** Most events and rows in one transaction: bounds the pauses of the event loop and the memory of the server. */
const WEIGHT_MAX = 20_000;
/** The same for bulk transactions, whose work is longer than their flush: others wait that long for the head's lock. */
const BULK_WEIGHT_MAX = 2_000;
/** Most transactions of a kind at once; more would only queue at the head's lock. */
const RUNNING_OF_KIND_MAX = 2;
/** Most transactions at once: two bulk ones, and a small one that waits for neither. */
export const RUNNING_MAX = 3;
/** The server's work for one event or row, in ms; other machines differ, within the same order of magnitude. */
const WORK_MS = 0.009;
/** How far a slower flush moves the estimate; a faster one replaces it at once. */
const SLOWER_SHARE = 0.1;

/** Pending and running commits of one kind: bulk or small. */
interface Kind {
  readonly isWanted: (pending: PendingCommit) => boolean;
  pending: number;
  /** Some commits weigh nothing. */
  pendingWeight: number;
  /** Transactions. */
  running: number;
}

/** The commits of one process that are not stored yet. */
export interface CommitQueue {
  /** Takes a commit; its `resolve` or `reject` is called once. */
  push(pending: PendingCommit): void;
  /** Resolves once no commit is pending or running. */
  idle(): Promise<void>;
}

/**
 * Combines the commits of one process into as few transactions as pays: the first one starts at once, and commits that arrive
 * meanwhile share the next. Each transaction holds the head's lock through its own flush. So a second one beside the first pays
 * only if it carries more work than a flush takes: then the commits are split between two, and the server works on one while
 * this process prepares the other. Commits that conflict keep the order of their calls.
 *
 * Small and bulk commits never share a transaction: a caller of a small one would wait for pages of a fleet. Small ones go
 * first and may run beside two bulk ones; they only wait for the head, which each bulk transaction holds for a bounded time.
 * @param store stores a batch and resolves or rejects each of its commits; never rejects. @returns the time of the transaction
 *   beyond the server's work, in ms; undefined if unknown
 */
export const commitQueue = (store: (batch: readonly PendingCommit[]) => Promise<number | undefined>): CommitQueue =>
  new GroupCommit(store);

class GroupCommit implements CommitQueue {
  readonly #store: (batch: readonly PendingCommit[]) => Promise<number | undefined>;
  readonly #queue: PendingCommit[] = [];
  readonly #running = new Set<readonly PendingCommit[]>();
  readonly #small: Kind = { isWanted: (one) => !isBulk(one), pending: 0, pendingWeight: 0, running: 0 };
  readonly #bulk: Kind = { isWanted: isBulk, pending: 0, pendingWeight: 0, running: 0 };
  /** Commits of the same turn share a transaction. */
  readonly #planStart = oncePerTurn(() => this.#startTransactions());
  /** Estimated time of a flush. */
  #flushMs = 0;
  #idleWaiters: (() => void)[] = [];

  constructor(store: (batch: readonly PendingCommit[]) => Promise<number | undefined>) {
    this.#store = store;
  }

  push(pending: PendingCommit): void {
    this.#queue.push(pending);
    const kind = isBulk(pending) ? this.#bulk : this.#small;
    kind.pending += 1;
    kind.pendingWeight += weightOf(pending.commit);
    this.#planStart();
  }

  async idle(): Promise<void> {
    if (!this.#isIdle()) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  #isIdle(): boolean {
    return this.#queue.length === 0 && this.#running.size === 0;
  }

  #startTransactions(): void {
    for (const kind of [this.#small, this.#bulk]) while (this.#mayStart(kind) && this.#start(kind));
    if (!this.#isIdle()) return;
    for (const wake of this.#idleWaiters) wake();
    this.#idleWaiters = [];
  }

  #mayStart(kind: Kind): boolean {
    if (kind.pending === 0 || this.#running.size >= RUNNING_MAX) return false;
    return kind.running === 0 || (kind.running < this.#runningMax(kind) && this.#paysAlone(kind.pendingWeight));
  }

  #runningMax(kind: Kind): number {
    return kind === this.#small && this.#bulk.running > 0 ? 1 : RUNNING_OF_KIND_MAX;
  }

  #paysAlone(weight: number): boolean {
    return weight * WORK_MS >= this.#flushMs;
  }

  /** Starts one transaction of a kind. @returns whether a commit could be taken */
  #start(kind: Kind): boolean {
    const part = Math.ceil(kind.pendingWeight / (this.#runningMax(kind) - kind.running));
    const share = this.#paysAlone(part) ? part : kind.pendingWeight;
    const bound = kind === this.#bulk ? Math.max(BULK_WEIGHT_MAX, this.#flushMs / WORK_MS) : WEIGHT_MAX;
    const maxWeight = Math.min(WEIGHT_MAX, bound, share);
    const running = [...this.#running].flat();
    const batch = takeBatch(this.#queue, { maxWeight, isWanted: kind.isWanted, running });
    if (batch.length === 0) return false;
    kind.pending -= batch.length;
    for (const { commit } of batch) kind.pendingWeight -= weightOf(commit);
    kind.running += 1;
    this.#running.add(batch);
    void this.#store(batch).then((flushMs) => {
      this.#learnFlush(flushMs);
      kind.running -= 1;
      this.#running.delete(batch);
      this.#startTransactions();
    });
    return true;
  }

  #learnFlush(ms: number | undefined): void {
    if (ms === undefined) return;
    this.#flushMs = ms < this.#flushMs ? ms : this.#flushMs + (ms - this.#flushMs) * SLOWER_SHARE;
  }
}
