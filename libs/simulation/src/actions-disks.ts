import type { Action } from './actions.ts';
import { newDisk } from './actions-machines.ts';
import type { KnownDisk } from './oracle-disks.ts';
import { diskName, encryptionOf, group, location, plannedSets } from './workload-estate.ts';
import { readSomething, writeSomething } from './workload-io.ts';
import { attempt, type Stage } from './workload-stage.ts';

/** Disks and snapshots there may be, so that a history stays small. */
const disksMax = 40;

const pickDisk = ({ truth, random }: Stage, fits: (disk: KnownDisk) => boolean): KnownDisk | undefined => {
  const found = [...truth.disks.disks.values()].filter((disk) => !disk.isDeleting && fits(disk));
  return found.length === 0 ? undefined : random.pick(found);
};
const hasRoom = ({ truth }: Stage): boolean => truth.disks.disks.size < disksMax;
const isFree = ({ isSnapshot, attachedTo, open }: KnownDisk): boolean =>
  !isSnapshot && attachedTo === '' && open === undefined;

const createDisk: Action = {
  name: 'disk.create',
  weight: 2,
  async run(stage) {
    if (!hasRoom(stage)) return;
    const { random, clients } = stage;
    const set = random.chance(0.8) ? random.pick(plannedSets).id : '';
    const wish = newDisk(stage, `disk-${stage.nextNumber()}`, set);
    await attempt(stage, 'disk.create', `${wish.diskId} under ${set || 'the platform'}`, () =>
      clients.disks.createDisk(wish),
    );
  },
};

const createSnapshot: Action = {
  name: 'snapshot.create',
  weight: 3,
  async run(stage) {
    if (!hasRoom(stage)) return;
    const { clients, truth } = stage;
    const disk = pickDisk(stage, ({ isSnapshot }) => !isSnapshot);
    if (!disk) return;
    const snapshotId = `snap-${stage.nextNumber()}`;
    const capture = truth.contentOf(disk.name).beginCapture();
    const { outcome } = await attempt(stage, 'snapshot.create', `${snapshotId} of ${disk.name}`, () =>
      clients.disks.createSnapshot({ parent: group, snapshotId, sourceDisk: disk.name, incremental: true }),
    );
    const content = truth.contentOf(disk.name).endCapture(capture);
    // Without an answer nobody knows what moment it holds: it is left alone.
    if (outcome.kind === 'ok') truth.contents.set(`${group}/snapshots/${snapshotId}`, content);
  },
};

const restoreSnapshot: Action = {
  name: 'disk.create from snapshot',
  weight: 2,
  async run(stage) {
    if (!hasRoom(stage)) return;
    const { clients, truth } = stage;
    const snapshot = pickDisk(stage, ({ isSnapshot, name }) => isSnapshot && truth.contents.has(name));
    if (!snapshot) return;
    const diskId = `disk-${stage.nextNumber()}`;
    const content = truth.contentOf(snapshot.name);
    const capture = content.beginCapture();
    // Known before it is there: a guest may read it before this caller has heard that it is.
    truth.contents.set(diskName(diskId), content.endCapture(capture));
    await attempt(stage, 'disk.create', `${diskId} from ${snapshot.name}`, () =>
      clients.disks.createDisk({
        parent: group,
        diskId,
        location,
        sku: 'PREMIUM_SSD',
        source: { $case: 'sourceSnapshot', value: snapshot.name },
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

/** Somebody reads and writes a disk directly for a while. */
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
    const access = { disk: name, token: value.accessToken, by: 'user', who: 'a user' } as const;
    for (let n = 0; n < 4 && !stage.isEnding(); n += 1) {
      await (random.chance(0.5) ? writeSomething(stage, access) : readSomething(stage, access));
      await stage.world.clock.sleep(random.fraction() * 5_000);
    }
    await attempt(stage, 'disk.endExport', name, () => clients.disks.endAccess({ name }));
  },
};

/** What people do with disks and snapshots. */
export const diskActions: readonly Action[] = [
  createDisk,
  createSnapshot,
  restoreSnapshot,
  deleteDisk,
  changeEncryption,
  exportDisk,
];
