/** Keeps writers away while a volume is copied: a copy is what the disk held at one moment. */
export interface WriteGate {
  /** Runs a write beside others; waits while a copy is made. */
  write<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Waits until the writes under way are done and runs `work` while new ones wait. Copies take turns. */
  still<Result>(work: () => Promise<Result>): Promise<Result>;
}

/** A gate nobody has passed yet. */
export const createWriteGate = (): WriteGate => {
  const writes = new Set<Promise<unknown>>();
  let stillness: Promise<void> | undefined;
  return {
    async write(work) {
      while (stillness !== undefined) await stillness;
      const writing = work();
      const ended = writing.then(
        () => undefined,
        () => undefined,
      );
      writes.add(ended);
      try {
        return await writing;
      } finally {
        writes.delete(ended);
      }
    },
    async still(work) {
      while (stillness !== undefined) await stillness;
      const { promise, resolve } = Promise.withResolvers<void>();
      stillness = promise;
      try {
        await Promise.all(writes);
        return await work();
      } finally {
        stillness = undefined;
        resolve();
      }
    },
  };
};
