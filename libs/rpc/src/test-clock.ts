import type { Clock } from '@interlock/runtime';

/** A clock that moves only when a test moves it. */
export interface ManualClock extends Clock {
  /** Moves both times and ends the sleeps that are over. */
  advance(durationMs: number): void;
  /** How many sleeps are pending. */
  sleeping(): number;
}

/** Starts at 2026-01-01T00:00:00Z. */
export function manualClock(): ManualClock {
  let nowMs = Date.UTC(2026, 0, 1);
  const startMs = nowMs;
  const sleeps = new Set<{ readonly endMs: number; readonly wake: () => void }>();
  return {
    now: () => nowMs,
    monotonicMs: () => nowMs - startMs,
    sleep: (durationMs, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const wake = (): void => {
          sleeps.delete(sleep);
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        const sleep = { endMs: nowMs + durationMs, wake };
        sleeps.add(sleep);
        signal?.addEventListener('abort', wake);
      }),
    advance: (durationMs) => {
      nowMs += durationMs;
      for (const sleep of [...sleeps]) if (sleep.endMs <= nowMs) sleep.wake();
    },
    sleeping: () => sleeps.size,
  };
}
