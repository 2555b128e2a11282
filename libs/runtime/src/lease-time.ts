import type { Clock } from './clock.ts';

/** One moment by the two clocks of a lease, in milliseconds since their arbitrary starts. */
export interface ClockReading {
  readonly monotonicMs: number;
  /** Advances while the machine is suspended. */
  readonly bootMs: number;
}

/** This moment. */
export const readingOf = (clock: Pick<Clock, 'monotonicMs' | 'bootMs'>): ClockReading => ({
  monotonicMs: clock.monotonicMs(),
  bootMs: clock.bootMs(),
});

/** How much slower the clocks of one machine may run than another's: crystals differ by less than 0.02 %, virtual clocks by more. */
const driftRatio = 0.005;
/** Error of a clock reading, in milliseconds. */
const readingErrorMs = 1;

/** How long the holder uses a lease, in milliseconds: its time to live less a margin for slow clocks. */
export const usableMs = (ttlMs: number): number => ttlMs * (1 - driftRatio) - readingErrorMs;

/** How long the next holder waits until a lease has expired: its own clock may be fast while the holder's is slow. */
export const waitedOutMs = (ttlMs: number): number => ttlMs + (ttlMs - usableMs(ttlMs));

/** End of the use of a lease that was requested at that moment, by whichever clock reaches it first. */
export const usableUntil = (asked: ClockReading, ttlMs: number): ClockReading => ({
  monotonicMs: asked.monotonicMs + usableMs(ttlMs),
  bootMs: asked.bootMs + usableMs(ttlMs),
});

/** Milliseconds until `end`; 0 or less once it has passed. */
export const leftMs = (end: ClockReading, now: ClockReading): number =>
  Math.min(end.monotonicMs - now.monotonicMs, end.bootMs - now.bootMs);

/** Milliseconds since then, by the clock that advanced most. */
export const ageMs = (since: ClockReading, now: ClockReading): number =>
  Math.max(now.monotonicMs - since.monotonicMs, now.bootMs - since.bootMs);
