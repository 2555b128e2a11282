import type { KnownDisk } from '@interlock/lab/judge/model/disks';
import { names } from '@interlock/rpc';
import { encryptionOf, group, isPlanted, location, plannedSets } from '../workload/estate.ts';
import { readSomething, writeSomething } from '../workload/io.ts';
import { attempt, type Stage } from '../workload/stage.ts';
import type { Action } from './action.ts';
import { writeBusily } from './data.ts';
import { newDisk } from './machines.ts';

/** The largest number of disks and snapshots, so that a history stays small. */
const disksMax = 40;

const pickDisk = ({ truth, random }: Stage, fits: (disk: KnownDisk) => boolean): KnownDisk | undefined => {
  const found = [...truth.disks.disks.values()].filter((disk) => !disk.isDeleting && !isPlanted(disk) && fits(disk));
  return found.length === 0 ? undefined : random.pick(found);
};
const hasRoom = ({ truth }: Stage): boolean => truth.disks.disks.size < disksMax;
const isFree = ({ isSnapshot, attachedTo, open }: KnownDisk): boolean =>
  !isSnapshot && attachedTo === '' && open === undefined;

/** Creates a disk. @param set id; empty: under the key of the platform */
export const createUnder = async (stage: Stage, set: string): Promise<void> => {
  const request = newDisk(stage, `disk-${stage.nextNumber()}`, set);
  await attempt(stage, 'disk.create', `${request.diskId} under ${set || 'the platform'}`, () =>
    stage.clients.disks.createDisk(request),
  );
};

const createDisk: Action = {
  name: 'disk.create',
  weight: 2,
  async run(stage) {
    if (!hasRoom(stage)) return;
    await createUnder(stage, stage.random.chance(0.8) ? stage.random.pick(plannedSets).id : '');
  },
};

/** The encryption of the source, or another set. */
const encryptionOfCopy = ({ random }: Stage) =>
  random.chance(0.6) ? {} : { encryption: encryptionOf(random.chance(0.9) ? random.pick(plannedSets).id : '') };

/** Takes a snapshot of a disk: mostly one with the same ciphertext, otherwise a full copy. */
const takeSnapshot = async (stage: Stage, disk: KnownDisk): Promise<void> => {
  const { clients, random } = stage;
  const snapshotId = `snap-${stage.nextNumber()}`;
  const hasFull = disk.sku !== 'ultra' && disk.sku !== 'premium_ssd_v2';
  const isFull = hasFull && random.chance(0.35);
  const kind = isFull ? { incremental: false, ...encryptionOfCopy(stage) } : { incremental: true };
  await attempt(stage, 'snapshot.create', `${snapshotId} of ${disk.name}${isFull ? ', in full' : ''}`, () =>
    clients.disks.createSnapshot({ parent: group, snapshotId, sourceDisk: disk.name, ...kind }),
  );
};

/** Starts a copy of a disk under a set, if the set has one. */
export const copyUnder = async (stage: Stage, set: string): Promise<void> => {
  const disk = pickDisk(stage, (one) => !one.isSnapshot && one.set === set);
  if (disk) await takeSnapshot(stage, disk);
};

const createSnapshot: Action = {
  name: 'snapshot.create',
  weight: 2,
  async run(stage) {
    if (!hasRoom(stage)) return;
    const disk = pickDisk(stage, ({ isSnapshot }) => !isSnapshot);
    if (disk) await takeSnapshot(stage, disk);
  },
};

const copyDisk: Action = {
  name: 'disk.create from another',
  weight: 1,
  async run(stage) {
    if (!hasRoom(stage)) return;
    const { clients, random } = stage;
    const isOfSnapshot = random.chance(0.7);
    const of = pickDisk(stage, ({ isSnapshot }) => isSnapshot === isOfSnapshot);
    if (!of) return;
    const diskId = `disk-${stage.nextNumber()}`;
    const encryption = encryptionOfCopy(stage);
    await attempt(stage, 'disk.create', `${diskId} from ${of.name}`, () =>
      clients.disks.createDisk({
        parent: group,
        diskId,
        location,
        sku: 'PREMIUM_SSD',
        source: { $case: of.isSnapshot ? 'sourceSnapshot' : 'sourceDisk', value: of.name },
        ...encryption,
      }),
    );
  },
};

const deleteDisk: Action = {
  name: 'disk.delete',
  weight: 1,
  async run(stage) {
    const { clients, random } = stage;
    const disk = pickDisk(stage, (one) => one.isSnapshot || isFree(one));
    if (!disk) return;
    const { name, isSnapshot } = disk;
    if (isSnapshot && random.chance(0.5)) return;
    await attempt(stage, isSnapshot ? 'snapshot.delete' : 'disk.delete', name, () =>
      isSnapshot ? clients.disks.deleteSnapshot({ name }) : clients.disks.deleteDisk({ name }),
    );
  },
};

const changeEncryption: Action = {
  name: 'disk.changeEncryption',
  weight: 1,
  async run(stage) {
    const { clients, random } = stage;
    const disk = pickDisk(stage, isFree);
    if (!disk) return;
    const set = random.chance(0.8) ? random.pick(plannedSets).id : '';
    await attempt(stage, 'disk.changeEncryption', `${disk.name} to ${set || 'the platform'}`, () =>
      clients.disks.changeDiskEncryption({ name: disk.name, encryption: encryptionOf(set) }),
    );
  },
};

/** An operator moves a disk or snapshot to another host, open or closed; what a user has open is refused, and an open ultra disk. */
const moveDisk: Action = {
  name: 'disk.move',
  weight: 2,
  async run(stage) {
    const { clients, random, world } = stage;
    if (world.diskHosts.length < 2) return;
    const mayBeOpen = random.chance(0.6);
    const disk = pickDisk(stage, ({ open }) => mayBeOpen || open === undefined);
    if (!disk) return;
    const { name, isSnapshot } = disk;
    const host = random.pick(world.diskHosts).name;
    const request = { name, diskHost: names.diskHost.format({ diskHost: host }) };
    const { value } = await attempt(
      stage,
      isSnapshot ? 'snapshot.move' : 'disk.move',
      `${name} to ${host}`,
      async () => (isSnapshot ? await clients.disks.moveSnapshot(request) : await clients.disks.moveDisk(request)),
    );
    // What is written after a piece was sent is what a move can lose.
    if (value) await writeBusily(stage, name);
  },
};

/** A user reads and writes a disk directly for a while. */
const exportDisk: Action = {
  name: 'disk.export',
  weight: 2,
  async run(stage) {
    const { clients, random } = stage;
    const disk = pickDisk(stage, isFree);
    if (!disk) return;
    const { name } = disk;
    const { value } = await attempt(stage, 'disk.export', name, () =>
      clients.disks.beginAccess({ name, accessLevel: 'WRITE', durationSeconds: 60 }),
    );
    if (!value) return;
    const access = {
      ...{ disk: name, address: value.dataAddress, token: value.accessToken },
      ...({ by: 'user', who: 'a user' } as const),
    };
    for (let n = 0; n < 4 && !stage.isEnding(); n += 1) {
      await (random.chance(0.5) ? writeSomething(stage, access) : readSomething(stage, access));
      await stage.world.clock.sleep(random.fraction() * 5_000);
    }
    await attempt(stage, 'disk.endExport', name, () => clients.disks.endAccess({ name }));
  },
};

/** What users do with disks and snapshots. */
export const diskActions: readonly Action[] = [
  createDisk,
  createSnapshot,
  copyDisk,
  deleteDisk,
  changeEncryption,
  exportDisk,
  moveDisk,
];
