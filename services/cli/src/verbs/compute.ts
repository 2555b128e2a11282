import type { JsonObject } from '@bufbuild/protobuf';
import { isObject, Service } from '../request/schema.ts';
import { cordonOnly } from './before.ts';
import { machineNote } from './notes.ts';
import { named, nounOf, type Target, type Verb } from './verb.ts';

const noun = (name: string) => nounOf('compute', Service.compute, name);
const vm = noun('vm');
const vmHost = noun('vm-host');
const platform = noun('platform');
const oneVm = named('vm', 'virtualMachine');
const oneVmHost = named('vm-host', 'vmHost');
const vmAndDisk: readonly Target[] = [...oneVm, { word: 'disk', field: 'disk', kind: 'disk' }];
const settles = { get: 'GetVirtualMachine' } as const;
const untilRunning = { get: 'GetVirtualMachine', until: 'running' } as const;

/**
 * Whether an access loss keeps a machine off that should run: the loss stopped it, and its user has not stopped it since; or
 * its last start or restart failed because of a loss (VM-33, VM-47).
 */
const isStoppedByKey = ({ powerState, stopCause, failure }: JsonObject): boolean => {
  if (powerState !== 'STOPPED') return false;
  if (stopCause === 'KEY_LOST') return true;
  const isOfStart = isObject(failure) && (failure.operation === 'start' || failure.operation === 'restart');
  return isOfStart && isObject(failure.accessLoss);
};

/** The RPCs of compute. */
export const computeVerbs: readonly Verb[] = [
  vm('create', 'CreateVirtualMachine', {
    targets: [{ word: 'vm', kind: 'virtualMachine', parent: 'parent', idField: 'virtual_machine_id' }],
    aliases: { 'data-disk': 'data_disks', 'on-host-loss': 'host_loss_policy' },
    required: ['location', 'os-disk'],
    settles: untilRunning,
  }),
  vm('show', 'GetVirtualMachine', { targets: oneVm, note: machineNote }),
  vm('list', 'ListVirtualMachines', {
    wide: { view: 'FULL' },
    kinds: { parent: 'container' },
    defaults: { parent: 'group-or-subscription' },
  }),
  vm('delete', 'DeleteVirtualMachine', { targets: oneVm, settles }),
  vm('start', 'StartVirtualMachine', {
    targets: oneVm,
    settles: untilRunning,
    switches: {
      'stopped-by-key':
        'every machine of the group (without a group: of the subscription) that an access loss stopped or kept from starting',
    },
    many: {
      method: 'StartVirtualMachines',
      field: 'names',
      callMax: 256,
      all: {
        switch: 'stopped-by-key',
        list: 'ListVirtualMachines',
        selects: isStoppedByKey,
      },
    },
  }),
  vm('stop', 'PowerOffVirtualMachine', { targets: oneVm, settles }),
  vm('deallocate', 'DeallocateVirtualMachine', { targets: oneVm, settles }),
  vm('restart', 'RestartVirtualMachine', {
    targets: oneVm,
    defaults: { request_id: 'uuid' },
    settles: untilRunning,
  }),
  vm('attach', 'AttachDisk', { targets: vmAndDisk, settles }),
  vm('detach', 'DetachDisk', { targets: vmAndDisk, settles }),
  vm('instance-view', 'GetInstanceView', { targets: oneVm }),
  vm('journal', 'ReadGuestJournal', { targets: oneVm }),
  vm('activity-log', 'ListActivityLog', { targets: oneVm }),
  vm('watch', 'WatchVirtualMachine', { targets: oneVm }),

  vmHost('list', 'ListVmHosts'),
  vmHost('show', 'GetVmHost', { targets: oneVmHost }),
  vmHost('cordon', 'DrainVmHost', {
    targets: oneVmHost,
    before: cordonOnly,
    help: 'Closes a VM host for new guests. Its machines run on.',
  }),
  vmHost('drain', 'DrainVmHost', { targets: oneVmHost, settles: { get: 'GetVmHost' } }),
  vmHost('resume', 'ResumeVmHost', { targets: oneVmHost }),
  vmHost('declare-lost', 'DeclareVmHostLost', { targets: oneVmHost }),
  vmHost('delete', 'DeleteVmHost', { targets: oneVmHost }),

  platform('renew-vm-host', 'RenewVmHost', { targets: oneVmHost }),
  platform('report-guest-ended', 'ReportGuestEnded', { kinds: { vm_host: 'vmHost' } }),
  platform('report-access-lost', 'ReportAccessLost', { aliases: { set: 'disk_encryption_set' } }),
  platform('preview-key-loss', 'PreviewKeyLoss', { aliases: { set: 'disk_encryption_set' } }),
];
