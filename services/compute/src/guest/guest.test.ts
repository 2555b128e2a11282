import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { systemClock as clock } from '@interlock/runtime';
import type { GuestDisk } from '../guests/vm-host.ts';
import { type DiskIo, IoError } from './disk-io.ts';
import { createGuest } from './guest.ts';
import { type JournalEntry, openJournal, readJournal } from './journal.ts';
import type { GuestFile } from './plan.ts';
import { isAsExpected, openExpectedContent, recordOf } from './records.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'interlock-guest-'));
  path = join(folder, 'io.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const disk: GuestDisk = {
  disk: 'subscriptions/s/resourceGroups/g/disks/d',
  lun: 0,
  isOs: false,
  sizeBytes: 2 ** 30,
  dataAddress: 'nowhere',
  nbdAddress: '',
  accessToken: 't1',
  isContinued: false,
};
const planFor = (...disks: readonly GuestDisk[]): GuestFile => ({
  vm: 'vm',
  machineId: 'm',
  guest: 'PROCESS',
  authority: 'plaintext',
  workload: { kind: 'WRITE_AND_VERIFY', ioPerSecond: 2_000, ioSizeBytes: 4_096 },
  disks,
  generation: 1,
});

/** A disk in memory that can be made to fail. */
const memoryDisk = () => {
  const content = new Map<number, Uint8Array>();
  const faults: { read?: string; write?: string; flush?: string } = {};
  const failing = (reason: string | undefined): void => {
    if (reason !== undefined) throw new IoError(reason);
  };
  const io: DiskIo = {
    read: async (offset, length) => {
      failing(faults.read);
      return content.get(offset) ?? new Uint8Array(length);
    },
    write: async (offset, data) => {
      failing(faults.write);
      content.set(offset, data);
    },
    flush: async () => failing(faults.flush),
  };
  return { io, content, faults };
};
const untilJournal = async (condition: (entries: readonly JournalEntry[]) => boolean): Promise<void> => {
  while (!condition(readJournal(path))) await clock.sleep(5);
};
const guestOn = (io: DiskIo) =>
  createGuest({ journal: openJournal(path), history: readJournal(path), clock, openIo: () => io });

test('a guest writes, reads back, compares and flushes, and journals all of it', { timeout: 120_000 }, async () => {
  const { io } = memoryDisk();
  const guest = guestOn(io);
  await guest.apply(planFor(disk));
  await untilJournal((entries) => entries.filter(({ op }) => op === 'flush').length > 1);
  await guest.shutDown();
  const entries = readJournal(path);
  assert.ok(entries.every(({ ok }) => ok));
  const writes = entries.filter(({ op }) => op === 'write').map(({ seq }) => seq);
  assert.deepEqual(
    writes,
    writes.map((_, n) => n + 1),
  );
  assert.ok(entries.every((entry) => entry.completedMonotonicMs >= entry.invokedMonotonicMs));
});

test('a failed write is journalled with its reason and retried; the next run verifies the acknowledged writes', {
  timeout: 120_000,
}, async () => {
  const { io, faults } = memoryDisk();
  const first = guestOn(io);
  await first.apply(planFor(disk));
  await untilJournal((entries) => entries.some(({ op, ok }) => op === 'write' && ok));
  faults.write = 'KEY_DISABLED';
  await untilJournal((entries) => entries.filter(({ reason }) => reason === 'KEY_DISABLED').length > 1);
  const refused = readJournal(path).filter(({ ok }) => !ok);
  assert.equal(new Set(refused.map(({ seq }) => seq)).size, 1);
  await first.shutDown();

  delete faults.write;
  const second = guestOn(io);
  await second.apply(planFor({ ...disk, accessToken: 't2', isContinued: true }));
  await untilJournal((entries) =>
    entries.some(({ op, ok, seq }) => op === 'write' && ok && seq > (refused[0]?.seq ?? 0)),
  );
  await second.shutDown();
  const checks = readJournal(path).filter(({ op }) => op === 'verify');
  assert.ok(checks.length > 0 && checks.every(({ ok }) => ok));
});

test('a lost write is journalled as CONTENT_MISMATCH', { timeout: 120_000 }, async () => {
  const { io, content } = memoryDisk();
  const first = guestOn(io);
  await first.apply(planFor(disk));
  await untilJournal((entries) => entries.some(({ op, ok }) => op === 'write' && ok));
  await first.shutDown();
  for (const offset of content.keys()) content.set(offset, new Uint8Array(4_096));
  const second = guestOn(io);
  await second.apply(planFor({ ...disk, accessToken: 't2', isContinued: true }));
  await untilJournal((entries) => entries.some(({ reason }) => reason === 'CONTENT_MISMATCH'));
  await second.shutDown();
});

test('a newly attached disk is not checked against earlier writes', { timeout: 120_000 }, async () => {
  const first = guestOn(memoryDisk().io);
  await first.apply(planFor(disk));
  await untilJournal((entries) => entries.some(({ op, ok }) => op === 'write' && ok));
  await first.shutDown();
  const second = guestOn(memoryDisk().io);
  await second.apply(planFor({ ...disk, accessToken: 't2' }));
  const writes = (entries: readonly JournalEntry[]) =>
    entries.filter(({ op, seq }) => op === 'write' && seq === 1).length;
  await untilJournal((entries) => writes(entries) === 2);
  await second.shutDown();
  assert.ok(readJournal(path).every(({ op, ok }) => ok && op !== 'verify'));
});

