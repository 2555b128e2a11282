import { DomainAttribute } from '@interlock/runtime';
import type { BatchObservableResult, Meter } from '@opentelemetry/api';
import type { VmHosts } from './vm-hosts.ts';

/**
 * Shows the VM hosts as this process knows them: whether each renews as `interlock.vm_host.serving`, the machines that are on there as
 * `interlock.vm_host.machines`, and the most that it takes as `interlock.vm_host.capacity`. A lost or drained host is not observed: its
 * process may be away for good, and no machine needs it.
 * @returns ends it
 */
export const meterVmHosts = ({
  fleet,
  meter,
}: {
  readonly fleet: Pick<VmHosts, 'list'>;
  readonly meter: Meter;
}): (() => void) => {
  const serving = meter.createObservableGauge('interlock.vm_host.serving', {
    description: 'Whether the VM host renews: 1, else 0',
  });
  const machines = meter.createObservableGauge('interlock.vm_host.machines', {
    unit: '{machine}',
    description: 'Machines that are on at the VM host',
  });
  const capacity = meter.createObservableGauge('interlock.vm_host.capacity', {
    unit: '{machine}',
    description: 'Most machines that the VM host takes',
  });
  const observe = (result: BatchObservableResult): void => {
    for (const { name, status, isServing, machineCount, capacity: most } of fleet.list()) {
      if (status === 'lost' || status === 'drained') continue;
      const by = { [DomainAttribute.vmHost]: name };
      result.observe(serving, isServing ? 1 : 0, by);
      result.observe(machines, machineCount, by);
      result.observe(capacity, most, by);
    }
  };
  const all = [serving, machines, capacity];
  meter.addBatchObservableCallback(observe, all);
  return () => meter.removeBatchObservableCallback(observe, all);
};
