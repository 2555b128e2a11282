/** How a publish ended: with a failure, or well. */
export interface Outcome {
  readonly failure?: unknown;
}

/** How this ends: settles, never rejects. */
export const outcomeOf = (work: Promise<unknown>): Promise<Outcome> =>
  work.then(
    () => ({}),
    (failure: unknown) => ({ failure }),
  );

/** What was handed to the bus and is not acknowledged yet. */
export interface InFlight {
  /**
   * Takes one more. What is acknowledged before something older counts once that is.
   * @param outcome settles, never rejects
   * @param reaches position up to which everything is told once this and all before it is acknowledged; undefined amid a run
   */
  add(outcome: Promise<Outcome>, reaches: number | undefined): void;
  /** Resolves once at most so many are left. @throws the failure of the first that failed, whatever is left */
  downTo(count: number): Promise<void>;
  /** Aborted when one has failed: whoever waits for something else may stop waiting. */
  readonly failed: AbortSignal;
}

/** @param acknowledged told for each, in the order they were added, up to the first that failed */
export const openInFlight = (acknowledged: (reaches: number | undefined) => void): InFlight => {
  const failing = new AbortController();
  let failure: Required<Outcome> | undefined;
  let left = 0;
  let newest: Promise<void> = Promise.resolve();
  let changed = Promise.withResolvers<void>();

  const settle = (outcome: Outcome, reaches: number | undefined): void => {
    left -= 1;
    if (failure === undefined && 'failure' in outcome) {
      failure = { failure: outcome.failure };
      failing.abort('a publish failed');
    }
    if (failure === undefined) acknowledged(reaches);
    changed.resolve();
    changed = Promise.withResolvers();
  };

  return {
    add(outcome, reaches) {
      left += 1;
      newest = newest.then(async () => settle(await outcome, reaches));
    },
    async downTo(count) {
      while (left > count && failure === undefined) await changed.promise;
      if (failure) throw failure.failure;
    },
    failed: failing.signal,
  };
};
