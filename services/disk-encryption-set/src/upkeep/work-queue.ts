import type { Cause } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';

/** Work on sets, one run of a set at a time. */
export interface WorkQueue {
  /** Runs the work for a set soon. While it is running for that set already, it runs once more afterwards. */
  add(set: string, cause: Cause): void;
  /** Sets that wait for their turn. */
  waiting(): number;
  /** Resolves once nothing is running or waiting. */
  idle(): Promise<void>;
}

/**
 * Makes a queue that runs work for at most `limit` sets at once. A failed run is reported and not repeated here: whoever
 * looks after what stands still adds the set again. Nothing is begun after `signal` is aborted.
 */
export const workQueue = (options: {
  readonly limit: number;
  readonly run: (set: string, cause: Cause) => Promise<void>;
  readonly report: (set: string, error: unknown) => void;
  readonly signal: AbortSignal;
}): WorkQueue => {
  const { limit, run, report, signal } = options;
  const waiting = new Map<string, Cause>();
  const running = new Map<string, Promise<void>>();

  const begin = (set: string, cause: Cause): void => {
    waiting.delete(set);
    // Work outlives the request that asked for it, so it must not inherit its deadline.
    const done = outsideOfCalls(() => run(set, cause))
      .catch((error: unknown) => report(set, error))
      .finally(() => {
        running.delete(set);
        pump();
      });
    running.set(set, done);
  };
  const pump = (): void => {
    if (signal.aborted) waiting.clear();
    for (const [set, cause] of waiting) {
      if (running.size >= limit) return;
      if (!running.has(set)) begin(set, cause);
    }
  };

  return {
    add(set, cause) {
      waiting.set(set, cause);
      pump();
    },
    waiting: () => waiting.size,
    async idle() {
      while (running.size > 0) await Promise.all(running.values());
    },
  };
};
