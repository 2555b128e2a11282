import { existsSync, readFileSync } from 'node:fs';
import type { GuestIo } from '../guests/vm-host.ts';
import type { Journal, JournalEntry } from './journal.ts';
import { stored } from './stored.ts';

/** Counts the entries of a journal, beyond its size limit and the end of a guest. */
export interface Counters {
  /** The journal, counting each entry. */
  over(journal: Journal): Journal;
  /** Writes the counters to their file, if they have changed and storage has space. */
  save(): void;
}

const nothing: GuestIo = { reads: 0, writes: 0, flushes: 0, failures: 0, mismatches: 0 };

/** Continues the counters of a file. A content mismatch is saved at once; other unsaved counts are lost with the guest. */
export const openCounters = (path: string): Counters => {
  let now = readCounters(path) ?? nothing;
  let saved = now;
  const save = (): void => {
    if (saved === now) return;
    // Without space the next save has these counts too.
    if (stored(path, JSON.stringify(now))) saved = now;
  };
  return {
    over: (journal) => ({
      ...journal,
      append(entry) {
        journal.append(entry);
        now = countedWith(now, entry);
        if (now.mismatches > saved.mismatches) save();
      },
    }),
    save,
  };
};

const countedWith = (before: GuestIo, { op, ok, reason, disk, offset, length, completedAt }: JournalEntry): GuestIo => {
  if (op === 'adopt') return before;
  const isMismatch = reason === 'CONTENT_MISMATCH';
  return {
    ...before,
    reads: before.reads + (op === 'read' || op === 'verify' ? 1 : 0),
    writes: before.writes + (op === 'write' ? 1 : 0),
    flushes: before.flushes + (op === 'flush' ? 1 : 0),
    failures: before.failures + (ok || isMismatch ? 0 : 1),
    mismatches: before.mismatches + (isMismatch ? 1 : 0),
    ...(isMismatch ? { newestMismatch: { disk, offset, length, at: completedAt } } : {}),
  };
};

/** The counters of a file; `undefined` if it does not exist. The file is put in place as a whole. */
export const readCounters = (path: string): GuestIo | undefined =>
  existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
