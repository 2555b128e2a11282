/** Runs pieces of work one after another, in the order of the calls. A failure ends only its own piece. */
export type SerialQueue = <Result>(work: () => Promise<Result>) => Promise<Result>;

/** Creates an empty queue. */
export const serialQueue = (): SerialQueue => {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work);
    // The caller gets the failure; the next piece of work only waits for the end.
    last = mine.catch(() => undefined);
    return mine;
  };
};

/** Runs work under the same key one after another, in the order of the calls; work under different keys runs concurrently. */
export interface KeyedMutex {
  <Result>(key: string, work: () => Promise<Result>): Promise<Result>;
  /** Whether no work runs or waits under the key. */
  isFree(key: string): boolean;
}

/** Creates a mutex without holders. Work that waits for other work under its own key never ends. */
export const keyedMutex = (): KeyedMutex => {
  const last = new Map<string, Promise<unknown>>();
  const run = async <Result>(key: string, work: () => Promise<Result>): Promise<Result> => {
    const before = last.get(key);
    const { promise: done, resolve: end } = Promise.withResolvers<void>();
    // Nearly always free: then work starts at once.
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
  return Object.assign(run, { isFree: (key: string) => !last.has(key) });
};

/**
 * Runs work while it holds several keys. A caller that waits for several keys while it holds others may deadlock, so use it for one
 * key, or for keys that are free.
 */
export const withKeys = async <Result>(
  mutex: KeyedMutex,
  keys: readonly string[],
  work: () => Promise<Result>,
): Promise<Result> => {
  const { promise: done, resolve: release } = Promise.withResolvers<void>();
  const acquired = keys.map((key) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    void mutex(key, () => {
      resolve();
      return done;
    });
    return promise;
  });
  await Promise.all(acquired);
  try {
    return await work();
  } finally {
    release();
  }
};
