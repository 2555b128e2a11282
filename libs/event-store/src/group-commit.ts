import type { Cause, Commit } from './store.ts';

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

/** Names of everything a commit writes; two commits that share one cannot ride in the same transaction. */
const touched = (commit: Commit): readonly string[] => [
  ...(commit.appends ?? []).map((append) => `s:${append.stream}`),
  ...(commit.rows ?? []).map((row) => `r:${row.table}:${row.key}`),
  ...(commit.cursors ?? []).map((cursor) => `c:${cursor.name}`),
];

/**
 * Takes from the front of the queue what can be stored in one transaction: commits that touch different things, up to
 * `maxWeight` events and rows (at least one commit). What does not fit keeps its place and its order.
 */
export const takeBatch = (queue: Waiting[], maxWeight: number): readonly Waiting[] => {
  if (queue.length === 1) return queue.splice(0);
  const batch: Waiting[] = [];
  const left: Waiting[] = [];
  const taken = new Set<string>();
  let total = 0;
  for (const waiting of queue) {
    const names = touched(waiting.commit);
    const size = weight(waiting.commit);
    const fits = batch.length === 0 || (total + size <= maxWeight && !names.some((name) => taken.has(name)));
    if (fits) {
      batch.push(waiting);
      total += size;
    } else {
      left.push(waiting);
    }
    // Also what was left behind holds its names, so that a later commit of the same stream does not overtake it.
    for (const name of names) taken.add(name);
  }
  queue.splice(0, queue.length, ...left);
  return batch;
};
