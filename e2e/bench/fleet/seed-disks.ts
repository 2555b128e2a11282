import { constants, publicEncrypt } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Category, category, type EventStore } from '@interlock/event-store';
import { systemClock, systemRandom } from '@interlock/runtime';
import { newAccessToken } from '../../../services/disk/src/data/access-token.ts';
import { dekLength } from '../../../services/disk/src/dek.ts';
import { encodeDekPayload } from '../../../services/disk/src/dek-payload.ts';
import { attach, open } from '../../../services/disk/src/disk/attachment-decider.ts';
import { begin, type Decision, finish } from '../../../services/disk/src/disk/decider.ts';
import type { DiskEvent } from '../../../services/disk/src/disk/events.ts';
import { type Disk, disks as diskStreams, evolve } from '../../../services/disk/src/disk/state.ts';
import { headerSize } from '../../../services/disk/src/disk-header.ts';
import { encodeSlot } from '../../../services/disk/src/disk-header-format.ts';
import { firstHeader } from '../../../services/disk/src/keys/deks.ts';
import { volumeRefOf } from '../../../services/disk/src/volume/headers.ts';
import { bytesPerGib } from '../../../services/disk/src/volume/volume-making.ts';
import { type FleetDisk, type FleetMachine, fleetLocation } from './plan.ts';
import { seedCause } from './seed-cause.ts';

/** Disks put in place as the disk service itself would have, in bulk. */
export interface DiskSeeding {
  /** Makes the disks of these machines, attached and opened, each with a DEK of its own under its set's key. */
  make(machines: readonly FleetMachine[], accessEpoch: number): Promise<void>;
}

const sizeGib = 1;

/**
 * @param store the disk service's own
 * @param volumeFolder where its volumes lie
 */
export const diskSeeding = (store: EventStore, volumeFolder: string): DiskSeeding => {
  mkdirSync(volumeFolder, { recursive: true, mode: 0o700 });
  const disks: Category<Disk, DiskEvent> = category(store, diskStreams);

  const decisionsOf = (disk: FleetDisk, virtualMachine: string, accessEpoch: number): readonly Decision[] => {
    const at = systemClock.now();
    const { isOs: isOsDisk, set, sku } = disk;
    const uniqueId = systemRandom.uuid();
    const volumeId = systemRandom.uuid();
    const header = makeVolume(disk, { volumeFolder, volumeId, uniqueId });
    const { keyVersion, generation } = set;
    const spec = {
      uniqueId,
      location: fleetLocation,
      sku: sku === 'ULTRA' ? 'ultra' : 'premium_ssd',
      sizeGib,
      encryption: { type: 'customer', set: set.name },
      source: '',
    } as const;
    const volume = volumeRefOf(volumeId, header);
    const { tokenHash } = newAccessToken(1, systemRandom);
    return [
      begin(at, JSON.stringify([fleetLocation, sku, sizeGib, set.name]), volumeId, spec),
      finish(at, { uniqueId, volume, wrap: { keyVersion, generation }, accessEpoch }),
      attach(at, { virtualMachine, isOsDisk, requestId: systemRandom.uuid() }),
      open(at, { virtualMachine, tokenHashOf: () => tokenHash, before: undefined }, { attachEpoch: 1, accessEpoch }),
    ];
  };

  return {
    async make(machines, accessEpoch) {
      const wanted = new Map(
        machines.flatMap(({ name: machine, disks }) => disks.map((disk) => [disk.name, { disk, machine }] as const)),
      );
      const { changed } = await disks.transactMany(
        [...wanted.keys()],
        (state, name) => {
          const found = wanted.get(name);
          if (!found) throw new Error(`${name} was not asked for`);
          const events: DiskEvent[] = [];
          let now = state;
          for (const decide of decisionsOf(found.disk, found.machine, accessEpoch)) {
            const more = decide(now);
            events.push(...more);
            now = more.reduce(evolve, now);
          }
          return events;
        },
        seedCause(),
      );
      if (changed.length !== wanted.size) throw new Error(`only ${changed.length} of ${wanted.size} disks were made`);
    },
  };
};

/**
 * The files of an empty disk, with a fresh DEK that is kept nowhere but wrapped in the header. Not flushed: a power cut ends
 * the bench as well. @returns the header
 */
const makeVolume = (
  { set }: FleetDisk,
  { volumeFolder, volumeId, uniqueId }: Readonly<Record<'volumeFolder' | 'volumeId' | 'uniqueId', string>>,
) => {
  const owner = { dekId: systemRandom.uuid(), diskId: uniqueId };
  const dek = systemRandom.bytes(dekLength);
  const payload = encodeDekPayload(dek, owner);
  const wrapped = publicEncrypt(
    { key: set.publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
    payload,
  );
  const { keyVersion, generation } = set;
  const wrap = { keyVersion, algorithm: 'RSA-OAEP-256', wrapped };
  const header = firstHeader(owner, sizeGib * bytesPerGib, dek, { wrap, ref: { keyVersion, generation } });
  dek.fill(0);
  payload.fill(0);
  makeFile(join(volumeFolder, `${volumeId}.data`), sizeGib * bytesPerGib);
  makeFile(join(volumeFolder, `${volumeId}.header`), headerSize, encodeSlot(header));
  return header;
};

const makeFile = (path: string, size: number, content?: Uint8Array): void => {
  const file = openSync(path, 'wx', 0o600);
  try {
    if (content) writeSync(file, content, 0, content.length, 0);
    ftruncateSync(file, size);
  } finally {
    closeSync(file);
  }
};
