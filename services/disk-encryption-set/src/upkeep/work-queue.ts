import type { Cause } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';

/** Runs work on sets, for one set at a time only once. */
export interface WorkQueue {
  /** Schedules a run for a set; a run in progress is followed by another. */
  add(set: string, cause: Cause): void;
  /** Number of sets that wait. */
  waiting(): number;
  /** Resolves when nothing runs or waits. */
  idle(): Promise<void>;
}

/** A queue with at most `limit` runs at once. A failed run is reported; a watchdog adds the set again. No run starts after `signal` is aborted. */
export const workQueue = (options: {
  readonly limit: number;
  readonly run: (set: string, cause: Cause) => Promise<void>;
  readonly report: (set: string, error: unknown) => void;
  readonly signal: AbortSignal;
}): WorkQueue => {
  const { limit, run, report, signal } = options;
  const waiting = new Map<string, Cause>();
  const running = new Map<string, Promise<void>>();

  const start = (set: string, cause: Cause): void => {
    waiting.delete(set);
    // A run must not inherit the deadline of the request that scheduled it.
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
      if (!running.has(set)) start(set, cause);
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
