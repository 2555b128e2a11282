import type { DiskHostServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { Authorization } from '@interlock/rpc';
import { scopeOfList } from './snapshot/reads.ts';

/** Who may call each method of DiskService. A process that passes a call on checks it, and the host that executes it does again. */
export const authorization = {
  createDisk: {
    authenticated: true,
    why: 'compute/disks/write on its group and reading its source, or compute for its machine',
  },
  getDisk: { authenticated: true, why: 'compute/disks/read on it, or compute' },
  listDisks: { authenticated: true, why: 'compute/disks/read on the parent, else on the subscription, or compute' },
  deleteDisk: { authenticated: true, why: 'compute/disks/delete on it, or compute with its machine' },
  changeDiskEncryption: { action: 'compute/disks/write', scope: ({ name }) => name },
  growDisk: { action: 'compute/disks/write', scope: ({ name }) => name },
  changeDiskSku: { action: 'compute/disks/write', scope: ({ name }) => name },
  createSnapshot: { action: 'compute/snapshots/write', scope: ({ parent }) => parent },
  getSnapshot: { action: 'compute/snapshots/read', scope: ({ name }) => name },
  listSnapshots: { action: 'compute/snapshots/read', scope: scopeOfList },
  deleteSnapshot: { action: 'compute/snapshots/delete', scope: ({ name }) => name },
  attachDisk: { workload: ['compute'] },
  openDisks: { workload: ['compute'] },
  closeDisks: { workload: ['compute'] },
  detachDisk: { workload: ['compute'] },
  beginAccess: { action: 'compute/disks/beginAccess', scope: ({ name }) => name },
  endAccess: { action: 'compute/disks/beginAccess', scope: ({ name }) => name },
  checkKeyAccess: { workload: ['disk-encryption-set'] },
  beginGeneration: { workload: ['disk-encryption-set'] },
  listEncryptedResources: { workload: ['disk-encryption-set'] },
  rewrapDeks: { workload: ['disk-encryption-set'] },
  listLeases: {
    action: 'compute/diskEncryptionSets/read',
    scope: ({ diskEncryptionSet }) => diskEncryptionSet || '/',
  },
  moveDisk: { action: 'compute/diskHosts/write', scope: () => '/' },
  moveSnapshot: { action: 'compute/diskHosts/write', scope: () => '/' },
  getDiskHost: { action: 'compute/diskHosts/read', scope: () => '/' },
  listDiskHostResources: { action: 'compute/diskHosts/read', scope: () => '/' },
  listDiskHosts: { action: 'compute/diskHosts/read', scope: () => '/' },
  drainDiskHost: { action: 'compute/diskHosts/write', scope: () => '/' },
  resumeDiskHost: { action: 'compute/diskHosts/write', scope: () => '/' },
  declareDiskHostLost: { action: 'compute/diskHosts/declareLost', scope: () => '/' },
  deleteDiskHost: { action: 'compute/diskHosts/delete', scope: () => '/' },
} satisfies Authorization<typeof DiskServiceDefinition>;

/** Who may call each method of DiskHostService: control processes, and the host that a volume comes from. */
export const hostAuthorization = {
  describeVolumes: { workload: ['disk'] },
  receiveVolume: { workload: ['disk'] },
  sealVolume: { workload: ['disk'] },
  prepareArrival: { workload: ['disk'] },
  resumeAccess: { workload: ['disk'] },
  discardFormerVolume: { workload: ['disk'] },
} satisfies Authorization<typeof DiskHostServiceDefinition>;
