/** Lets work on one thing happen one after another, in the order it was asked for. */
export type Turns = <Result>(key: string, work: () => Promise<Result>) => Promise<Result>;

/** Nothing is under way yet. Work that waits for itself, under the same key, would wait for ever. */
export const createTurns = (): Turns => {
  const last = new Map<string, Promise<unknown>>();
  return async (key, work) => {
    const before = last.get(key);
    const { promise: done, resolve: end } = Promise.withResolvers<void>();
    const mine = (before ?? Promise.resolve()).then(() => done);
    last.set(key, mine);
    try {
      await before;
      return await work();
    } finally {
      end();
      if (last.get(key) === mine) last.delete(key);
    }
  };
};
