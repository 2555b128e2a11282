import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

interface Place {
  /** Of the file that is read; 0 before the first read. */
  inode: number;
  bytes: number;
  /** The open file, if it is kept open. */
  file?: number;
}

/**
 * Reads the lines of a guest's journal, each time only complete new lines. Also reads the one older file that a full journal leaves.
 * @param path of the current file; it may not exist yet
 * @param isKept whether the file is kept open, so that its lines are also read after it was removed: that of a machine that runs
 *   elsewhere by now, whose former guest may still write
 */
export const journalLines = (path: string, isKept = false): (() => readonly string[]) => {
  const place: Place = { inode: 0, bytes: 0 };
  return () => (isKept ? linesOfKept(path, place) : newLines(path, place));
};

const linesOfKept = (path: string, place: Place): readonly string[] => {
  const rest = place.file === undefined ? Buffer.alloc(0) : wholeLines(restOf(place.file, place.bytes));
  place.bytes += rest.length;
  const file = opened(path);
  const isNew = file !== undefined && fstatSync(file).ino !== place.inode;
  if (file !== undefined && !isNew) closeSync(file);
  if (!isNew) return textOf(rest);
  if (place.file !== undefined) closeSync(place.file);
  const older = place.inode === 0 ? readFrom(`${path}.1`, 0, 0) : undefined;
  const lines = wholeLines(restOf(file, 0));
  Object.assign(place, { file, inode: fstatSync(file).ino, bytes: lines.length });
  return textOf(Buffer.concat([rest, ...(older === undefined ? [] : [wholeLines(older.added)]), lines]));
};

const textOf = (lines: Buffer): readonly string[] => lines.toString('utf8').split('\n');

const restOf = (file: number, from: number): Buffer => {
  const added = Buffer.alloc(Math.max(0, fstatSync(file).size - from));
  return added.subarray(0, readSync(file, added, 0, added.length, from));
};

/** A full journal starts a new file and leaves one older one. The rest of that is read first. */
const newLines = (path: string, place: Place): readonly string[] => {
  const text: Buffer[] = [];
  const { inode } = place;
  const current = readFrom(path, inode, place.bytes);
  if (current === undefined) return [];
  if (inode !== 0 && current.inode !== inode) {
    const older = readFrom(`${path}.1`, inode, place.bytes);
    if (older?.inode === inode) text.push(wholeLines(older.added));
  } else if (inode === 0) {
    const older = readFrom(`${path}.1`, 0, 0);
    if (older !== undefined) text.push(wholeLines(older.added));
  }
  const lines = wholeLines(current.added);
  place.bytes = current.from + lines.length;
  place.inode = current.inode;
  text.push(lines);
  return textOf(Buffer.concat(text));
};

/** Undefined if it does not exist. */
const opened = (path: string): number | undefined => {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
};

/** The bytes of a file from an offset; from its start if it is another file than before. Undefined if it does not exist. */
const readFrom = (
  path: string,
  inode: number,
  bytes: number,
): { readonly inode: number; readonly from: number; readonly added: Buffer } | undefined => {
  const file = opened(path);
  if (file === undefined) return undefined;
  try {
    const { ino } = fstatSync(file);
    const from = ino === inode ? bytes : 0;
    return { inode: ino, from, added: restOf(file, from) };
  } finally {
    closeSync(file);
  }
};

/** An incomplete line is left for the next read. */
const wholeLines = (added: Buffer): Buffer => added.subarray(0, added.lastIndexOf(0x0a) + 1);
