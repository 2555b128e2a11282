import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

interface Place {
  /** Of the file that is read; 0 before the first read. */
  inode: number;
  bytes: number;
}

/**
 * Reads the lines of a guest's journal, each time only complete new lines. Also reads the one older file that a full journal leaves.
 * @param path of the current file; it may not exist yet
 */
export const journalLines = (path: string): (() => readonly string[]) => {
  const place: Place = { inode: 0, bytes: 0 };
  return () => newLines(path, place);
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
  return Buffer.concat(text).toString('utf8').split('\n');
};

/** The bytes of a file from an offset; from its start if it is another file than before. Undefined if it does not exist. */
const readFrom = (
  path: string,
  inode: number,
  bytes: number,
): { readonly inode: number; readonly from: number; readonly added: Buffer } | undefined => {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { ino, size } = fstatSync(file);
    const from = ino === inode ? bytes : 0;
    const added = Buffer.alloc(Math.max(0, size - from));
    return { inode: ino, from, added: added.subarray(0, readSync(file, added, 0, added.length, from)) };
  } finally {
    closeSync(file);
  }
};

/** An incomplete line is left for the next read. */
const wholeLines = (added: Buffer): Buffer => added.subarray(0, added.lastIndexOf(0x0a) + 1);
