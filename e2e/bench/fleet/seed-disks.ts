import { constants, publicEncrypt } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Category, category, type EventStore, type RowChange, type Sql } from '@interlock/event-store';
import { systemClock, systemRandom } from '@interlock/runtime';
import type { MasterKey } from '@interlock/sealing';
import { attach, open } from '../../../services/disk/src/disk/attachment-decider.ts';
import { begin, type Decision, finish } from '../../../services/disk/src/disk/decider.ts';
import type { DiskEvent } from '../../../services/disk/src/disk/events.ts';
import { type Disk, disks as diskStreams, evolve } from '../../../services/disk/src/disk/state.ts';
import { dekAuthenticator, dekLength } from '../../../services/disk/src/host/cipher/dek.ts';
import { encodeDekPayload } from '../../../services/disk/src/host/cipher/dek-payload.ts';
import { newAccessToken } from '../../../services/disk/src/host/data/access-token.ts';
import { headerSize } from '../../../services/disk/src/host/header/disk-header.ts';
import {
  type DiskHeader,
  encodeSlot,
  headerDigest,
} from '../../../services/disk/src/host/header/disk-header-format.ts';
import { volumeRefOf } from '../../../services/disk/src/host/header/headers.ts';
import { openStoredHeaders } from '../../../services/disk/src/host/header/stored-headers.ts';
import { firstHeader } from '../../../services/disk/src/host/keys/deks.ts';
import { type PlatformKey, platformKey } from '../../../services/disk/src/host/keys/platform-key.ts';
import { bytesPerGib } from '../../../services/disk/src/host/volume/volume-making.ts';
import { inTurn } from './in-turn.ts';
import { type FleetDisk, type FleetMachine, fleetLocation, machineIdOf } from './plan.ts';
import { seedCause } from './seed-cause.ts';
import { type Original, type StreamCopy, streamCopies } from './stream-copies.ts';

/** Disks put in place as the disk service itself would have, in bulk. */
export interface DiskSeeding {
  /** Makes the disks of these machines, attached and opened, each with a DEK of its own under its set's key. */
  make(machines: readonly FleetMachine[], accessEpoch: number): Promise<void>;
}

const sizeGib = 1;

/**
 * @param store the disk service's own
 * @param sql its database
 * @param host where its volumes lie, and the master key their headers are authenticated under
 */
export const diskSeeding = (
  { store, sql }: { readonly store: EventStore; readonly sql: Sql },
  { volumeFolder, masterKey }: { readonly volumeFolder: string; readonly masterKey: MasterKey },
): DiskSeeding => {
  const key = platformKey(masterKey, systemRandom);
  const stored = openStoredHeaders(store);
  mkdirSync(volumeFolder, { recursive: true, mode: 0o700 });
  const disks: Category<Disk, DiskEvent> = category(store, diskStreams);
  const storeCopies = streamCopies(sql, disks.table);
  /** The first disk of each kind: decided, and copied for all others. */
  const originals = new Map<string, Original>();

  const decideOne = async (
    { name, isOs: isOsDisk, set, sku }: FleetDisk,
    virtualMachine: string,
    { header, volumeId, authenticator }: MadeVolume,
    accessEpoch: number,
  ): Promise<void> => {
    const at = systemClock.now();
    const { keyVersion, generation } = set;
    const { diskId: uniqueId } = header;
    const volume = volumeRefOf(volumeId, header, authenticator);
    const spec = {
      uniqueId,
      location: fleetLocation,
      sku: sku === 'ULTRA' ? 'ultra' : 'premium_ssd',
      sizeGib,
      encryption: { type: 'customer', set: set.name },
      source: '',
    } as const;
    const { tokenHash } = newAccessToken(1, systemRandom);
    const decisions: readonly Decision[] = [
      begin(at, JSON.stringify([fleetLocation, sku, sizeGib, set.name]), volumeId, spec),
      finish(at, { uniqueId, volume, wrap: { keyVersion, generation }, accessEpoch }),
      attach(at, { virtualMachine, isOsDisk, requestId: systemRandom.uuid() }),
      open(at, { virtualMachine, tokenHashOf: () => tokenHash, before: undefined }, { attachEpoch: 1, accessEpoch }),
    ];
    await disks.transact(name, inTurn(evolve)(...decisions), seedCause());
  };

  return {
    async make(machines, accessEpoch) {
      const copies: StreamCopy[] = [];
      const headers: RowChange[] = [];
      for (const { name: machine, disks: own } of machines) {
        for (const disk of own) {
          const made = makeVolume(disk, volumeFolder, key);
          const { volumeId, header, authenticator } = made;
          headers.push(stored.put(volumeId, header));
          const machineId = machineIdOf(machine);
          const texts = [machineId, header.diskId, volumeId, header.dekId, authenticator, headerDigest(header)];
          const kind = `${disk.sku} ${disk.isOs} ${disk.set.name}`;
          const original = originals.get(kind);
          if (original) {
            copies.push({ original, id: disk.name, texts });
          } else {
            originals.set(kind, { id: disk.name, texts });
            await decideOne(disk, machine, made, accessEpoch);
          }
        }
      }
      await storeCopies(copies);
      await store.commit({ rows: headers }, seedCause());
    },
  };
};

interface MadeVolume {
  readonly volumeId: string;
  readonly header: DiskHeader;
  readonly authenticator: string;
}

/**
 * The files of an empty disk, with a fresh DEK that is kept nowhere but wrapped in the header. Not flushed: a power cut ends
 * the bench as well.
 */
const makeVolume = ({ set }: FleetDisk, volumeFolder: string, key: PlatformKey): MadeVolume => {
  const volumeId = systemRandom.uuid();
  const owner = { dekId: systemRandom.uuid(), diskId: systemRandom.uuid() };
  const dek = systemRandom.bytes(dekLength);
  const payload = encodeDekPayload(dek, owner);
  const wrapped = publicEncrypt(
    { key: set.publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
    payload,
  );
  const { keyVersion, generation } = set;
  const wrap = { keyVersion, algorithm: 'RSA-OAEP-256', wrapped };
  const header = firstHeader(owner, sizeGib * bytesPerGib, set.name, { wrap, ref: { keyVersion, generation } });
  const authenticator = dekAuthenticator(dek, owner);
  dek.fill(0);
  payload.fill(0);
  makeFile(join(volumeFolder, `${volumeId}.data`), sizeGib * bytesPerGib);
  makeFile(join(volumeFolder, `${volumeId}.header`), headerSize, encodeSlot(header, key.slotMac(volumeId)));
  return { volumeId, header, authenticator };
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
