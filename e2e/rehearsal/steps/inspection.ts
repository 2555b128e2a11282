import { createHash, type KeyObject } from 'node:crypto';
import { acknowledged, expectedPlaces, mismatches, recordBytes } from '@interlock/lab/judge/journal/records';
import { shortName } from '@interlock/lab/short-name';
import type { Search } from '../../canary/places.ts';
import { decryptSectors, readAsOwner, unwrapDek } from '../files/owner-key.ts';
import type { Volume } from '../files/volume.ts';
import { all, each, finding, listed, shortVersion } from '../findings.ts';
import type { DataReturned, DiskProof } from '../report.ts';
import { type Keys, type MadeDisk, machines, type People, type Seeing, type World } from '../world.ts';
import { isMarkThere, type Mark } from './disks.ts';
import { deallocate, idsOf } from './machines.ts';
import type { Before } from './rotation.ts';

/** What can be inspected at the end. */
export interface Leftovers {
  readonly keys: Keys;
  readonly disks: readonly MadeDisk[];
  readonly marks: readonly Mark[];
  /** The content of the disks before the rotation, by full name. */
  readonly before: ReadonlyMap<string, Before>;
  /** How many marks were read through the API. */
  readonly marksRead: number;
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

/** Reads every disk from its file with the key of its owner, and searches for what must not be there. @returns what was compared */
export const openFiles = (world: World, leftovers: Leftovers): Promise<DataReturned> =>
  world.timeline.step(
    {
      who: 'Key owner',
      title: 'Opens the disks’ files with the private key kept at home, and looks for plain text',
      rules: ['CMK-12', 'CMK-13', 'CMK-15', 'CMK-127'],
    },
    async () => {
      const { keys } = leftovers;
      const opened = await openVolumes(world, leftovers);
      const deks = opened.flatMap(({ name, dek }) => (dek === undefined ? [] : [{ name, bytes: dek }]));
      const search = await world.files.search(deks);
      const distinctDeks = new Set(deks.map(({ bytes }) => bytes.toString('hex'))).size;
      const compared = opened.flatMap((disk) => (disk.dek === undefined ? [] : compareContent(disk, disk.dek)));
      const files = opened.map((disk) => {
        const own = compared.find(({ proof }) => proof.disk === disk.name);
        return fileSeen(disk, leftovers.before.get(disk.name), keys.imported.privateKey, own?.isReadable === true);
      });
      for (const { bytes } of deks) bytes.fill(0);
      seeFiles(world, keys, files, { distinctDeks, search });
      return seeContent(world, leftovers, compared);
    },
  );

interface Opened {
  readonly name: string;
  /** Full name of its disk host. */
  readonly diskHost: string;
  readonly volume: Volume;
  /** Undefined if the owner's key does not open it. */
  readonly dek: Buffer | undefined;
  readonly mark: Mark | undefined;
  /** Places to which its guests wrote. */
  readonly places: ReturnType<typeof expectedPlaces>;
}

/** The volumes of all disks under a set, with the places that are compared. */
const openVolumes = async (
  { files, history }: World,
  { keys, disks, marks }: Leftovers,
): Promise<readonly Opened[]> => {
  const journal = await history();
  const wanted = disks
    .filter(({ set }) => set !== '')
    .map(({ name, id, diskHost }) => ({
      ...{ name, id, diskHost, mark: marks.find(({ disk }) => disk === name) },
      places: expectedPlaces(journal, name),
    }));
  const volumes = await files.volumes(
    wanted.map(({ id, mark, places }) => ({
      id,
      ranges: [...places, ...(mark === undefined ? [] : [{ offset: mark.offset, length: mark.bytes.length }])],
    })),
  );
  return wanted.flatMap(({ name, id, diskHost, mark, places }): Opened[] => {
    const volume = volumes.get(id);
    const { privateKey } = keys.imported;
    return volume === undefined
      ? []
      : [{ name, diskHost, volume, dek: dekOrNothing(privateKey, volume), mark, places }];
  });
};

/** What a disk holds, compared with what was acknowledged. */
export interface Compared {
  readonly proof: DiskProof;
  readonly records: number;
  /** Bytes of those records. */
  readonly recordBytes: number;
  /** Sectors of them with other content. */
  readonly wrong: number;
  readonly isReadable: boolean;
}

function compareContent({ name, diskHost, volume, mark, places }: Opened, dek: Buffer): Compared {
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
      diskHost: shortName(diskHost),
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

/** What the files of a disk show without the cloud. */
export interface FileSeen {
  readonly disk: string;
  readonly header: Volume['header'];
  readonly allocatedBytes: number;
  /** Whether the owner can read the content with only the private key and the file. */
  readonly isReadableByOwner: boolean;
  /** Whether a key opens what another one wrapped: tried on the header from before the rotation. */
  readonly isReadableByOther: boolean;
  /** Whether the ciphertext from before the rotation decrypts with the data key of the end: the data key never changed. */
  readonly isSameDek: boolean;
  /** Places of the file with content in plain text. */
  readonly plaintextPlaces: number;
  readonly searchedPlaces: number;
}

/** @param old the same disk before the rotation */
const fileSeen = (
  { name, volume, dek, mark, places }: Opened,
  old: Before | undefined,
  privateKey: KeyObject,
  isReadableByOwner: boolean,
): FileSeen => {
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
    disk: shortName(name),
    header: volume.header,
    allocatedBytes: volume.allocatedBytes,
    isReadableByOwner,
    // The same private key, and the wrap from the time of another key.
    isReadableByOther: old !== undefined && dekOrNothing(privateKey, old.volume) !== undefined,
    isSameDek:
      dek !== undefined &&
      mark !== undefined &&
      (old === undefined || mark.bytes.equals(decryptSectors(dek, mark.offset, old.ciphertext))),
    plaintextPlaces: searched.filter(({ raw, plain }) => plain.some((text) => raw.includes(text))).length,
    searchedPlaces: searched.length,
  };
};

/** What the files show about encryption. @param deks how many different data keys there are, and where they were found in plain */
export const seeFiles = (
  { see }: Seeing,
  { imported }: { readonly imported: Pick<Keys['imported'], 'name' | 'keySizeBits'> },
  files: readonly FileSeen[],
  { distinctDeks, search }: { readonly distinctDeks: number; readonly search: Search },
): void => {
  const sum = (of: (file: FileSeen) => number): number => files.reduce((total, file) => total + of(file), 0);
  const ciphers = listed([...new Set(files.map(({ header }) => header.cipher))]);
  see(
    'CMK-08',
    'files',
    all(
      files,
      ({ isReadableByOwner, header }) => isReadableByOwner && header.cipher.startsWith('AES-256'),
      (some) => `${some.length} files decrypt with ${ciphers} under the unwrapped data key`,
    ),
  );
  see(
    'CMK-12',
    'files',
    all(
      files,
      ({ plaintextPlaces, searchedPlaces, allocatedBytes }) =>
        plaintextPlaces === 0 && searchedPlaces > 0 && allocatedBytes > 0,
      (some) =>
        `${sum((file) => file.searchedPlaces)} written places of ${some.length} files were searched, ${sum((file) => file.plaintextPlaces)} hold plain text`,
    ),
    each(
      files,
      ({ isReadableByOwner, header }) => isReadableByOwner && header.cipher === 'AES-256-XTS-4096',
      ({ disk, isReadableByOwner }) => `${disk} ${isReadableByOwner ? 'right' : 'wrong'}`,
      `decrypted outside the cloud as ${ciphers}: `,
    ),
    finding(distinctDeks === files.length, `${files.length} disks have ${distinctDeks} different data keys`),
  );
  const opened = (by: 'isReadableByOwner' | 'isReadableByOther') => files.filter((file) => file[by]).length;
  const places = listed(search.leaks.map(({ place, name, form }) => `${place} (${shortName(name)} as ${form})`));
  see(
    'CMK-13',
    'files',
    all(
      files,
      ({ header: { keyVersion, wrapped, algorithm } }) =>
        keyVersion === imported.name && wrapped.length * 8 === imported.keySizeBits && algorithm === 'RSA-OAEP-256',
      (some) =>
        `${some.length} headers hold a wrap of ${some[0]?.header.wrapped.length} bytes (${some[0]?.header.algorithm}) by ${listed([...new Set(some.map(({ header }) => shortVersion(header.keyVersion)))])}`,
    ),
    all(
      files,
      ({ isReadableByOwner, isReadableByOther }) => isReadableByOwner && !isReadableByOther,
      () =>
        `the owner’s private key opens ${opened('isReadableByOwner')} of ${files.length}, another key ${opened('isReadableByOther')}`,
    ),
    finding(
      search.places > 0 && search.leaks.length === 0,
      `data keys in plain were looked for in ${search.places} files (${Math.round(search.bytes / 1e6)} MB) of every service and server, and found in ${places}`,
    ),
  );
  see(
    'CMK-15',
    'files',
    each(
      files,
      ({ isSameDek }) => isSameDek,
      ({ disk }) => disk,
      'the data key of today decrypts what lay on disk before the rotation: ',
    ),
  );
};

/** What the disks hold, beside what was acknowledged (CMK-127). */
export const seeContent = (
  { see }: Seeing,
  { marks, marksRead }: Pick<Leftovers, 'marks' | 'marksRead'>,
  compared: readonly Compared[],
): DataReturned => {
  const proof = compared.map((one) => one.proof);
  const proven = new Set(proof.map(({ disk }) => disk));
  const throughApi = [...new Set(marks.map(({ disk }) => disk))].filter((disk) => !proven.has(disk)).toSorted();
  const sum = (of: (one: Compared) => number): number => compared.reduce((total, one) => total + of(one), 0);
  const disks = proven.size + throughApi.length;
  const records = sum((one) => one.records);
  const bytesCompared = marks.reduce((total, { bytes }) => total + bytes.length, 0) + sum((one) => one.recordBytes);
  const differing = marks.length - marksRead + sum(({ wrong }) => wrong);
  see(
    'CMK-127',
    'files',
    finding(
      differing === 0 && records > 0 && marksRead > 0,
      `${bytesCompared} bytes of ${disks} disks were compared (${records} acknowledged records of guests, ${marksRead} marks from the beginning): ${differing} mismatches`,
    ),
    all(
      proof,
      ({ bytes, acknowledged: written, found }) => bytes > 0 && written === found,
      (some) =>
        `${some.length} disks have the SHA-256 of what was acknowledged: ${listed(some.map(({ disk }) => shortName(disk)))}`,
    ),
    finding(
      throughApi.length > 0,
      `${throughApi.length} others, whose files no key kept at home opens, gave their mark back through the API: ${listed(throughApi.map(shortName))}`,
    ),
  );
  return { disks, bytesCompared, mismatches: differing, proof, throughApi };
};

/** The data key, if this private key wrapped it. */
function dekOrNothing(key: KeyObject, { header }: Volume): Buffer | undefined {
  try {
    return unwrapDek(key, header);
  } catch {
    // OpenSSL reports a wrap under another key as an error; here it is a result.
    return undefined;
  }
}
