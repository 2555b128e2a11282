import { type Clock, sleepBy, type VirtualClock } from '@interlock/runtime';
import type { Gate } from '../faults/gate.ts';

/** How a clock deviates. It survives a restart of the process, because it belongs to the machine. */
export interface Skew {
  /** How far the wall clock is ahead (or, if negative, behind), in milliseconds. */
  offsetMs: number;
  /** Seconds it gains in a million: the monotonic clock and sleeps go wrong with it. */
  driftPpm: number;
}

/**
 * Shortest time until an alarm that is not due yet, in milliseconds; a timer of Node takes a whole one. Because of rounding, a
 * drifting clock may be behind the requested moment by less than the resolution of virtual time. A sleep for the rest would end
 * at the same moment again, for ever.
 */
const alarmMsMin = 0.001;

/** The clock that one process reads: the world's clock with a skew, behind the gate of the process. */
export const processClock = (world: VirtualClock, skew: Skew, gate: Gate): Clock => {
  let driftPpm = skew.driftPpm;
  let sinceMs = world.monotonicMs();
  let readMs = sinceMs;

  /** A changed drift acts from now on, and does not change earlier readings. */
  const monotonicMs = (): number => {
    const worldMs = world.monotonicMs();
    const elapsedMs = readMs + (worldMs - sinceMs) * (1 + driftPpm / 1e6);
    if (driftPpm !== skew.driftPpm) {
      readMs = elapsedMs;
      sinceMs = worldMs;
      driftPpm = skew.driftPpm;
    }
    return elapsedMs;
  };
  const startMs = world.now() - readMs;
  const alarm: Clock['alarm'] = (durationMs, wake) => {
    const askedMs = driftPpm === 0 ? durationMs : durationMs / (1 + driftPpm / 1e6);
    const worldMs = askedMs > 0 ? Math.max(askedMs, alarmMsMin) : askedMs;
    let isCancelled = false;
    const pending = world.alarm(worldMs, () =>
      gate.whenOpen(() => {
        if (!isCancelled) wake();
      }),
    );
    return {
      cancel() {
        isCancelled = true;
        pending.cancel();
      },
    };
  };
  return {
    now: () => Math.floor(startMs + monotonicMs() + skew.offsetMs),
    monotonicMs,
    // A machine of the simulation is paused, never suspended.
    bootMs: monotonicMs,
    alarm,
    sleep: sleepBy(alarm),
  };
};
