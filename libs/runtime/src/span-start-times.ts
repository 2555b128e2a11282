import type { HrTime } from '@opentelemetry/api';
import type { SpanProcessor } from '@opentelemetry/sdk-trace';
import type { Clock } from './clock.ts';

/** How far the clocks may differ before start times follow the wall clock, in milliseconds. */
const TOLERANCE_MS = 2;

/**
 * Gives spans start times with microseconds. The SDK uses milliseconds, so a child that starts 300 µs after its parent seems to
 * start with it. End times follow, because the SDK adds the measured duration to the start.
 */
export const preciseStarts = (clock: Pick<Clock, 'now' | 'monotonicMs'>): SpanProcessor => {
  let originMs = clock.now() - clock.monotonicMs();
  const nowMs = (): number => {
    const differenceMs = clock.now() - originMs - clock.monotonicMs();
    // The wall clock was set, or has drifted.
    if (Math.abs(differenceMs) > TOLERANCE_MS) originMs += differenceMs;
    return originMs + clock.monotonicMs();
  };
  return {
    onStart(span) {
      const ms = nowMs();
      const seconds = Math.trunc(ms / 1_000);
      const start: HrTime = [seconds, Math.round((ms - seconds * 1_000) * 1_000) * 1_000];
      (span as { startTime: HrTime }).startTime = start;
    },
    onEnd: () => undefined,
    forceFlush: async () => undefined,
    shutdown: async () => undefined,
  };
};
