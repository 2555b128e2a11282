import { Service } from '../request/schema.ts';
import { existingBefore } from './before.ts';
import { allPausedDoubt, pausedDoubt } from './doubts.ts';
import { isHeldOffByKey } from './held-off.ts';
import { machineNote, machinesNote } from './notes.ts';
import { named, nounOf, type Target, type Verb } from './verb.ts';

const noun = (name: string) => nounOf('compute', Service.compute, name);
const vm = noun('vm');
const platform = noun('platform');
const oneVm = named('vm', 'virtualMachine');
const vmAndDisk: readonly Target[] = [...oneVm, { word: 'disk', field: 'disk', kind: 'disk' }];
const settles = { get: 'GetVirtualMachine' } as const;
const untilRunning = { get: 'GetVirtualMachine', until: 'running' } as const;

/** What compute is asked. */
export const computeVerbs: readonly Verb[] = [
  vm('create', 'CreateVirtualMachine', {
    targets: [{ word: 'vm', kind: 'virtualMachine', parent: 'parent', idField: 'virtual_machine_id' }],
    aliases: { 'data-disk': 'data_disks' },
    required: ['location', 'os-disk'],
    before: existingBefore(
      'compute',
      Service.compute,
      'GetVirtualMachine',
      ({ parent, virtualMachineId }) => `${parent}/virtualMachines/${virtualMachineId}`,
    ),
    settles: untilRunning,
  }),
  vm('show', 'GetVirtualMachine', { targets: oneVm, note: machineNote, doubt: pausedDoubt }),
  vm('list', 'ListVirtualMachines', {
    note: machinesNote,
    doubt: allPausedDoubt,
    kinds: { parent: 'container' },
    defaults: { parent: 'group-or-subscription' },
  }),
  vm('delete', 'DeleteVirtualMachine', { targets: oneVm, settles }),
  vm('start', 'StartVirtualMachine', {
    targets: oneVm,
    settles: untilRunning,
    switches: {
      'stopped-by-key':
        'all that a lost key has stopped, or kept off at their last start or restart, in the group or, without one, in the subscription',
    },
    many: {
      method: 'StartVirtualMachines',
      field: 'names',
      callMax: 256,
      all: {
        switch: 'stopped-by-key',
        list: 'ListVirtualMachines',
        isMeant: isHeldOffByKey,
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
  vm('activity-log', 'ListActivityLog', { targets: oneVm }),
  vm('watch', 'WatchVirtualMachine', { targets: oneVm }),

  platform('report-access-lost', 'ReportAccessLost', { aliases: { set: 'disk_encryption_set' } }),
  platform('preview-key-loss', 'PreviewKeyLoss', { aliases: { set: 'disk_encryption_set' } }),
];
