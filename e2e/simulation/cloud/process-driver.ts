import type { VmHost } from '../../../services/compute/src/guests/vm-host.ts';
import type { Gate } from '../faults/gate.ts';

/** The hypervisor for one process of compute: guests outlive the process, and its responses pass the gate of the process. */
export const processDriver = (inner: VmHost, gate: Gate): VmHost => ({
  hasGuests: inner.hasGuests,
  start: (vm, plan) => gate.through(inner.start(vm, plan)),
  stop: (vm, order) => gate.through(inner.stop(vm, order)),
  attach: (vm, disk) => gate.through(inner.attach(vm, disk)),
  detach: (vm, disk) => gate.through(inner.detach(vm, disk)),
  isRunning: (vm) => gate.through(inner.isRunning(vm)),
  disksOf: (vm) => gate.through(inner.disksOf(vm)),
  ioOf: (vm, machineId) => gate.through(inner.ioOf(vm, machineId)),
  journalOf: (vm, machineId, after, limit) => gate.through(inner.journalOf(vm, machineId, after, limit)),
  forget: (vm) => gate.through(inner.forget(vm)),
  async runningGuests() {
    const found = await gate.through(inner.runningGuests());
    return found.map(({ vm, end }) => ({ vm, end: () => gate.through(end()) }));
  },
  endOf: (vm) => gate.through(inner.endOf(vm)),
  onEnded: (listener) => inner.onEnded((vm) => gate.whenOpen(() => listener(vm))),
});
