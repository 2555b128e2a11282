import type { JsonObject } from '@bufbuild/protobuf';
import { Service } from '../request/schema.ts';
import { cordonOnly } from './before.ts';
import { diskHostImpactNote, diskNote, leasesNote } from './notes.ts';
import { named, nounOf, type Verb } from './verb.ts';

const noun = (name: string) => nounOf('disk', Service.disk, name);
const disk = noun('disk');
const snapshot = noun('snapshot');
const lease = noun('lease');
const diskHost = noun('disk-host');
const platform = noun('platform');
const oneDisk = named('disk', 'disk');
const oneSnapshot = named('snapshot', 'snapshot');
const oneDiskHost = named('disk-host', 'diskHost');
const ofSet = named('set', 'diskEncryptionSet', 'disk_encryption_set');
const toHost = { to: 'disk_host' };
const host = { disk_host: 'diskHost' } as const;
const encryption = { set: 'encryption.disk_encryption_set' };
const settles = { get: 'GetDisk' } as const;
const newDisk = ({ parent, diskId }: JsonObject): string => `${parent}/disks/${diskId}`;
const newSnapshot = ({ parent, snapshotId }: JsonObject): string => `${parent}/snapshots/${snapshotId}`;

/** The RPCs of disk's control plane; other services call those under `platform`. */
export const diskVerbs: readonly Verb[] = [
  disk('create', 'CreateDisk', {
    targets: [{ word: 'disk', kind: 'disk', parent: 'parent', idField: 'disk_id' }],
    aliases: { ...encryption, size: 'size_gib' },
    kinds: { near: 'disk' },
    required: ['location', 'sku', ['size', 'source-snapshot', 'source-disk']],
    settles,
    worksOn: newDisk,
    fromFile: {
      flag: 'from-image',
      help: 'raw or qcow2 image that is written to it; waits as --wait does',
      async run(file, name, session) {
        const { importImage } = await import('../commands/disk-image.ts');
        await importImage({ disk: name, endsOther: false, file, format: undefined }, session);
      },
    },
  }),
  disk('show', 'GetDisk', { targets: oneDisk, note: diskNote }),
  disk('list', 'ListDisks', {
    aliases: { set: 'disk_encryption_set' },
    kinds: { parent: 'container' },
    defaults: { parent: 'group-or-subscription' },
  }),
  disk('delete', 'DeleteDisk', { targets: oneDisk }),
  disk('change-encryption', 'ChangeDiskEncryption', {
    targets: oneDisk,
    aliases: encryption,
    required: [['set', 'encryption-type']],
    settles,
    worksOn: ({ name }) => String(name),
  }),
  disk('change-sku', 'ChangeDiskSku', { targets: oneDisk, required: ['sku'] }),
  disk('grow', 'GrowDisk', { targets: oneDisk, aliases: { size: 'size_gib' }, required: ['size'], settles }),
  disk('begin-access', 'BeginAccess', {
    targets: oneDisk,
    required: ['access-level', 'duration-seconds'],
    output: 'accessToken',
  }),
  disk('move', 'MoveDisk', { targets: oneDisk, aliases: toHost, kinds: host, required: ['to'], settles }),
  disk('end-access', 'EndAccess', { targets: oneDisk }),

  snapshot('create', 'CreateSnapshot', {
    targets: [{ word: 'snapshot', kind: 'snapshot', parent: 'parent', idField: 'snapshot_id' }],
    aliases: { ...encryption, disk: 'source_disk' },
    required: ['disk'],
    settles: { get: 'GetSnapshot' },
    worksOn: newSnapshot,
  }),
  snapshot('show', 'GetSnapshot', { targets: oneSnapshot }),
  snapshot('list', 'ListSnapshots', {
    aliases: { set: 'disk_encryption_set', disk: 'source_disk' },
    kinds: { parent: 'container' },
    defaults: { parent: 'group-or-subscription' },
  }),
  snapshot('move', 'MoveSnapshot', {
    targets: oneSnapshot,
    aliases: toHost,
    kinds: host,
    required: ['to'],
    settles: { get: 'GetSnapshot' },
  }),
  snapshot('delete', 'DeleteSnapshot', { targets: oneSnapshot }),

  lease('list', 'ListLeases', { aliases: { set: 'disk_encryption_set' }, note: leasesNote }),

  diskHost('list', 'ListDiskHosts'),
  diskHost('show', 'GetDiskHost', { targets: oneDiskHost }),
  diskHost('impact', 'ListDiskHostResources', {
    targets: oneDiskHost,
    note: diskHostImpactNote,
    help: 'What depends on a disk host: its disks and snapshots, with their machines and sets. Works also while it is away.',
  }),
  diskHost('cordon', 'DrainDiskHost', {
    targets: oneDiskHost,
    before: cordonOnly,
    help: 'Closes a disk host for new disks and snapshots. What is there stays, and its machines run on.',
  }),
  diskHost('drain', 'DrainDiskHost', { targets: oneDiskHost, settles: { get: 'GetDiskHost' } }),
  diskHost('resume', 'ResumeDiskHost', { targets: oneDiskHost }),
  diskHost('declare-lost', 'DeclareDiskHostLost', { targets: oneDiskHost, required: ['folder-id'] }),
  diskHost('delete', 'DeleteDiskHost', { targets: oneDiskHost }),

  platform('attach-disk', 'AttachDisk', { targets: oneDisk, defaults: { request_id: 'uuid' } }),
  platform('detach-disk', 'DetachDisk', { targets: oneDisk }),
  platform('check-key-access', 'CheckKeyAccess', { targets: ofSet }),
  platform('begin-generation', 'BeginGeneration', { targets: ofSet }),
  platform('encrypted-resources', 'ListEncryptedResources', { targets: ofSet }),
  platform('rewrap-deks', 'RewrapDeks'),
  platform('open-disks', 'OpenDisks'),
  platform('close-disks', 'CloseDisks'),
];
