import { createHash, type KeyObject } from 'node:crypto';
import { acknowledged, expectedPlaces, mismatches, recordBytes } from '@interlock/lab/judge/journal/records';
import type { AuditSeen, DiskProof, FileSeen } from '../evidence/evidence.ts';
import { decryptSectors, readAsOwner, unwrapDek } from '../evidence/owner-key.ts';
import type { Volume } from '../evidence/volume.ts';
import { type Keys, machines, type People, vaultName, type World } from '../world.ts';
import { isMarkThere, type Mark } from './disks.ts';
import { deallocate, idsOf } from './machines.ts';
import type { Before } from './rotation.ts';

/** What can be inspected at the end. */
export interface Leftovers {
  readonly keys: Keys;
  readonly marks: readonly Mark[];
  /** The content of the disks before the rotation, by full name. */
  readonly before: ReadonlyMap<string, Before>;
}

/** Deallocates every machine and reads the marks through the API. @returns how many were found */
export const readMarks = async (world: World, { vmUser }: People, marks: readonly Mark[]): Promise<number> => {
  const { timeline } = world;
  await timeline.step({ who: 'VM user', title: 'Gives every machine back', rules: ['CMK-127'] }, () =>
    deallocate(world, vmUser, idsOf(machines)),
  );
  return timeline.step({ who: 'VM user', title: 'Reads its marks on every disk', rules: ['CMK-127'] }, async () => {
    const found = await Promise.all(marks.map((mark) => isMarkThere(world, vmUser, mark)));
    return found.filter(Boolean).length;
  });
};

/** Reads every disk from its file with the key of its owner, and searches for what must not be there. */
export const openFiles = (world: World, leftovers: Leftovers, marksThere: number): Promise<void> =>
  world.timeline.step(
    {
      who: 'Key owner',
      title: 'Opens the disks’ files with the private key kept at home, and looks for plain text',
      rules: ['CMK-12', 'CMK-13', 'CMK-15', 'CMK-127'],
    },
    async () => inspectFiles(world, leftovers, marksThere),
  );

interface Opened {
  readonly name: string;
  readonly volume: Volume;
  /** Undefined if the owner's key does not open it. */
  readonly dek: Buffer | undefined;
  readonly mark: Mark | undefined;
  /** Places to which its guests wrote. */
  readonly places: ReturnType<typeof expectedPlaces>;
}

async function inspectFiles(world: World, { keys, marks, before }: Leftovers, marksThere: number): Promise<void> {
  const { evidence, files } = world;
  const opened = await openVolumes(world, keys.imported.privateKey, marks);
  const compared = opened.flatMap((disk) => (disk.dek === undefined ? [] : compareContent(disk, disk.dek)));
  const deks = opened.flatMap(({ name, dek }) => (dek === undefined ? [] : [{ name, bytes: dek }]));
  evidence.files = {
    disks: opened.map((disk) => {
      const proof = compared.find(({ proof: { disk: name } }) => name === disk.name);
      const old = before.get(disk.name);
      // The same private key, and the wrap from the time of another key.
      const isReadableByOther = old !== undefined && dekOrNothing(keys.imported.privateKey, old.volume) !== undefined;
      return { ...fileSeen(disk, old), isReadableByOther, isReadableByOwner: proof?.isReadable === true };
    }),
    distinctDeks: new Set(deks.map(({ bytes }) => bytes.toString('hex'))).size,
    dekSearch: await files.search(deks),
  };
  const proven = new Set(compared.map(({ proof }) => proof.disk));
  const throughApi = [...new Set(marks.map(({ disk }) => disk))].filter((disk) => !proven.has(disk)).toSorted();
  const sum = (of: (one: Compared) => number): number => compared.reduce((total, one) => total + of(one), 0);
  evidence.content = {
    disks: proven.size + throughApi.length,
    bytesCompared: marks.reduce((total, { bytes }) => total + bytes.length, 0) + sum(({ recordBytes: bytes }) => bytes),
    mismatches: marks.length - marksThere + sum(({ wrong }) => wrong),
    records: sum(({ records }) => records),
    marksRead: marksThere,
    perDisk: compared.map(({ proof }) => proof),
    throughApi,
  };
  for (const { bytes } of deks) bytes.fill(0);
}

