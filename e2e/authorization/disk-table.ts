import {
  DiskDataServiceDefinition,
  DiskHostServiceDefinition,
  DiskServiceDefinition,
} from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { idIn } from './names.ts';
import type { Place } from './place.ts';
import { type CasesOf, rowsOf } from './row.ts';
import { need, type OwnRule, on, role, roleOr, workload } from './rule.ts';

/** An etag that no stream reaches: a permitted caller gets ETAG_MISMATCH, and nothing changes for the other cells. */
const staleEtag = '999999';
const requestId = '3b7c2c58-0a55-4f5c-9a2a-0d2d5c1e7c01';
const operator = { near: 'operator' } as const;
const writesDisk = need('compute/disks/write', on.parent, operator);
const writesSnapshot = need('compute/snapshots/write', on.parent, operator);
const readsSet = need('compute/diskEncryptionSets/read', on.set);
/** A copy reads the whole disk or snapshot: roles/reader is not enough. */
const copiesDisk = need('compute/disks/beginAccess', on.usedDisk);
const copiesSnapshot = need('compute/snapshots/beginAccess', on.usedSnapshot);
const newDisk = ({ group, newDisk: name }: Place) =>
  ({ parent: group, diskId: idIn(name), location: 'westeurope', sku: 'PREMIUM_SSD', sizeGib: 1 }) as const;
const underSet = ({ set }: Place) =>
  ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set }) as const;
const ofSet = workload('disk-encryption-set');
const keyOfSet = ({ set, identity, policyVault }: Place) => ({
  diskEncryptionSet: set,
  keyVersion: policyVault.keyVersion,
  principal: identity,
});

/** The cases of some RPCs of the control side. */
type Cases = Partial<CasesOf<typeof DiskServiceDefinition>>;

