import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { ServiceType } from '../resource-types/service-type.ts';
import { instanceViewShown } from './instance-view.ts';
import { computerNameOf, disksOf, keptContent, machineBody, wantedDisks } from './machine-body.ts';
import { MachineBody, type MachineGiven } from './machine-schemas.ts';
import { isExpanded, type MachineParts, type Machines } from './machines.ts';

/** Virtual machines. */
export const machineType = (
  { backends, names }: MachineParts,
  machines: Machines,
): ServiceType<VirtualMachine, MachineGiven> => ({
  collection: 'virtualMachines',
  service: 'compute',
  family: 'operations',
  does: {
    put: 'Creates a machine and starts it, or updates it; an image is an empty disk',
    patch: 'Updates a machine: data disks, tags, size',
    get: 'Reads a machine; `$expand=instanceView`',
    delete: 'Deletes a machine; its disks stay, except those with deleteOption Delete',
    list: 'machines',
  },
  body: MachineBody,
  secrets: ['osProfile'],
  calls: machines,
  incarnationOf: ({ uniqueId }) => uniqueId,
  etagOf: ({ etag }) => etag,
  stateOf: ({ provisioningState, dataDisks, failure }) => ({
    provisioningState,
    disks: dataDisks.map(({ disk }) => disk),
    failure: failure && { ...failure, diskEncryptionSet: failure.accessLoss?.diskEncryptionSet ?? '' },
  }),
  namedBy: disksOf,
  disksIn: (body, group) => wantedDisks(names, body, group),
  kept: (before, body, { name }, isPatch) =>
    keptContent(names, before, body, { group: name.split('/').slice(0, 4).join('/'), isPatch }),
  expanded: async (vm, query, caller) =>
    isExpanded(query)
      ? { ...vm, instanceView: await backends.compute.getInstanceView({ name: vm.name }, caller.as('compute')) }
      : vm,
  shown: (vm, extras, idOf) => {
    const view = vm.instanceView && instanceViewShown(names, vm.instanceView, computerNameOf(extras));
    return machineBody(vm, extras, idOf, view);
  },
});
