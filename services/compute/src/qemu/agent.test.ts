import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { systemClock } from '@interlock/runtime/clock';
import type { JournalEntry } from '../guest/journal.ts';
import type { GuestDisk } from '../guests/vm-host.ts';
import { GuestAgent } from './agent.ts';
import { recordOf, recordsPerFile } from './records.ts';

const disk: GuestDisk = {
  disk: 'subscriptions/s/resourceGroups/g/disks/d',
  lun: 3,
  isOs: false,
  sizeBytes: 2 ** 30,
  dataAddress: '',
  nbdAddress: 'unix:/s',
  accessToken: 'token',
  isContinued: true,
};

const agentWith = (history: readonly JournalEntry[] = []) => {
  const entries: JournalEntry[] = [];
  let ups = 0;
  const agent = new GuestAgent({
    machineId: 'm1',
    disks: () => [disk],
    journal: { append: (entry) => void entries.push(entry), isStored: () => true, close: () => undefined },
    history,
    clock: systemClock,
    onUp: () => {
      ups += 1;
    },
  });
  const say = (...lines: readonly string[]): void =>
    agent.receive(Buffer.from(lines.map((line) => `${line}\n`).join('')));
  return { agent, entries, say, ups: () => ups };
};

const wrote = (seq: number): JournalEntry => ({
  ...{ disk: disk.disk, op: 'write', offset: 0, length: 78, seq, ok: true },
  ...{ invokedAt: 0, completedAt: 0, invokedMonotonicMs: 0, completedMonotonicMs: 0 },
});

/** What the guest says about a file with these records. */
const fileOf = (number: number, first: number, last: number): string => {
  const records = Array.from({ length: last - first + 1 }, (_, n) => recordOf('m1', 'lun3', first + n)).join('');
  return `found lun3 ${number} ${records.length} ${createHash('sha256').update(records).digest('hex')}`;
};

const outcomes = (entries: readonly JournalEntry[]) =>
  entries.map(({ op, seq, ok, reason }) => ({ op, seq, ok, reason }));

test('the agent journals a record once its fsync returned, however its lines are split', () => {
  const { agent, entries, say, ups } = agentWith();
  agent.receive(Buffer.from('u'));
  agent.receive(Buffer.from('p\nbegin lun'));
  say('3 7', 'done lun3 7', 'begin lun3 8', 'failed lun3 8');
  assert.equal(ups(), 1);
  assert.deepEqual(outcomes(entries), [
    { op: 'write', seq: 7, ok: true, reason: undefined },
    { op: 'write', seq: 8, ok: false, reason: 'GUEST_IO_ERROR' },
  ]);
  assert.deepEqual([entries[0]?.offset, entries[0]?.length], [6 * 78, 78]);
});

test('the agent ignores invalid lines: unknown disks, unexpected numbers, too long lines', () => {
  const { entries, say } = agentWith();
  say(
    'done lun3 1',
    'begin lun4 1',
    'done lun4 1',
    'begin lun3 1',
    'done lun3 2',
    `begin lun3 ${'9'.repeat(600)}`,
    '',
    'x',
  );
  assert.deepEqual(entries, []);
});

test('G3: a verification after a boot succeeds if every file is as written and no acknowledged record is missing', () => {
  const verified = (acknowledged: number, ...files: readonly string[]) => {
    const { entries, say } = agentWith(acknowledged === 0 ? [] : [wrote(acknowledged)]);
    say(...files, 'verified lun3');
    return outcomes(entries);
  };
  const good = (seq: number) => [{ op: 'verify', seq, ok: true, reason: undefined }];
  const bad = (seq: number) => [{ op: 'verify', seq, ok: false, reason: 'CONTENT_MISMATCH' }];
  assert.deepEqual(verified(0), good(0));
  assert.deepEqual(verified(5, fileOf(0, 1, 5)), good(5));
  assert.deepEqual(verified(5, fileOf(0, 1, 6)), good(6), 'a record that was not acknowledged may be there');
  assert.deepEqual(verified(5, fileOf(0, 1, 4)), bad(4), 'an acknowledged record is missing');
  assert.deepEqual(verified(5), bad(0), 'all are missing');
  assert.deepEqual(verified(5, fileOf(0, 1, 5).replace(/.$/, 'g')), bad(5), 'another content');
  const second = fileOf(1, recordsPerFile + 1, recordsPerFile + 2);
  assert.deepEqual(verified(recordsPerFile + 2, fileOf(0, 1, recordsPerFile), second), good(recordsPerFile + 2));
  assert.deepEqual(verified(recordsPerFile + 2, second), bad(recordsPerFile + 2), 'the file before is missing');
});

test('G3: the journal records a failure if a forced check finds a damaged file system', () => {
  const { entries, say } = agentWith();
  say('fsck lun3 0', 'fsck lun3 4');
  assert.deepEqual(outcomes(entries), [
    { op: 'verify', seq: 0, ok: true, reason: undefined },
    { op: 'verify', seq: 0, ok: false, reason: 'FILE_SYSTEM_DAMAGED' },
  ]);
});

test('the agent journals an adopted disk as one without records', () => {
  const { agent, entries } = agentWith();
  agent.adopt(disk);
  assert.deepEqual(outcomes(entries), [{ op: 'adopt', seq: 0, ok: true, reason: undefined }]);
});
