import type {
  ComputeServiceDefinition,
  VmHostServiceDefinition,
} from '@interlock/contracts/interlock/compute/v1/compute.ts';
import type { Authorization } from '@interlock/rpc';

/** Who may call each method of ComputeService. */
export const authorization = {
  createVirtualMachine: {
    action: 'compute/virtualMachines/write',
    scope: ({ parent, virtualMachineId }) => `${parent}/virtualMachines/${virtualMachineId}`,
  },
  getVirtualMachine: { action: 'compute/virtualMachines/read', scope: ({ name }) => name },
  listVirtualMachines: { action: 'compute/virtualMachines/read', scope: ({ parent }) => parent },
  deleteVirtualMachine: { action: 'compute/virtualMachines/delete', scope: ({ name }) => name },
  startVirtualMachine: { action: 'compute/virtualMachines/start', scope: ({ name }) => name },
  startVirtualMachines: {
    authenticated: true,
    why: 'compute/virtualMachines/start on each machine: one it may not start is refused by itself',
  },
  powerOffVirtualMachine: { action: 'compute/virtualMachines/powerOff', scope: ({ name }) => name },
  deallocateVirtualMachine: { action: 'compute/virtualMachines/deallocate', scope: ({ name }) => name },
  restartVirtualMachine: { action: 'compute/virtualMachines/restart', scope: ({ name }) => name },
  attachDisk: { action: 'compute/virtualMachines/write', scope: ({ name }) => name },
  detachDisk: { action: 'compute/virtualMachines/write', scope: ({ name }) => name },
  getInstanceView: { action: 'compute/virtualMachines/read', scope: ({ name }) => name },
  readGuestJournal: { action: 'compute/virtualMachines/read', scope: ({ name }) => name },
  listActivityLog: { action: 'compute/virtualMachines/read', scope: ({ name }) => name },
  watchVirtualMachine: { action: 'compute/virtualMachines/read', scope: ({ name }) => name },
  reportAccessLost: { workload: ['disk'] },
  previewKeyLoss: { workload: ['disk-encryption-set'] },
  getVmHost: { action: 'compute/vmHosts/read', scope: () => '/' },
  listVmHosts: { action: 'compute/vmHosts/read', scope: () => '/' },
  drainVmHost: { action: 'compute/vmHosts/write', scope: () => '/' },
  resumeVmHost: { action: 'compute/vmHosts/write', scope: () => '/' },
  declareVmHostLost: { action: 'compute/vmHosts/declareLost', scope: () => '/' },
  deleteVmHost: { action: 'compute/vmHosts/delete', scope: () => '/' },
  // A VM host is a process of the workload compute.
  renewVmHost: { workload: ['compute'] },
  reportGuestEnded: { workload: ['compute'] },
} satisfies Authorization<typeof ComputeServiceDefinition>;

/** Who may call each method of VmHostService: compute, at the address of a VM host. */
export const vmHostAuthorization = {
  startGuest: { workload: ['compute'] },
  stopGuest: { workload: ['compute'] },
  attachGuestDisk: { workload: ['compute'] },
  detachGuestDisk: { workload: ['compute'] },
  listGuests: { workload: ['compute'] },
  describeGuest: { workload: ['compute'] },
  readGuestPage: { workload: ['compute'] },
  forgetGuest: { workload: ['compute'] },
} satisfies Authorization<typeof VmHostServiceDefinition>;
