import { DomainAttribute, DURATION_BUCKETS_S } from '@interlock/runtime';
import type { Meter } from '@opentelemetry/api';
import type { VmEvent } from '../vm/events.ts';

/** Told what was stored for a machine. */
export type StopMeter = (events: readonly VmEvent[]) => void;

/**
 * Measures revocations as `interlock.revocation.duration`: seconds from the moment a key was lost, by the clock of whoever
 * took it away, to the commit that says that a machine is off because of it; one value a machine, by reason. Those that took
 * longer than the bound are counted as `interlock.revocation.late`: which bound that is, a reader of the histogram cannot know.
 * @param boundMs `LEASE_TTL_MS`
 */
export const meterStops = (meter: Meter, boundMs: number): StopMeter => {
  const duration = meter.createHistogram('interlock.revocation.duration', {
    unit: 's',
    description: 'From the loss of a key to a machine that is off because of it',
    advice: { explicitBucketBoundaries: [...DURATION_BUCKETS_S] },
  });
  const late = meter.createCounter('interlock.revocation.late', {
    unit: '{machine}',
    description: 'Machines that were off later than LEASE_TTL_MS after their key was lost',
  });
  // What only appears with its first machine would never be seen to rise.
  late.add(0);
  return (events) => {
    for (const event of events) {
      if (event.type !== 'VmStopped' || event.reason === undefined) continue;
      const { since, reason } = event.reason;
      // Two clocks: one that is ahead makes no machine stop before its key was lost.
      const tookMs = Math.max(0, event.at - since);
      duration.record(tookMs / 1_000, { [DomainAttribute.reason]: reason });
      if (tookMs > boundMs) late.add(1);
    }
  };
};
