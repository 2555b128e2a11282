import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Io, ioOf, journalReader, lastGoodIo, summarize } from './journal.ts';

const io = (change: Partial<Io> = {}): Io => ({
  disk: 'disks/a',
  op: 'write',
  offset: 0,
  length: 4_096,
  seq: 1,
  invokedAt: 100,
  completedAt: 110,
  ok: true,
  reason: '',
  ...change,
});

test('reads a line of I/O as it is, and skips incomplete lines and other entries', () => {
  assert.deepEqual(ioOf(JSON.stringify(io({ ok: false, reason: 'KEY_DISABLED' }))), [
    io({ ok: false, reason: 'KEY_DISABLED' }),
  ]);
  for (const line of ['', '{"op":"wri', '{"op":"write"}{"op":"write"}', '{"op":"adopt","disk":"a"}', '[1]']) {
    assert.deepEqual(ioOf(line), []);
  }
});

test('reads growing journals, and an incomplete line once it is complete', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-journal-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const machine = 'subscriptions/s/virtualMachines/vm';
  const read = journalReader(folder, [machine, 'subscriptions/s/virtualMachines/vm-2']);
  assert.deepEqual(read(), { vm: [], 'vm-2': [] });

  mkdirSync(join(folder, machine), { recursive: true });
  const file = join(folder, machine, 'io.jsonl');
  const second = JSON.stringify(io({ seq: 2, completedAt: 105 }));
  writeFileSync(file, `${JSON.stringify(io())}\n${second.slice(0, 20)}`);
  assert.deepEqual(
    read().vm?.map(({ seq }) => seq),
    [1],
  );
  appendFileSync(file, `${second.slice(20)}\n`);
  assert.deepEqual(
    read().vm?.map(({ seq }) => seq),
    [2, 1],
    'by completion',
  );
});

test('a summary counts the I/O that starts and completes in its interval', () => {
  const journal = [
    io({ invokedAt: 50, completedAt: 120 }),
    io({ invokedAt: 130, completedAt: 140 }),
    io({ op: 'verify', invokedAt: 150, completedAt: 160, disk: 'disks/b' }),
    io({ op: 'read', invokedAt: 161, completedAt: 170, ok: false, reason: 'KEY_DISABLED' }),
    io({ op: 'flush', invokedAt: 171, completedAt: 180, length: 0 }),
    io({ invokedAt: 190, completedAt: 210 }),
  ];
  assert.deepEqual(summarize('vm', journal, 100, 200), {
    machine: 'vm',
    reads: 1,
    writes: 1,
    bytes: 8_192,
    failed: 1,
    failure: 'KEY_DISABLED',
    longestGapMs: 40,
    disks: ['disks/a', 'disks/b'],
  });
});

test('the last good I/O is a successful read or write of the given disks', () => {
  const journal = [
    io({ completedAt: 1 }),
    io({ completedAt: 2, disk: 'disks/b' }),
    io({ completedAt: 3, ok: false }),
    io({ completedAt: 4, op: 'flush' }),
  ];
  assert.equal(lastGoodIo(journal, ['disks/a']), 1);
  assert.equal(lastGoodIo(journal, ['disks/a', 'disks/b']), 2);
  assert.equal(lastGoodIo(journal, ['disks/c']), undefined);
});
