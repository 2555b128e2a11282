import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openCounters, readCounters } from './counters.ts';
import type { JournalEntry } from './journal.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-counters-'));
after(() => rmSync(folder, { recursive: true }));

const entry = (op: JournalEntry['op'], reason?: string): JournalEntry => ({
  disk: 'disks/d',
  op,
  offset: 4_096,
  length: 8_192,
  seq: 1,
  invokedAt: 1_000,
  completedAt: 1_001,
  invokedMonotonicMs: 0,
  completedMonotonicMs: 1,
  ok: reason === undefined,
  ...(reason === undefined ? {} : { reason }),
});

test('counters continue from their file, and a content mismatch is saved at once', () => {
  const path = join(folder, 'io-counters.json');
  const journalled: JournalEntry[] = [];
  const journal = {
    append: (one: JournalEntry) => void journalled.push(one),
    isStored: () => true,
    close: () => undefined,
  };
  const first = openCounters(path);
  const own = first.over(journal);
  for (const op of ['adopt', 'write', 'read', 'flush', 'verify'] as const) own.append(entry(op));
  own.append(entry('write', 'KEY_DISABLED'));
  assert.equal(readCounters(path), undefined, 'not saved yet');
  first.save();
  const counted = { reads: 2, writes: 2, flushes: 1, failures: 1, mismatches: 0 };
  assert.deepEqual(readCounters(path), counted);
  assert.equal(journalled.length, 6);

  openCounters(path).over(journal).append(entry('read', 'CONTENT_MISMATCH'));
  const newestMismatch = { disk: 'disks/d', offset: 4_096, length: 8_192, at: 1_001 };
  assert.deepEqual(readCounters(path), { ...counted, reads: 3, mismatches: 1, newestMismatch });
});

test('counters that cannot be stored, because there is no space, are stored later', () => {
  // The draft goes to a device that is always full.
  const path = join(folder, 'full.json');
  symlinkSync('/dev/full', `${path}.new`);
  const counters = openCounters(path);
  counters.over({ append: () => undefined, isStored: () => true, close: () => undefined }).append(entry('write'));
  counters.save();
  assert.equal(readCounters(path), undefined);
  rmSync(`${path}.new`);
  counters.save();
  assert.equal(readCounters(path)?.writes, 1);
});