test('a guest stops work on a disk that its plan no longer has, and works on a disk that is added', {
  timeout: 120_000,
}, async () => {
  const { io } = memoryDisk();
  const guest = guestOn(io);
  await guest.apply(planFor(disk));
  await guest.apply(planFor());
  const { length } = readJournal(path);
  await guest.apply(planFor({ ...disk, disk: `${disk.disk}2`, accessToken: 't3' }));
  await untilJournal((entries) => entries.length > length + 5);
  assert.ok(
    readJournal(path)
      .slice(length)
      .every((entry) => entry.disk === `${disk.disk}2`),
  );
  await guest.shutDown();
});

test('after a write without a response each sector may hold the old or the new record, and nothing else', () => {
  const [older, newer] = [recordOf('d', 1, 0, 8_192), recordOf('d', 65, 0, 8_192)];
  const expected = { offset: 0, length: 8_192, acknowledged: 1, possible: [65] };
  const torn = Buffer.concat([newer.subarray(0, 4_096), older.subarray(4_096)]);
  assert.equal(isAsExpected('d', expected, torn), true);
  assert.equal(isAsExpected('d', { ...expected, possible: [] }, torn), false);
  assert.equal(isAsExpected('d', expected, torn.subarray(1)), false);
  const foreign = Buffer.from(torn);
  foreign.writeUInt8(foreign.readUInt8(100) ^ 1, 100);
  assert.equal(isAsExpected('d', expected, foreign), false);
});

test('the write that was in progress when a guest was killed may be on the disk, and is done again with its number', () => {
  const entry = { disk: 'd', op: 'write', offset: 4_096, length: 4_096, seq: 1, ok: true } as const;
  const times = { invokedAt: 0, completedAt: 0, invokedMonotonicMs: 0, completedMonotonicMs: 0 };
  const content = openExpectedContent('d', [{ ...entry, ...times }], 4_096);
  assert.equal(content.next(), 2);
  assert.deepEqual(content.at(8_192)?.possible, [2]);
  content.wrote(2, 8_192, 4_096, true);
  assert.deepEqual(content.at(8_192), { offset: 8_192, length: 4_096, acknowledged: 2, possible: [] });
  assert.equal(content.next(), 3);
});

/** Storage that takes this many bytes of a journal. */
const limitedStorage = (room: number) => {
  const storage = { room };
  const write = (file: number, bytes: Uint8Array): number => {
    if (storage.room === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    const taken = writeSync(file, bytes.subarray(0, storage.room));
    storage.room -= taken;
    return taken;
  };
  return { storage, write };
};

test('G1, CMK-127: a guest whose journal has no space waits, continues when there is space, and its journal has every operation', {
  timeout: 120_000,
}, async () => {
  const { io } = memoryDisk();
  let operations = 0;
  const counted: DiskIo = {
    read: (...args) => io.read(...args),
    flush: (...args) => io.flush(...args),
    write: (...args) => {
      operations += 1;
      return io.write(...args);
    },
  };
  const { storage, write } = limitedStorage(2_000);
  const guest = createGuest({
    journal: openJournal(path, 2 ** 20, { write }),
    history: [],
    clock,
    openIo: () => counted,
  });
  await guest.apply(planFor(disk));
  while (storage.room > 0) await clock.sleep(5);
  // However long that lasts, at most one write has no entry. A guest that does not wait does hundreds in this time.
  await clock.sleep(500);
  const before = operations;
  const journalled = readJournal(path).filter(({ op }) => op === 'write').length;
  assert.ok(before <= journalled + 1, `${before} writes, ${journalled} of them in the journal`);
  storage.room = 2 ** 20;
  await untilJournal((entries) => entries.filter(({ op }) => op === 'write').length > before + 1);
  await guest.shutDown();
  const writes = readJournal(path).filter(({ op }) => op === 'write');
  assert.deepEqual(
    writes.map(({ seq }) => seq),
    Array.from({ length: operations }, (_, n) => n + 1),
  );
});

test('a journal that ended within a line, because storage was full, loses no entry of the next run', () => {
  const times = { invokedAt: 0, completedAt: 0, invokedMonotonicMs: 0, completedMonotonicMs: 0 };
  const entry = { disk: 'd', op: 'write', offset: 0, length: 4_096, ...times, ok: true } as const;
  const first = openJournal(path, 2 ** 20, { write: limitedStorage(200).write });
  for (const seq of [1, 2]) first.append({ ...entry, seq });
  assert.equal(first.isStored(), false);
  first.close();
  const second = openJournal(path);
  second.append({ ...entry, seq: 3 });
  second.close();
  assert.deepEqual(
    readJournal(path).map(({ seq }) => seq),
    [1, 3],
  );
});

test('the journal is bounded: it keeps one older file', () => {
  const journal = openJournal(path, 1_000);
  const times = { invokedAt: 0, completedAt: 0, invokedMonotonicMs: 0, completedMonotonicMs: 0 };
  for (let seq = 1; seq <= 50; seq += 1) {
    journal.append({ disk: 'd', op: 'write', offset: 0, length: 4_096, seq, ...times, ok: true });
  }
  journal.close();
  const left = readJournal(path);
  assert.equal(left.at(-1)?.seq, 50);
  assert.ok(left.length < 20);
});
