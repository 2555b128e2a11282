import { constants, publicEncrypt } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { category, type EventStore, type RowChange } from '@interlock/event-store';
import { systemClock, systemRandom } from '@interlock/runtime';
import type { MasterKey } from '@interlock/sealing';
import { attach, open } from '../../../services/disk/src/disk/attachment-decider.ts';
import { begin, type Decision, finish } from '../../../services/disk/src/disk/decider.ts';
import { disks as diskStreams, evolve } from '../../../services/disk/src/disk/state.ts';
import { openStoredHeaders } from '../../../services/disk/src/disk/stored-headers.ts';
import { dekAuthenticator, dekLength } from '../../../services/disk/src/host/cipher/dek.ts';
import { encodeDekPayload } from '../../../services/disk/src/host/cipher/dek-payload.ts';
import { newAccessToken } from '../../../services/disk/src/host/data/access-token.ts';
import { headerSize } from '../../../services/disk/src/host/header/disk-header.ts';
import { type DiskHeader, encodeSlot } from '../../../services/disk/src/host/header/disk-header-format.ts';
import { volumeRefOf } from '../../../services/disk/src/host/header/header-refs.ts';
import { firstHeader } from '../../../services/disk/src/host/keys/deks.ts';
import { type PlatformKey, platformKey } from '../../../services/disk/src/host/keys/platform-key.ts';
import { bytesPerGib } from '../../../services/disk/src/host/storage/sector.ts';
import { location } from '../../cloud/world.ts';
import { decideInTurn, newCause } from './decide.ts';
import type { FleetDisk, FleetMachine, FleetSet } from './plan.ts';

const sizeGib = 1;

/** Version of a disk's stream after seeding: created, finished, attached, opened. */
export const openedDiskVersion = 4;

/** A disk host: its name, and the folder of its volumes. */
export interface SeededHost {
  readonly name: string;
  readonly volumeFolder: string;
}

/**
 * @param store the disk service's own
 * @param hostOf where the disks of a set are
 * @param masterKey authenticates the headers of its volumes
 * @returns creates the disks of machines with the disk service's own decisions, attached and opened, each with a wrapped DEK and its files
 */
export const diskSeeder = (store: EventStore, hostOf: (set: FleetSet) => SeededHost, masterKey: MasterKey) => {
  const key = platformKey(masterKey, systemRandom);
  const headers = openStoredHeaders(store);
  const disks = category(store, diskStreams);
  return async (machines: readonly FleetMachine[], accessEpoch: number): Promise<void> => {
    const decisions = new Map<string, readonly Decision[]>();
    const rows: RowChange[] = [];
    for (const machine of machines) {
      for (const disk of machine.disks) {
        const { name: host, volumeFolder } = hostOf(disk.set);
        const volume = makeVolume(disk, volumeFolder, key);
        rows.push(headers.put(volume.volumeId, volume.header));
        decisions.set(disk.name, decisionsFor(disk, machine.name, { ...volume, host }, accessEpoch));
      }
    }
    const decide = (state: Parameters<Decision>[0], name: string) =>
      decideInTurn(state, evolve, decisions.get(name) ?? []);
    const { changed } = await disks.transactMany([...decisions.keys()], decide, newCause());
    if (changed.length !== decisions.size) throw new Error(`created ${changed.length} of ${decisions.size} disks`);
    await store.commit({ rows }, newCause());
  };
};

const decisionsFor = (
  { name: _name, isOs: isOsDisk, set, sku }: FleetDisk,
  virtualMachine: string,
  { header, volumeId, authenticator, host }: Volume & { readonly host: string },
  accessEpoch: number,
): readonly Decision[] => {
  const at = systemClock.now();
  const { keyVersion, generation } = set;
  const uniqueId = header.diskId;
  const volume = volumeRefOf(volumeId, header, authenticator);
  const spec = {
    uniqueId,
    location,
    sku: sku === 'ULTRA' ? 'ultra' : 'premium_ssd',
    sizeGib,
    encryption: { type: 'customer', set: set.name },
    source: '',
  } as const;
  const { tokenHash } = newAccessToken(1, systemRandom);
  return [
    begin(at, JSON.stringify([location, sku, sizeGib, set.name]), { host, volumeId }, spec),
    finish(at, { uniqueId, volume, wrap: { keyVersion, generation }, accessEpoch }),
    attach(at, { virtualMachine, isOsDisk, requestId: systemRandom.uuid() }),
    open(at, { virtualMachine, tokenHashOf: () => tokenHash, before: undefined }, { attachEpoch: 1, accessEpoch }),
  ];
};

interface Volume {
  readonly volumeId: string;
  readonly header: DiskHeader;
  readonly authenticator: string;
}

/** The files of an empty disk, with a new DEK that exists only wrapped in the header. Not flushed. */
const makeVolume = ({ set }: FleetDisk, volumeFolder: string, key: PlatformKey): Volume => {
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
