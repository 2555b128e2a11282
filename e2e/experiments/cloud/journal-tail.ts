import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { IoRecord } from '@interlock/experiment';
import { type History, type Recorded, recordedBy } from '../../oracle/journal/history.ts';

/** The journals of guests, of which each read fetches only what is new. */
export interface JournalTail {
  /** All operations up to now, by completion. */
  read(): History;
}

interface Tail {
  readonly machine: string;
  readonly path: string;
  /** Of the file that is read. */
  inode: number;
  bytes: number;
}

/**
 * Opens the journals of machines.
 * @param folder where compute keeps its guests, each in a folder of the machine's full name
 */
export const journalTail = (folder: string, machines: readonly string[]): JournalTail => {
  const tails = machines.map((machine): Tail => {
    const path = join(folder, ...machine.split('/'), 'io.jsonl');
    return { machine, path, inode: 0, bytes: 0 };
  });
  let history: Recorded[] = [];
  return {
    read() {
      const added = tails.flatMap(readNew);
      if (added.length > 0) {
        added.sort((one, other) => one.completedMonotonicMs - other.completedMonotonicMs);
        history = [...history, ...added];
        history.sort((one, other) => one.completedMonotonicMs - other.completedMonotonicMs);
      }
      return history;
    },
  };
};

/** A journal that is full begins a new file and leaves one older one: its rest is read first. */
const readNew = (tail: Tail): readonly Recorded[] => {
  const text: Buffer[] = [];
  const { inode } = tail;
  const current = readFrom(tail.path, inode, tail.bytes);
  if (current === undefined) return [];
  if (inode !== 0 && current.inode !== inode) {
    const older = readFrom(`${tail.path}.1`, inode, tail.bytes);
    if (older?.inode === inode) text.push(wholeLines(older.added));
  } else if (inode === 0) {
    const older = readFrom(`${tail.path}.1`, 0, 0);
    if (older !== undefined) text.push(wholeLines(older.added));
  }
  const lines = wholeLines(current.added);
  tail.bytes = current.from + lines.length;
  tail.inode = current.inode;
  text.push(lines);
  return Buffer.concat(text).toString('utf8').split('\n').flatMap(recordedBy(tail.machine));
};

/** The bytes of a file from a place on; from its start if it is another file than before. Undefined if it does not exist. */
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

/** A line that a guest is writing is left for the next read. */
const wholeLines = (added: Buffer): Buffer => added.subarray(0, added.lastIndexOf(0x0a) + 1);

/** An operation of a guest as experiments record it. */
export const ioRecordOf = (io: Recorded): IoRecord => ({
  machine: io.machine,
  disk: io.disk,
  op: io.op === 'verify' ? 'read' : io.op,
  seq: io.seq,
  invokedMs: io.invokedAt,
  completedMs: io.completedAt,
  invokedMonotonicMs: io.invokedMonotonicMs,
  completedMonotonicMs: io.completedMonotonicMs,
  ok: io.ok,
  reason: io.reason,
});
