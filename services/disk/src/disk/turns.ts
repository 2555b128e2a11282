/** Lets work on one thing happen one after another, in the order it was asked for. */
export interface Turns {
  <Result>(key: string, work: () => Promise<Result>): Promise<Result>;
  /** Whether nobody works on it or waits for that: a turn asked for now begins at once. */
  isFree(key: string): boolean;
}

/** Nothing is under way yet. Work that waits for itself, under the same key, would wait for ever. */
export const createTurns = (): Turns => {
  const last = new Map<string, Promise<unknown>>();
  const turns = async <Result>(key: string, work: () => Promise<Result>): Promise<Result> => {
    const before = last.get(key);
    const { promise: done, resolve: end } = Promise.withResolvers<void>();
    // Free, as nearly always: it begins at once, and whoever comes next waits for it alone.
    const mine = before?.then(() => done) ?? done;
    last.set(key, mine);
    try {
      if (before) await before;
      return await work();
    } finally {
      end();
      if (last.get(key) === mine) last.delete(key);
    }
  };
  return Object.assign(turns, { isFree: (key: string) => !last.has(key) });
};

/**
 * Work on several things at once, in the turn of each. Whoever waits for several turns while it holds others may wait for
 * ever, so this is for one thing, or for things that are free.
 */
export const inTurnsOf = async <Result>(
  turns: Turns,
  keys: readonly string[],
  work: () => Promise<Result>,
): Promise<Result> => {
  const { promise: done, resolve: end } = Promise.withResolvers<void>();
  const begun = keys.map((key) => {
    const { promise, resolve: begin } = Promise.withResolvers<void>();
    void turns(key, () => {
      begin();
      return done;
    });
    return promise;
  });
  await Promise.all(begun);
  try {
    return await work();
  } finally {
    end();
  }
};
