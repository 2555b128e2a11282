import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { entryOf, type JournalEntry } from '../guest/journal.ts';
import type { JournalPage } from './vm-host.ts';

/** Most bytes of a journal that a page is read from. */
const pageBytesMax = 1024 * 1024;

/** A file of a journal. `id`: no other file of the journal has it, also not one that gets the same inode later. */
interface JournalFile {
  readonly id: string;
  readonly descriptor: number;
  readonly size: number;
}

/**
 * Reads the next part of a journal, which is a file and at most one older file.
 * @param after `readTo` of an earlier page; empty for the oldest entries
 * @param limit most entries
 */
export const readJournalPage = (path: string, after: string, limit: number): JournalPage => {
  const files = [`${path}.1`, path].flatMap(opened);
  try {
    const [id = '', bytes = ''] = after.split(':');
    const found = files.findIndex((file) => file.id === id && Number(bytes) <= file.size);
    const index = Math.max(0, found);
    const file = files[index];
    if (file === undefined) return { entries: [], readTo: '', isEnd: true, hasGap: false };
    const page = entriesFrom(file, found === -1 ? 0 : Number(bytes), limit);
    const next = files[index + 1];
    // The rest of an older file is a line that was cut: its guest ended.
    const isFileEnd = page.isWhole;
    const readTo = isFileEnd && next !== undefined ? `${next.id}:0` : `${file.id}:${page.readTo}`;
    return {
      entries: page.entries,
      readTo,
      isEnd: isFileEnd && (next === undefined || next.size === 0),
      hasGap: after !== '' && found === -1,
    };
  } finally {
    for (const { descriptor } of files) closeSync(descriptor);
  }
};

const opened = (path: string): readonly JournalFile[] => {
  try {
    const descriptor = openSync(path, 'r');
    const { ino, birthtimeMs, size } = fstatSync(descriptor);
    return [{ id: `${ino}-${Math.floor(birthtimeMs)}`, descriptor, size }];
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
};

interface ReadEntries {
  readonly entries: readonly JournalEntry[];
  /** Behind the last line that was read, in bytes. */
  readonly readTo: number;
  /** Whether no whole line follows. */
  readonly isWhole: boolean;
}

const entriesFrom = ({ descriptor, size }: JournalFile, from: number, limit: number): ReadEntries => {
  const bytes = Buffer.alloc(Math.min(size - from, pageBytesMax));
  const text = bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, from));
  const entries: JournalEntry[] = [];
  let readTo = 0;
  while (entries.length < limit) {
    const end = text.indexOf(0x0a, readTo);
    if (end === -1) break;
    const entry = entryOf(text.toString('utf8', readTo, end));
    if (entry !== undefined) entries.push(entry);
    readTo = end + 1;
  }
  const isRead = from + text.length === size && text.indexOf(0x0a, readTo) === -1;
  return { entries, readTo: from + readTo, isWhole: isRead };
};
