import { createHash } from 'node:crypto';

/**
 * What the guest image writes to a disk, as the host knows it: numbered records in files of `perFile`, each record a line of
 * fixed length. deploy/guest-image/workload.sh writes them.
 */

/** Records of a file; the guest keeps the last two files. */
export const recordsPerFile = 4_096;
/** Bytes of a record: 12 digits, a space, 64 hexadecimal digits, a line feed. */
export const recordBytes = 78;

/** Name of a disk within its machine, as the guest reads it from the serial number of the block device. */
export const serialOf = ({ isOs, lun }: { readonly isOs: boolean; readonly lun: number }): string =>
  isOs ? 'os' : `lun${lun}`;

/** The record of a number. */
export const recordOf = (machineId: string, serial: string, seq: number): string => {
  const hash = createHash('sha256').update(`${machineId} ${serial} ${seq}`).digest('hex');
  return `${String(seq).padStart(12, '0')} ${hash}\n`;
};

/** A file of records as a guest found it after its boot. */
export interface FoundFile {
  /** 0 for records 1 to `recordsPerFile`, and so on. */
  readonly number: number;
  readonly bytes: number;
  /** SHA-256 of the whole file, hexadecimal. */
  readonly digest: string;
}

/** The newest record in these files; 0 if there are none. */
export const newestIn = (files: readonly FoundFile[]): number =>
  Math.max(0, ...files.map(({ number, bytes }) => number * recordsPerFile + Math.floor(bytes / recordBytes)));

/**
 * Whether the files are what the guest wrote: each with the content of its records, none missing, and the newest
 * acknowledged record among them.
 * @param acknowledged number of the newest record whose fsync returned; 0 for none
 */
export const isAsWritten = (
  machineId: string,
  serial: string,
  files: readonly FoundFile[],
  acknowledged: number,
): boolean => {
  const newest = newestIn(files);
  if (newest < acknowledged) return false;
  const last = Math.floor(Math.max(0, newest - 1) / recordsPerFile);
  const expected = newest === 0 ? [] : [last - 1, last].filter((number) => number >= 0);
  return expected.every((number) => {
    const found = files.find((file) => file.number === number);
    return found !== undefined && found.digest === digestOf(machineId, serial, number, newest);
  });
};

/** SHA-256 of a file of records up to the newest. */
const digestOf = (machineId: string, serial: string, number: number, newest: number): string => {
  const hash = createHash('sha256');
  const first = number * recordsPerFile + 1;
  for (let seq = first; seq < first + recordsPerFile && seq <= newest; seq += 1) {
    hash.update(recordOf(machineId, serial, seq));
  }
  return hash.digest('hex');
};
