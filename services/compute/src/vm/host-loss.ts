import type { VmEvent } from './events.ts';
import type { MachineEnd, Work } from './machine.ts';
import type { Machine, Vm } from './state.ts';

/** How a machine is stopped because of its VM host. */
export interface HostStop {
  /** `vmHosts/{vm_host}`. */
  readonly host: string;
  /** The stop as work of kind `guestEnded`; `at` is the time of the decision. */
  readonly work: Work;
  /** The start at another host, as work of kind `start`. */
  readonly startsAgain: Work;
}

/**
 * The VM host of a machine that runs is lost (G2). It starts at another host if its owner wants that. A machine that is starting finds
 * out by itself that its host does not respond.
 */
export const hostLost =
  (stop: HostStop) =>
  (vm: Vm): readonly VmEvent[] => {
    const machine = runningAt(vm, stop.host);
    if (machine === undefined || machine.power.work?.kind === 'delete') return [];
    const { work } = machine.power;
    const { at } = stop.work;
    const preempted = work && {
      ...({ operation: work.kind, operationId: work.id, status: 'UNAVAILABLE', code: 'VM_HOST_LOST', at } as const),
      message: `${stop.host} is lost: try again once the machine runs at another VM host`,
    };
    const stopping = stoppingOf(stop, 'HOST_LOST', machine.spec.hostLossPolicy === 'RESTART');
    return [{ ...stopping, ...(preempted === undefined ? {} : { preempted }) }];
  };

/**
 * The VM host of a machine that runs is being emptied: the machine stops and starts at another one. It stays while something else is
 * done with it, and if its start would fail because of a lost key (CMK-102).
 */
export const hostDrained =
  (stop: HostStop) =>
  (vm: Vm): readonly VmEvent[] => {
    const machine = runningAt(vm, stop.host);
    if (machine === undefined || machine.power.work !== undefined || machine.blocked.length > 0) return [];
    return [stoppingOf(stop, 'HOST_DRAINED', true)];
  };

const runningAt = (vm: Vm, host: string): Machine | undefined =>
  vm.status === 'active' && vm.placement?.host === host && vm.power.state === 'running' ? vm : undefined;

const stoppingOf = ({ work, startsAgain }: HostStop, end: MachineEnd, isStarted: boolean) => ({
  ...({ type: 'VmStopping', work, end } as const),
  ...(isStarted ? { startsAgain } : {}),
  at: work.at,
});
