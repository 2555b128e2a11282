import { DomainAttribute } from '@interlock/runtime';
import type { BatchObservableResult, Meter } from '@opentelemetry/api';
import type { Fleet } from './fleet.ts';

/**
 * Shows the disk hosts as this process knows them: whether each holds its lease as `interlock.disk_host.serving`, and its file system as
 * `interlock.disk_host.capacity` and `interlock.disk_host.free`, in bytes. A host that was declared lost is not observed: an operator
 * knows it, and nothing can be done about it.
 * @param parts.countsVolumes whether this process counts what the hosts have, and shows it as `interlock.disk_host.volumes`
 * @returns ends it
 */
export const meterFleet = ({
  fleet,
  meter,
  countsVolumes,
}: {
  readonly fleet: Pick<Fleet, 'list'>;
  readonly meter: Meter;
  readonly countsVolumes: boolean;
}): (() => void) => {
  const serving = meter.createObservableGauge('interlock.disk_host.serving', {
    description: 'Whether the disk host holds the lease of its volumes: 1, else 0',
  });
  const capacity = meter.createObservableGauge('interlock.disk_host.capacity', {
    unit: 'By',
    description: 'Size of the file system of the volumes of the disk host',
  });
  const free = meter.createObservableGauge('interlock.disk_host.free', {
    unit: 'By',
    description: 'Free bytes of the file system of the volumes of the disk host',
  });
  const volumes = meter.createObservableGauge('interlock.disk_host.volumes', {
    unit: '{volume}',
    description: 'Disks and snapshots of the disk host',
  });
  const observe = (result: BatchObservableResult): void => {
    for (const { name, status, isServing, lease, volumeCount } of fleet.list()) {
      if (status === 'lost') continue;
      const by = { [DomainAttribute.diskHost]: name };
      result.observe(serving, isServing ? 1 : 0, by);
      if (lease?.capacityBytes !== undefined) result.observe(capacity, lease.capacityBytes, by);
      if (lease?.freeBytes !== undefined) result.observe(free, lease.freeBytes, by);
      if (countsVolumes) result.observe(volumes, volumeCount, by);
    }
  };
  const all = [serving, capacity, free, volumes];
  meter.addBatchObservableCallback(observe, all);
  return () => meter.removeBatchObservableCallback(observe, all);
};
