import type { Clock } from '@interlock/runtime';

/** A clock that moves only when a test moves it. */
export interface ManualClock extends Clock {
  /** Moves both times and ends the sleeps that are over. */
  advance(durationMs: number): void;
  /** Suspends the machine for a time: wall clock and boot time go on, the monotonic clock does not. */
  suspend(durationMs: number): void;
  /** How many sleeps are pending. */
  sleeping(): number;
}

/** Starts at 2026-01-01T00:00:00Z. */
export function manualClock(): ManualClock {
  let nowMs = Date.UTC(2026, 0, 1);
  const startMs = nowMs;
  let suspendedMs = 0;
  const sleeps = new Set<{ readonly endMs: number; readonly wake: () => void }>();
  return {
    now: () => nowMs + suspendedMs,
    monotonicMs: () => nowMs - startMs,
    bootMs: () => nowMs - startMs + suspendedMs,
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
    suspend: (durationMs) => {
      suspendedMs += durationMs;
    },
    sleeping: () => sleeps.size,
  };
}
