/** An exporter of the SDK, as far as this file uses it. */
interface Exporter<Item, Result> {
  export(items: Item, done: (result: Result) => void): void;
  shutdown(): Promise<void>;
  forceFlush?(): Promise<void>;
}

/** The exports of a process that have not ended. */
export interface OpenExports {
  /** The exporter, with its exports counted here. */
  watched<Item, Result>(exporter: Exporter<Item, Result>): Required<Exporter<Item, Result>>;
  /** Resolves when no export is open. */
  ended(): Promise<void>;
}

/**
 * The batch processors of the SDK (sdk-trace 3.1) end their shutdown at the first export that fails, and do not wait for one that is
 * under way. Its spans would be lost with the process, and not counted.
 */
export const openExports = (): OpenExports => {
  const open = new Set<Promise<void>>();
  return {
    watched: (exporter) => ({
      export(items, done) {
        const { promise, resolve } = Promise.withResolvers<void>();
        open.add(promise);
        exporter.export(items, (result) => {
          try {
            done(result);
          } finally {
            open.delete(promise);
            resolve();
          }
        });
      },
      shutdown: () => exporter.shutdown(),
      forceFlush: async () => exporter.forceFlush?.(),
    }),
    async ended() {
      while (open.size > 0) await Promise.all(open);
    },
  };
};
