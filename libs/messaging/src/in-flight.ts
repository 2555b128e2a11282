/** The outcome of a publish: a failure, or success. */
export interface Outcome {
  readonly failure?: unknown;
}

/** The outcome of some work; never rejects. */
export const outcomeOf = (work: Promise<unknown>): Promise<Outcome> =>
  work.then(
    () => ({}),
    (failure: unknown) => ({ failure }),
  );

/** Publishes that are not acknowledged yet. */
export interface InFlight {
  /**
   * Adds one. It counts as acknowledged once all before it are.
   * @param outcome never rejects
   * @param reaches position up to which everything is published once this and all before it are acknowledged; undefined within a run
   */
  add(outcome: Promise<Outcome>, reaches: number | undefined): void;
  /** Resolves once at most `count` are left. @throws the first failure, whatever is left */
  downTo(count: number): Promise<void>;
  /** Aborted when one has failed. */
  readonly failed: AbortSignal;
}

/** @param onAcknowledged called for each, in the order they were added, up to the first failure */
export const openInFlight = (onAcknowledged: (reaches: number | undefined) => void): InFlight => {
  const failing = new AbortController();
  let failure: Required<Outcome> | undefined;
  let left = 0;
  let newest: Promise<void> = Promise.resolve();
  let changed = Promise.withResolvers<void>();

  const complete = (outcome: Outcome, reaches: number | undefined): void => {
    left -= 1;
    if (failure === undefined && 'failure' in outcome) {
      failure = { failure: outcome.failure };
      failing.abort('a publish failed');
    }
    if (failure === undefined) onAcknowledged(reaches);
    changed.resolve();
    changed = Promise.withResolvers();
  };

  return {
    add(outcome, reaches) {
      left += 1;
      newest = newest.then(async () => complete(await outcome, reaches));
    },
    async downTo(count) {
      while (left > count && failure === undefined) await changed.promise;
      if (failure) throw failure.failure;
    },
    failed: failing.signal,
  };
};
