import { type Clock, sleepBy } from '@interlock/runtime';

/** A clock that moves only when a test moves it. */
export interface ManualClock extends Clock {
  /** Moves both times and ends the sleeps that are over. */
  advance(durationMs: number): void;
  /** Suspends the machine for a time: wall clock and boot time advance, the monotonic clock does not. */
  suspend(durationMs: number): void;
  /** How many sleeps are pending. */
  sleeping(): number;
}

/** Starts at 2026-01-01T00:00:00Z. */
export function manualClock(): ManualClock {
  let nowMs = Date.UTC(2026, 0, 1);
  const startMs = nowMs;
  let suspendedMs = 0;
  const alarms = new Set<{ readonly endMs: number; readonly wake: () => void }>();
  const alarm: Clock['alarm'] = (durationMs, wake) => {
    const pending = { endMs: nowMs + durationMs, wake };
    alarms.add(pending);
    return { cancel: () => alarms.delete(pending) };
  };
  return {
    now: () => nowMs + suspendedMs,
    monotonicMs: () => nowMs - startMs,
    bootMs: () => nowMs - startMs + suspendedMs,
    alarm,
    sleep: sleepBy(alarm),
    advance: (durationMs) => {
      nowMs += durationMs;
      for (const pending of [...alarms]) if (pending.endMs <= nowMs && alarms.delete(pending)) pending.wake();
    },
    suspend: (durationMs) => {
      suspendedMs += durationMs;
    },
    sleeping: () => alarms.size,
  };
}
