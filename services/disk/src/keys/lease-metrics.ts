import { type Clock, DomainAttribute } from '@interlock/runtime';
import { type MeterProvider, metrics } from '@opentelemetry/api';
import { ageMs, readingOf } from './lease.ts';
import type { Leases } from './leases.ts';

/**
 * Shows the age of every lease as `interlock.lease.age`: seconds since the question of its newest yes was sent, by set and
 * key version. A healthy one stays below half of LEASE_TTL_MS; one without a yes is not observed. Goes on until `signal`.
 */
export const meterLeases = (parts: {
  readonly leases: Pick<Leases, 'list'>;
  readonly clock: Pick<Clock, 'monotonicMs' | 'bootMs'>;
  readonly signal: AbortSignal;
  /** Default: that of the process, which observes nothing unless one is set up. */
  readonly meters?: MeterProvider;
}): void => {
  const { leases, clock, signal, meters = metrics.getMeterProvider() } = parts;
  const age = meters.getMeter('@interlock/disk').createObservableGauge('interlock.lease.age', {
    unit: 's',
    description: 'Time since the question was sent whose yes a lease rests on',
  });
  const observe: Parameters<typeof age.addCallback>[0] = (result) => {
    const now = readingOf(clock);
    for (const { lease } of leases.list()) {
      const yes = lease.yes();
      if (!yes) continue;
      result.observe(ageMs(yes.asked.at, now) / 1_000, {
        [DomainAttribute.diskEncryptionSet]: lease.key.set,
        [DomainAttribute.keyVersion]: lease.key.keyVersion,
      });
    }
  };
  age.addCallback(observe);
  signal.addEventListener('abort', () => age.removeCallback(observe), { once: true });
};
