import type { ReportGuestEndedRequest } from '@interlock/contracts/interlock/compute/v1/vm_host.ts';
import type { Category } from '@interlock/event-store';
import { type Call, names } from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';
import type { Engine } from '../processes/engine.ts';
import { keyStopWork, ownCause } from './causes.ts';
import type { VmEvent } from './events.ts';
import { guestEnded } from './progress.ts';
import type { Vm } from './state.ts';

/** What a VM host reports of its guests. */
export const guestEndedApi = (parts: {
  readonly vms: Category<Vm, VmEvent>;
  readonly clock: Clock;
  readonly random: Random;
  readonly engine: Pick<Engine, 'preempt'>;
}) => ({
  /**
   * Stops the machine whose guest ended (VM-43), unless it has another placement by now. While other work is under way on it, the sweep
   * finds that its guest is gone.
   * @throws Rejection INVALID_ARGUMENT NAME_INVALID
   */
  async reportGuestEnded({ virtualMachine: vm, vmHost, placement, detail }: ReportGuestEndedRequest, _call: Call) {
    const { vms, clock, random, engine } = parts;
    names.virtualMachine.parse(vm, 'virtual_machine');
    names.vmHost.parse(vmHost, 'vm_host');
    const cause = ownCause(random);
    const work = { ...keyStopWork(cause, clock, random), kind: 'guestEnded' } as const;
    const ending = { end: 'GUEST_ENDED', ...(detail === '' ? {} : { detail }) } as const;
    const decide = (machine: Vm): readonly VmEvent[] => {
      const isThat =
        machine.status === 'active' && machine.placement?.host === vmHost && machine.placement.number === placement;
      return isThat ? guestEnded(work, machine.startedAt, ending)(machine) : [];
    };
    const { events } = await vms.transact(vm, decide, cause, { step: 'work' });
    if (events.length > 0) engine.preempt([vm]);
    return {};
  },
});
