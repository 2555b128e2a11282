import type { KnownDisk } from '@interlock/lab/judge/model/disks';
import { encodeDekPayload } from '../../../services/disk/src/host/cipher/dek-payload.ts';
import { type DiskHeader, encodeSlot } from '../../../services/disk/src/host/header/disk-header-format.ts';
import { makeSimulatedWrap } from '../../../services/key-vault/src/rsa/simulated-rsa.ts';
import { crashDisk, type Fault, pickHost } from '../faults/fault.ts';
import { group, keyOf, plannedSets, plantedDiskId, setName } from '../workload/estate.ts';
import { attempt, type Stage } from '../workload/stage.ts';
import { newDisk } from './machines.ts';
import { keyUrlOf } from './sets.ts';

/** Moves the disks of a set to a new version of its key, and waits a while for that, so that earlier headers exist. */
export const rotate = async (stage: Stage, set = setName(stage.random.pick(plannedSets).id)): Promise<void> => {
  const { random, clients, truth, world } = stage;
  const known = truth.losses.sets.get(set);
  if (!known || known.isDeleted) return;
  const name = keyOf(known.activeKey);
  const { value } = await attempt(stage, 'key.rotate', name, () =>
    clients.keyVault.rotateKey({ name, requestId: random.uuid() }),
  );
  if (!value) return;
  await attempt(stage, 'set.assignKey', `${value.name} to ${set}`, () =>
    clients.sets.assignKey({ name: set, keyUrl: keyUrlOf(value.name) }),
  );
  await world.clock.sleep(1_000 + random.fraction() * 4_000);
};

/** Disks and snapshots that had another header before. */
const withEarlierHeader = ({ truth }: Stage): readonly KnownDisk[] =>
  [...truth.disks.disks.values()].filter(
    (disk) => !disk.isDeleting && !disk.isChanging && truth.disks.earlierHeaders(disk).length > 0,
  );

/** The volumes of a host are restored from before a rotation, as an operator does it: while the host is down. */
const earlierHeader: Fault = {
  name: 'earlier header',
  weight: 4,
  strike(stage) {
    const { world, random, truth } = stage;
    stage.begin(async () => {
      await rotate(stage);
      if (stage.isEnding()) return;
      const host = pickHost(stage);
      crashDisk(stage, host);
      for (const disk of withEarlierHeader(stage)) {
        if (disk.host !== host.name) continue;
        if (random.chance(0.3)) continue;
        truth.disks.noteReplaced(disk);
        const slots = random.pick(truth.disks.earlierHeaders(disk));
        world.faults.replaceHeader(disk, slots, `storage returns an earlier header of ${disk.name}`);
      }
    });
  },
};

/** The header of a disk with another DEK, wrapped with the customer's public key; undefined if that key is purged. */
const withPlantedDek = ({ truth, random }: Stage, header: DiskHeader): DiskHeader | undefined => {
  const n = truth.losses.access.modulusOf(header.wrap.keyVersion);
  if (n === undefined) return undefined;
  const { algorithm } = header.wrap;
  const publicHalf = { publicJwk: { kty: 'RSA', n, e: 'AQAB' } } as const;
  const payload = encodeDekPayload(random.bytes(32), header);
  const wrapped = makeSimulatedWrap(publicHalf, algorithm, payload, random.bytes(8));
  return { ...header, sequence: header.sequence + 1, wrap: { ...header.wrap, wrapped } };
};

/**
 * An attacker with the storage and the master key of the disk service plants a DEK in a new disk. No other principal gets
 * to know of that disk, and it is deleted at once.
 */
const plantedDek: Fault = {
  name: 'planted DEK',
  weight: 4,
  strike(stage) {
    const { world, random, truth, clients, log } = stage;
    stage.begin(async () => {
      const request = newDisk(stage, plantedDiskId(stage.nextNumber()), random.pick(plannedSets).id);
      const name = `${group}/disks/${request.diskId}`;
      await attempt(stage, 'disk.create', `${request.diskId}, to plant a DEK in`, () =>
        clients.disks.createDisk(request),
      );
      const disk = truth.disks.disks.get(name);
      const header = disk && truth.disks.headerOf(disk);
      const planted = header && withPlantedDek(stage, header);
      if (!disk || !planted) return;
      // From here on nothing that it holds was written by a guest or user.
      disk.isDeleting = true;
      truth.disks.noteReplaced(disk);
      const slot = encodeSlot(planted, world.slotMac(disk.volumeId));
      world.faults.replaceHeader(disk, [slot, undefined], `a DEK is planted in ${name}`);
      const { value } = await attempt(stage, 'disk.export', name, () =>
        clients.disks.beginAccess({ name, accessLevel: 'WRITE', durationSeconds: 60 }),
      );
      if (value)
        log.violate('G1', `${name} opens under the DEK it was made with, and no other`, 'it opened with another');
      await removeDisk(stage, name);
    });
  },
};

/** Tries to delete a disk, and to unlock it first, until it is deleted. At the end of the history no fault prevents that. */
const removeDisk = async (stage: Stage, name: string): Promise<void> => {
  const { clients, world } = stage;
  for (let leftAtEnd = 10; leftAtEnd > 0; leftAtEnd -= stage.isEnding() ? 1 : 0) {
    const { outcome } = await attempt(stage, 'disk.delete', name, () => clients.disks.deleteDisk({ name }));
    if (outcome.kind === 'ok') return;
    await attempt(stage, 'disk.endExport', name, () => clients.disks.endAccess({ name }));
    await world.clock.sleep(1_000);
  }
};

/** What faults or an attacker do to headers on storage. */
export const headerFaults: readonly Fault[] = [earlierHeader, plantedDek];
