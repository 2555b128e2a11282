import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** The newest header of a disk on its host: plain JSON in one of two slots, written by the disk service. */
export interface VolumeHeader {
  /** UUID of the disk. */
  readonly diskId: string;
  readonly cipher: string;
  readonly generation: number;
  /** Full name of the key version that wrapped the data key, or `platform/…`. */
  readonly keyVersion: string;
  readonly algorithm: string;
  readonly wrapped: Buffer;
}

/** The files of a disk. */
export interface Volume {
  readonly header: VolumeHeader;
  /** Good slots of the header: two only while a key change of this disk is under way. */
  readonly slots: number;
  readonly dataFile: string;
  /** Bytes that the data uses on the host. */
  readonly allocatedBytes: number;
  /** Bytes of the data, as stored on the host. @throws Error for bytes of another computer that were not fetched (host-files.ts) */
  raw(offset: number, length: number): Buffer;
}

const slotBytes = 4_096;
const magic = 'ILKDISKH';

/** The volumes below a folder, by disk id. Files of no known format are passed over. */
export function findVolumes(folder: string): ReadonlyMap<string, Volume> {
  const found = new Map<string, Volume>();
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.header')) continue;
    const path = join(folder, file);
    const slots = headersIn(readFileSync(path));
    const newest = slots.toSorted((a, b) => b.sequence - a.sequence)[0];
    if (newest === undefined) continue;
    const dataFile = path.replace(/\.header$/, '.data');
    const { header } = newest;
    const allocatedBytes = statSync(dataFile).blocks * 512;
    const raw = (offset: number, length: number): Buffer => rawBytes(dataFile, offset, length);
    found.set(header.diskId, { header, slots: slots.length, dataFile, allocatedBytes, raw });
  }
  return found;
}

function headersIn(bytes: Buffer): { readonly sequence: number; readonly header: VolumeHeader }[] {
  return [0, slotBytes].flatMap((at) => {
    if (bytes.toString('latin1', at, at + magic.length) !== magic) return [];
    const { diskId, cipher, generation, sequence, wrap } = JSON.parse(
      bytes.toString('utf8', at + 16, at + 16 + bytes.readUInt32BE(at + 12)),
    );
    const { keyVersion, algorithm, wrapped } = wrap;
    return [
      {
        sequence: Number(sequence),
        header: {
          diskId: String(diskId),
          cipher: String(cipher),
          generation: Number(generation),
          keyVersion: String(keyVersion),
          algorithm: String(algorithm),
          wrapped: Buffer.from(String(wrapped), 'base64'),
        },
      },
    ];
  });
}

function rawBytes(dataFile: string, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const file = openSync(dataFile, 'r');
  try {
    readSync(file, bytes, 0, length, offset);
    return bytes;
  } finally {
    closeSync(file);
  }
}