/** The volumes of all disks under a set, with the places that are compared. */
async function openVolumes(
  { evidence, files, history }: World,
  key: KeyObject,
  marks: readonly Mark[],
): Promise<Opened[]> {
  const journal = await history();
  const wanted = (evidence.disks ?? [])
    .filter(({ set }) => set !== '')
    .map(({ name, id }) => ({
      ...{ name, id, mark: marks.find(({ disk }) => disk === name) },
      places: expectedPlaces(journal, name),
    }));
  const volumes = await files.volumes(
    wanted.map(({ id, mark, places }) => ({
      id,
      ranges: [...places, ...(mark === undefined ? [] : [{ offset: mark.offset, length: mark.bytes.length }])],
    })),
  );
  return wanted.flatMap(({ name, id, mark, places }): Opened[] => {
    const volume = volumes.get(id);
    return volume === undefined ? [] : [{ name, volume, dek: dekOrNothing(key, volume), mark, places }];
  });
}

/** What a disk holds, compared with what was acknowledged. */
interface Compared {
  readonly proof: DiskProof;
  readonly records: number;
  /** Bytes of those records. */
  readonly recordBytes: number;
  /** Sectors of them with other content. */
  readonly wrong: number;
  readonly isReadable: boolean;
}

function compareContent({ name, volume, mark, places }: Opened, dek: Buffer): Compared {
  const [written, found] = [createHash('sha256'), createHash('sha256')];
  let wrong = 0;
  let bytes = 0;
  for (const place of places.toSorted((one, other) => one.offset - other.offset)) {
    const there = readAsOwner(volume, dek, place.offset, place.length);
    written.update(acknowledged(name, place, there));
    found.update(there);
    wrong += mismatches(name, place, there);
    bytes += place.length;
  }
  const markThere = mark && readAsOwner(volume, dek, mark.offset, mark.bytes.length);
  if (mark && markThere) {
    written.update(mark.bytes);
    found.update(markThere);
  }
  return {
    proof: {
      disk: name,
      bytes: bytes + (mark?.bytes.length ?? 0),
      acknowledged: written.digest('hex'),
      found: found.digest('hex'),
    },
    records: places.length,
    recordBytes: bytes,
    wrong,
    isReadable: wrong === 0 && (mark === undefined || mark.bytes.equals(markThere ?? Buffer.alloc(0))),
  };
}

/** What the files of a disk show without the cloud. @param old the same disk before the rotation */
function fileSeen(
  { name, volume, dek, mark, places }: Opened,
  old: Before | undefined,
): Omit<FileSeen, 'isReadableByOwner' | 'isReadableByOther'> {
  const { header } = volume;
  const searched = [
    ...places.map(({ offset, length, candidates }) => ({
      raw: volume.raw(offset, length),
      plain: candidates.map((seq) => recordBytes(name, seq, offset, length).subarray(8, 40)),
    })),
    ...(mark === undefined
      ? []
      : [{ raw: volume.raw(mark.offset, mark.bytes.length), plain: [mark.bytes.subarray(0, 32)] }]),
  ];
  return {
    disk: name,
    cipher: header.cipher,
    keyVersion: header.keyVersion,
    algorithm: header.algorithm,
    wrappedBytes: header.wrapped.length,
    allocatedBytes: volume.allocatedBytes,
    isSameDek:
      dek !== undefined &&
      mark !== undefined &&
      (old === undefined || mark.bytes.equals(decryptSectors(dek, mark.offset, old.ciphertext))),
    plaintextPlaces: searched.filter(({ raw, plain }) => plain.some((text) => raw.includes(text))).length,
    searchedPlaces: searched.length,
  };
}

/** The data key, if this private key wrapped it. */
function dekOrNothing(key: KeyObject, { header }: Volume): Buffer | undefined {
  try {
    return unwrapDek(key, header);
  } catch {
    // OpenSSL reports a wrap under another key as an error; here it is a result.
    return undefined;
  }
}

/** Reads the whole audit log of the vault. */
export const readAudit = (world: World, { vaultAdministrator }: People): Promise<void> =>
  world.timeline.step(
    { who: 'Vault administrator', title: 'Reads the record of the vault', rules: ['CMK-07', 'CMK-11', 'CMK-144'] },
    async () => {
      const entries: AuditSeen[] = [];
      let pageToken = '';
      do {
        const page = await vaultAdministrator.keyVault.listAuditEntries({
          parent: vaultName,
          pageSize: 1_000,
          pageToken,
        });
        entries.push(...page.auditEntries);
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      world.evidence.audit = entries;
    },
  );