/** RPCs of disks. */
const disks = {
  createDisk: [
    { rule: roleOr(['compute'], 'disk-encryption-set', writesDisk), request: newDisk },
    {
      when: 'under a set',
      rule: role(writesDisk, readsSet),
      request: (place) => ({ ...newDisk(place), diskId: 'under-set', encryption: underSet(place) }),
    },
    {
      when: 'from a disk',
      rule: role(writesDisk, copiesDisk),
      request: (place) => ({ ...newDisk(place), source: { $case: 'sourceDisk', value: place.usedDisk } }),
    },
    {
      when: 'from a snapshot',
      rule: role(writesDisk, copiesSnapshot),
      request: (place) => ({ ...newDisk(place), source: { $case: 'sourceSnapshot', value: place.usedSnapshot } }),
    },
  ],
  getDisk: {
    rule: roleOr(['compute'], 'disk-encryption-set', need('compute/disks/read', on.disk)),
    request: ({ disk }) => ({ name: disk }),
  },
  listDisks: [
    {
      rule: roleOr(['compute'], 'disk-encryption-set', need('compute/disks/read', on.parent)),
      request: ({ group }) => ({ parent: group }),
    },
    {
      when: 'of a set, wherever they are',
      rule: roleOr(['compute'], 'disk-encryption-set', need('compute/disks/read', on.subscription)),
      request: ({ set }) => ({ diskEncryptionSet: set }),
    },
    {
      when: 'under a key version, wherever they are',
      rule: roleOr(['compute'], 'disk-encryption-set', need('compute/disks/read', on.platform)),
      request: ({ policyVault }) => ({ keyVersion: policyVault.keyVersion }),
    },
  ],
  deleteDisk: {
    rule: roleOr(['compute'], 'disk-encryption-set', need('compute/disks/delete', on.disk, operator)),
    request: ({ disk }) => ({ name: disk, etag: staleEtag }),
  },
  changeDiskEncryption: [
    {
      when: 'to a key of the platform',
      rule: role(need('compute/disks/write', on.missingDisk, operator)),
      request: ({ missingDisk }) => ({
        name: missingDisk,
        encryption: { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' },
      }),
    },
    {
      when: 'to a set',
      rule: role(need('compute/disks/write', on.readOnlyDisk, operator), readsSet),
      request: (place) => ({ name: place.readOnlyDisk, encryption: underSet(place), etag: staleEtag }),
    },
  ],
  changeDiskSku: {
    rule: role(need('compute/disks/write', on.missingDisk, operator)),
    request: ({ missingDisk }) => ({ name: missingDisk, sku: 'STANDARD_SSD' }),
  },
  growDisk: {
    rule: role(need('compute/disks/write', on.missingDisk, operator)),
    request: ({ missingDisk }) => ({ name: missingDisk, sizeGib: 2 }),
  },
} satisfies Cases;

/** RPCs of snapshots. */
const snapshots = {
  createSnapshot: [
    {
      rule: role(writesSnapshot, copiesDisk),
      request: ({ group, usedDisk }) => ({ parent: group, snapshotId: 'new', sourceDisk: usedDisk, incremental: true }),
    },
    {
      when: 'under a set',
      rule: role(writesSnapshot, need('compute/disks/beginAccess', on.disk), readsSet),
      // The set is of another type: a permitted caller gets that error, and no disk is copied.
      request: ({ group, disk, set }) => ({
        parent: group,
        snapshotId: 'under-set',
        sourceDisk: disk,
        encryption: { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS', diskEncryptionSet: set },
      }),
    },
  ],
  getSnapshot: {
    rule: role(need('compute/snapshots/read', on.snapshot)),
    request: ({ missingSnapshot }) => ({ name: missingSnapshot }),
  },
  listSnapshots: [
    { rule: role(need('compute/snapshots/read', on.parent)), request: ({ group }) => ({ parent: group }) },
    {
      when: 'of a disk, wherever they are',
      rule: role(need('compute/snapshots/read', on.subscription)),
      request: ({ disk }) => ({ sourceDisk: disk }),
    },
    {
      when: 'of a set, wherever they are',
      rule: role(need('compute/snapshots/read', on.subscription)),
      request: ({ set }) => ({ diskEncryptionSet: set }),
    },
  ],
  deleteSnapshot: {
    rule: role(need('compute/snapshots/delete', on.snapshot, operator)),
    request: ({ missingSnapshot }) => ({ name: missingSnapshot }),
  },
} satisfies Cases;

/** RPCs that attach and open disks, and give direct access. */
const access = {
  attachDisk: {
    rule: workload('compute'),
    request: ({ missingDisk, missingMachine }) => ({ name: missingDisk, virtualMachine: missingMachine, requestId }),
  },
  openDisks: {
    rule: workload('compute'),
    request: ({ missingDisk, missingMachine }) => ({
      items: [{ open: { name: missingDisk, virtualMachine: missingMachine } }],
    }),
  },
  closeDisks: {
    rule: workload('compute'),
    request: ({ missingDisk, missingMachine }) => ({
      closings: [{ name: missingDisk, virtualMachine: missingMachine }],
    }),
  },
  detachDisk: {
    rule: workload('compute'),
    request: ({ missingDisk, missingMachine }) => ({ name: missingDisk, virtualMachine: missingMachine }),
  },
  beginAccess: {
    rule: role(need('compute/disks/beginAccess', on.missingDisk, operator)),
    request: ({ missingDisk }) => ({ name: missingDisk, accessLevel: 'READ', durationSeconds: 60 }),
  },
  endAccess: {
    rule: role(need('compute/disks/beginAccess', on.missingDisk, operator)),
    request: ({ missingDisk }) => ({ name: missingDisk }),
  },
} satisfies Cases;

/** RPCs about the keys of disks: rotations and leases. */
const keys = {
  checkKeyAccess: { rule: ofSet, request: keyOfSet },
  beginGeneration: { rule: ofSet, request: (place) => ({ ...keyOfSet(place), generation: 1 }) },
  listEncryptedResources: { rule: ofSet, request: ({ set }) => ({ diskEncryptionSet: set }) },
  rewrapDeks: {
    rule: ofSet,
    request: ({ missingDisk, policyVault }) => ({
      names: [missingDisk],
      targetKeyVersion: policyVault.targetKeyVersion,
      generation: 1,
    }),
  },
  listLeases: [
    { rule: role(need('compute/diskEncryptionSets/read', on.platform)), request: () => ({}) },
    { when: 'of a set', rule: role(readsSet), request: ({ set }) => ({ diskEncryptionSet: set }) },
  ],
} satisfies Cases;

/** No such host: a permitted caller gets NOT_FOUND, and nothing changes for the other cells. */
const missingHost = () => ({ name: 'diskHosts/missing' });
const changesHosts = role(need('compute/diskHosts/write', on.platform, operator));

/** RPCs of disk hosts. */
const hosts = {
  getDiskHost: { rule: role(need('compute/diskHosts/read', on.platform)), request: missingHost },
  listDiskHosts: { rule: role(need('compute/diskHosts/read', on.platform)), request: () => ({}) },
  listDiskHostResources: { rule: role(need('compute/diskHosts/read', on.platform)), request: missingHost },
  drainDiskHost: { rule: changesHosts, request: missingHost },
  resumeDiskHost: { rule: changesHosts, request: missingHost },
  declareDiskHostLost: {
    rule: role(need('compute/diskHosts/declareLost', on.platform, operator)),
    request: () => ({ ...missingHost(), folderId: 'missing' }),
  },
  moveDisk: { rule: changesHosts, request: ({ disk }) => ({ name: disk, diskHost: 'diskHosts/missing' }) },
  moveSnapshot: {
    rule: changesHosts,
    request: ({ usedSnapshot }) => ({ name: usedSnapshot, diskHost: 'diskHosts/missing' }),
  },
  deleteDiskHost: { rule: role(need('compute/diskHosts/delete', on.platform, operator)), request: missingHost },
} satisfies Cases;

/** Who may call the control side of disk. */
export const diskTable = rowsOf(
  'disk',
  DiskServiceDefinition,
)({ ...disks, ...snapshots, ...access, ...keys, ...hosts });

const notOfThisDisk = { code: 'UNAUTHENTICATED', reason: 'DISK_ACCESS_TOKEN_INVALID' } as const;

/** Reads and writes: no bearer token counts, only the access token of the disk's newest open. */
const byAccessToken: OwnRule = {
  kind: 'own',
  words: 'the access token of this disk that OpenDisks or BeginAccess returned last; bearer tokens do not count',
  right: { kind: 'disk access', access: 'current' },
  refused: [
    { caller: 'anonymous', who: { kind: 'anonymous' }, code: 'UNAUTHENTICATED', reason: 'DISK_ACCESS_TOKEN_MISSING' },
    { caller: 'token for another audience', who: { kind: 'disk access', access: 'ofAnotherDisk' }, ...notOfThisDisk },
    {
      caller: 'expired token',
      who: { kind: 'disk access', access: 'ended' },
      code: 'FAILED_PRECONDITION',
      reason: 'ATTACH_EPOCH_OUTDATED',
    },
    {
      caller: 'without the grant',
      who: { kind: 'service', service: 'compute' },
      code: 'UNAUTHENTICATED',
      reason: 'DISK_ACCESS_TOKEN_MISSING',
    },
  ],
};

/** Who may call the data side of disk. */
export const diskDataTable = rowsOf(
  'disk',
  DiskDataServiceDefinition,
)({
  read: { rule: byAccessToken, request: ({ disk }) => ({ name: disk, offsetBytes: 0, lengthBytes: 4096 }) },
  write: [
    {
      rule: byAccessToken,
      request: ({ disk }) => [{ header: { name: disk, offsetBytes: 0 }, data: Buffer.alloc(4096, 3) }],
    },
    {
      when: 'with an access token that may only read',
      rule: {
        kind: 'own',
        words: 'no caller',
        refused: [
          {
            caller: 'without the grant',
            who: { kind: 'disk access', access: 'readOnly' },
            code: 'PERMISSION_DENIED',
            reason: 'ACCESS_IS_READ_ONLY',
          },
        ],
      },
      request: ({ readOnlyDisk }) => [{ header: { name: readOnlyDisk, offsetBytes: 0 }, data: Buffer.alloc(4096, 3) }],
    },
  ],
  flush: { rule: byAccessToken, request: ({ disk }) => ({ name: disk }) },
});

/** Who may call a disk host besides its API: control processes of disk. */
export const diskHostTable = rowsOf(
  'disk',
  DiskHostServiceDefinition,
)({
  describeVolumes: { rule: workload('disk'), request: ({ disk }) => ({ names: [disk] }) },
  receiveVolume: { rule: workload('disk'), request: ({ disk }) => [{ name: disk, volumeId: 'missing' }] },
  sealVolume: { rule: workload('disk'), request: ({ disk }) => ({ name: disk, volumeId: 'missing' }) },
  prepareArrival: { rule: workload('disk'), request: ({ disk }) => ({ name: disk, volumeId: 'missing' }) },
  resumeAccess: { rule: workload('disk'), request: ({ disk }) => ({ name: disk }) },
  discardFormerVolume: { rule: workload('disk'), request: ({ disk }) => ({ name: disk }) },
});
