import { ageMs, type Clock, DomainAttribute, readingOf } from '@interlock/runtime';
import type { BatchObservableResult, Meter } from '@opentelemetry/api';
import type { KeyAccess } from './key-access.ts';
import { stateOfLease } from './lease-api.ts';
import type { Leases } from './leases.ts';

/** Attribute with the state of a lease, as the API names it. */
const STATE = 'interlock.lease.state';

const STATES = ['HELD', 'PAUSED', 'LOST', 'PINNED'] as const;

/**
 * Shows the leases of this host: how many are in each state as `interlock.lease.count`, and the age of each as
 * `interlock.lease.age`: seconds since the call of its newest grant was sent, by host, set and key version. A healthy lease stays
 * below half of `interlock.lease.ttl`, which is LEASE_TTL_MS in seconds; a lease without a grant is not observed.
 * @returns ends it
 */
export const meterLeases = (parts: {
  readonly leases: Pick<Leases, 'list'>;
  readonly keyAccess: Pick<KeyAccess, 'lossOf'>;
  readonly clock: Pick<Clock, 'monotonicMs' | 'bootMs'>;
  readonly meter: Meter;
  readonly ttlMs: number;
  /** Short name of this host. */
  readonly host: string;
}): (() => void) => {
  const { leases, keyAccess, clock, meter, ttlMs, host } = parts;
  const here = { [DomainAttribute.diskHost]: host };
  const age = meter.createObservableGauge('interlock.lease.age', {
    unit: 's',
    description: 'Time since the check was sent that last granted the lease',
  });
  const ttl = meter.createObservableGauge('interlock.lease.ttl', {
    unit: 's',
    description: 'How long a grant of a vault allows the use of data keys',
  });
  const count = meter.createObservableGauge('interlock.lease.count', {
    unit: '{lease}',
    description: 'Leases that open disks use, by state',
  });
  const observe = (result: BatchObservableResult): void => {
    const now = readingOf(clock);
    result.observe(ttl, ttlMs / 1_000);
    const counts = new Map<(typeof STATES)[number], number>(STATES.map((state) => [state, 0]));
    for (const report of leases.list()) {
      const { lease } = report;
      const state = stateOfLease(report, keyAccess.lossOf(lease.key) !== undefined);
      counts.set(state, (counts.get(state) ?? 0) + 1);
      const grant = lease.grant();
      if (!grant) continue;
      result.observe(age, ageMs(grant.sent.at, now) / 1_000, {
        ...here,
        [DomainAttribute.diskEncryptionSet]: lease.key.set,
        [DomainAttribute.keyVersion]: lease.key.keyVersion,
      });
    }
    for (const [state, number] of counts) result.observe(count, number, { ...here, [STATE]: state });
  };
  meter.addBatchObservableCallback(observe, [age, ttl, count]);
  return () => meter.removeBatchObservableCallback(observe, [age, ttl, count]);
};
