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
/** What reading a clock may be off by, in milliseconds. */
const readingErrorMs = 1;

/** For how long a lease is used by its holder, in milliseconds: its worth less a margin for clocks that run slow. */
export const usableMs = (ttlMs: number): number => ttlMs * (1 - driftRatio) - readingErrorMs;

/** How long the next holder waits for a lease to expire: its clock may be as fast as the present holder's is slow. */
export const waitedOutMs = (ttlMs: number): number => ttlMs + (ttlMs - usableMs(ttlMs));

/** Up to when a lease is used that was asked for at that moment: by whichever clock comes there first. */
export const usableUntil = (asked: ClockReading, ttlMs: number): ClockReading => ({
  monotonicMs: asked.monotonicMs + usableMs(ttlMs),
  bootMs: asked.bootMs + usableMs(ttlMs),
});

/** Milliseconds until then; 0 or less when it is over. */
export const leftMs = (end: ClockReading, now: ClockReading): number =>
  Math.min(end.monotonicMs - now.monotonicMs, end.bootMs - now.bootMs);

/** Milliseconds since then, by the clock that went further. */
export const ageMs = (since: ClockReading, now: ClockReading): number =>
  Math.max(now.monotonicMs - since.monotonicMs, now.bootMs - since.bootMs);
