import { accessReasonOf, messageOf, publicCodes } from '@interlock/access';
import {
  type DiskInstanceView,
  InstanceStatus,
  type InstanceStatus_Level,
  type InstanceView,
} from '@interlock/contracts/interlock/compute/v1/instance_view.ts';
import type { Loaded } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { Failure, KeyLoss, MachineEnd } from './machine.ts';
import type { Vm } from './state.ts';
import { stopCauseOf } from './state.ts';
import { powerOf, provisioningOf, shown } from './wire.ts';

/**
 * Statuses of a machine and of each of its disks (VM-05, VM-06). A disk whose lost key stopped the machine or blocks its start
 * has an error (VM-41, VM-50). An ultra disk whose machine keeps running has a warning instead.
 * @param currentLosses known losses of the keys of its disks, while it is off
 * @throws Rejection NOT_FOUND VIRTUAL_MACHINE_NOT_FOUND
 */
export const instanceViewOf = (loaded: Loaded<Vm>, currentLosses: readonly KeyLoss[] = []): InstanceView => {
  const vm = shown(loaded);
  const power = powerOf(vm).toLowerCase();
  const since = vm.status === 'active' ? vm.power.since : vm.createdAt;
  const known = vm.status === 'active' ? vm.blocked : [];
  const blocked = [...known, ...currentLosses.filter(({ disk }) => !known.some((one) => one.disk === disk))];
  const isRunning = vm.status === 'active' && vm.power.state === 'running';
  return {
    statuses: [provisioningStatus(vm), status(`PowerState/${power}`, 'INFO', `VM ${power}`, since, whyOff(vm))],
    disks: vm.disks.map(({ disk }) => diskView(disk, blocked, { isRunning, createdAt: vm.createdAt })),
  };
};

/** Why a machine is off without a request of its user; empty if its user requested it. */
const whyOff = (vm: ReturnType<typeof shown>): string => {
  if (vm.status !== 'active') return '';
  const cause = vm.power.state === 'starting' ? undefined : stopCauseOf(vm);
  if (cause?.kind === 'keyLoss') return messageOf(cause.loss);
  if (cause?.kind !== 'guestEnded') return '';
  return [endMessages[cause.end], cause.detail ?? []].flat().join(' ');
};

const endMessages: Readonly<Record<MachineEnd, string>> = {
  GUEST_ENDED: 'GUEST_ENDED: the guest ended by itself.',
  HOST_RESTARTED: 'HOST_RESTARTED: the host of the machine was restarted. Start the machine again.',
  HOST_LOST: 'HOST_LOST: the VM host of the machine is lost. Started again, the machine runs at another one.',
  HOST_DRAINED: 'HOST_DRAINED: the VM host of the machine is being emptied. The machine starts at another one.',
};

const provisioningStatus = (vm: ReturnType<typeof shown>): InstanceStatus => {
  const state = provisioningOf(vm).toLowerCase();
  const failure = vm.status === 'active' ? vm.failure : undefined;
  if (state === 'failed' && failure) {
    return status(
      `ProvisioningState/failed/${codeOf(failure)}`,
      'ERROR',
      'Provisioning failed',
      failure.at,
      failure.message,
    );
  }
  const at = vm.status === 'active' ? (vm.power.work?.at ?? vm.power.since) : vm.work.at;
  return status(`ProvisioningState/${state}`, 'INFO', `Provisioning ${state}`, at);
};

const codeOf = ({ code }: Failure): string => {
  const reason = accessReasonOf(code);
  return reason === undefined ? code : publicCodes[reason];
};

const diskView = (
  disk: string,
  blocked: readonly KeyLoss[],
  { isRunning, createdAt }: { readonly isRunning: boolean; readonly createdAt: Instant },
): DiskInstanceView => {
  const loss = blocked.find((one) => one.disk === disk);
  return { name: disk, statuses: [diskStatus(loss, isRunning, createdAt)] };
};

const diskStatus = (loss: KeyLoss | undefined, isRunning: boolean, createdAt: Instant): InstanceStatus => {
  if (loss === undefined) return status('ProvisioningState/succeeded', 'INFO', 'Provisioning succeeded', createdAt);
  const message = messageOf(loss);
  if (isRunning) {
    // It serves reads and writes: nothing has failed yet.
    const held = `It keeps its data while the machine runs; the next start of the machine fails. ${message}`;
    return status('ProvisioningState/succeeded', 'WARNING', 'Provisioning succeeded', loss.since, held);
  }
  const code = `ProvisioningState/failed/${publicCodes[loss.reason]}`;
  return status(code, 'ERROR', 'Provisioning failed', loss.since, message);
};

const status = (
  code: string,
  level: InstanceStatus_Level,
  displayStatus: string,
  at: Instant,
  message = '',
): InstanceStatus => InstanceStatus.fromPartial({ code, level, displayStatus, message, time: new Date(at) });
