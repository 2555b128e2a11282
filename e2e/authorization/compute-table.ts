import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { idIn } from './names.ts';
import type { Place } from './place.ts';
import { type CasesOf, rowsOf } from './row.ts';
import { need, on, role, workload } from './rule.ts';

const requestId = '8a4f1d9c-6b0e-4e5f-8d7a-2c9b7e5f1d01';
const read = role(need('compute/virtualMachines/read', on.machine));
/** Actions that operators may do, and readers may not. */
const operating = (verb: string) =>
  role(need(`compute/virtualMachines/${verb}`, on.machine, { opens: 'operator', near: 'reader' }));
const changing = (verb: string) => role(need(`compute/virtualMachines/${verb}`, on.machine, { near: 'operator' }));
const named = ({ missingMachine }: Place) => ({ name: missingMachine });

const makesMachine = need('compute/virtualMachines/write', on.newMachine, { near: 'operator' });
const newMachine = ({ group, newMachine: name }: Place) => ({
  parent: group,
  virtualMachineId: idIn(name),
  location: 'westeurope',
});

/** No such host: a permitted caller gets NOT_FOUND, and nothing changes for the other cells. */
const missingHost = () => ({ name: 'vmHosts/missing' });
const operator = { near: 'operator' } as const;
const changesHosts = role(need('compute/vmHosts/write', on.platform, operator));

/** RPCs of VM hosts. */
const hosts = {
  getVmHost: { rule: role(need('compute/vmHosts/read', on.platform)), request: missingHost },
  listVmHosts: { rule: role(need('compute/vmHosts/read', on.platform)), request: () => ({}) },
  drainVmHost: { rule: changesHosts, request: missingHost },
  resumeVmHost: { rule: changesHosts, request: missingHost },
  declareVmHostLost: { rule: role(need('compute/vmHosts/declareLost', on.platform, operator)), request: missingHost },
  deleteVmHost: { rule: role(need('compute/vmHosts/delete', on.platform, operator)), request: missingHost },
  // Without a run: a permitted caller gets RUN_INVALID.
  renewVmHost: { rule: workload('compute'), request: missingHost },
  reportGuestEnded: {
    rule: workload('compute'),
    request: ({ missingMachine }: Place) => ({ virtualMachine: missingMachine, vmHost: 'vmHosts/missing' }),
  },
} satisfies Partial<CasesOf<typeof ComputeServiceDefinition>>;

/** Who may call compute. */
export const computeTable = rowsOf(
  'compute',
  ComputeServiceDefinition,
)({
  createVirtualMachine: [
    {
      when: 'from a disk',
      // compute attaches under its own name, so it checks the permission of its caller.
      rule: role(makesMachine, need('compute/disks/write', on.attachedDisk, { near: 'operator' })),
      request: (place) => ({ ...newMachine(place), osDisk: { source: { $case: 'disk', value: place.usedDisk } } }),
    },
    {
      when: 'with a new disk under a set',
      rule: role(
        makesMachine,
        need('compute/disks/write', on.newDisk, { near: 'operator' }),
        need('compute/diskEncryptionSets/read', on.set),
      ),
      // The set is of another type: a permitted caller gets that error, and no machine is created.
      request: (place) => ({
        ...newMachine(place),
        osDisk: {
          source: {
            $case: 'newDisk',
            value: {
              diskId: idIn(place.newDisk),
              sku: 'PREMIUM_SSD',
              sizeGib: 1,
              encryption: { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS', diskEncryptionSet: place.set },
            },
          },
        },
      }),
    },
  ],
  getVirtualMachine: { rule: read, request: named },
  listVirtualMachines: {
    rule: role(need('compute/virtualMachines/read', on.parent)),
    request: ({ group }) => ({ parent: group }),
  },
  deleteVirtualMachine: { rule: changing('delete'), request: named },
  startVirtualMachine: { rule: operating('start'), request: named },
  startVirtualMachines: {
    rule: role(need('compute/virtualMachines/start', on.eachMachine, { opens: 'operator', near: 'reader' })),
    request: ({ missingMachine }) => ({ names: [missingMachine] }),
  },
  powerOffVirtualMachine: { rule: operating('powerOff'), request: named },
  deallocateVirtualMachine: { rule: operating('deallocate'), request: named },
  restartVirtualMachine: { rule: operating('restart'), request: (place) => ({ ...named(place), requestId }) },
  attachDisk: {
    rule: role(
      need('compute/virtualMachines/write', on.idleMachine, { near: 'operator' }),
      need('compute/disks/write', on.attachedDisk, { near: 'operator' }),
    ),
    request: ({ idleMachine, usedDisk }) => ({ name: idleMachine, lun: 0, disk: usedDisk }),
  },
  detachDisk: { rule: changing('write'), request: (place) => ({ ...named(place), disk: place.missingDisk }) },
  getInstanceView: { rule: read, request: named },
  readGuestJournal: { rule: read, request: named },
  listActivityLog: { rule: read, request: named },
  watchVirtualMachine: { rule: read, request: named },
  reportAccessLost: {
    rule: workload('disk'),
    request: ({ group, policyVault }) => ({
      diskHost: 'none',
      diskEncryptionSet: `${group}/diskEncryptionSets/none`,
      keyVersion: policyVault.keyVersion,
      reason: 'KEY_DISABLED',
      accessEpoch: 1,
    }),
  },
  previewKeyLoss: {
    rule: workload('disk-encryption-set'),
    request: ({ group, policyVault }) => ({
      diskEncryptionSet: `${group}/diskEncryptionSets/none`,
      keyVersions: [policyVault.keyVersion],
    }),
  },
  ...hosts,
});
