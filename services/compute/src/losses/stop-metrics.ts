import { DomainAttribute, DURATION_BUCKETS_S } from '@interlock/runtime';
import type { Meter } from '@opentelemetry/api';
import type { VmEvent } from '../vm/events.ts';

/** Measures the events stored for a machine. */
export type StopMeter = (events: readonly VmEvent[]) => void;

/**
 * Measures revocations as `interlock.revocation.duration`: seconds from the access loss, by the clock of the service that
 * committed it, to the commit that a machine is off because of it; one value per machine, by reason. Those above the bound are
 * also counted as `interlock.revocation.late`, because a reader of the histogram does not know the bound.
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
  // A counter that appears with its first machine never shows an increase.
  late.add(0);
  return (events) => {
    for (const event of events) {
      if (event.type !== 'VmStopped' || event.reason === undefined) continue;
      const { since, reason } = event.reason;
      // Two clocks: if the other is ahead, the duration is not negative.
      const tookMs = Math.max(0, event.at - since);
      duration.record(tookMs / 1_000, { [DomainAttribute.reason]: reason });
      if (tookMs > boundMs) late.add(1);
    }
  };
};
