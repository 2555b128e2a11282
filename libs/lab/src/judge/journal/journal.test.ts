import assert from 'node:assert/strict';
import { appendFileSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openHistory } from './history.ts';
import { type Io, ioOf, summarize } from './journal.ts';

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
  const read = openHistory(folder, [machine, 'subscriptions/s/virtualMachines/vm-2']);
  const numbers = (): readonly number[] => read().map(({ seq }) => seq);
  assert.deepEqual(numbers(), []);

  mkdirSync(join(folder, machine), { recursive: true });
  const file = join(folder, machine, 'io.jsonl');
  const line = (seq: number, completedMonotonicMs: number): string =>
    JSON.stringify({ ...io({ seq }), invokedMonotonicMs: 0, completedMonotonicMs });
  writeFileSync(file, `${line(1, 10)}\n${line(2, 5).slice(0, 20)}`);
  assert.deepEqual(numbers(), [1]);
  appendFileSync(file, `${line(2, 5).slice(20)}\n`);
  assert.deepEqual(numbers(), [2, 1], 'by completion');
});

test('the journal of a guest at a VM host is read on after compute removed it, and beside that at the next host', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'interlock-journal-'));
  t.after(() => rmSync(root, { recursive: true }));
  const folders = ['vm-host-0', 'vm-host-1'].map((vmHost) => ({ path: join(root, vmHost), vmHost }));
  const read = openHistory(folders, ['machines/a']);
  const seen = () => read().map(({ vmHost, seq }) => [vmHost, seq]);
  const line = (seq: number): string =>
    `${JSON.stringify({ ...io({ seq }), invokedMonotonicMs: 0, completedMonotonicMs: seq })}\n`;
  for (const { path } of folders) mkdirSync(join(path, 'machines/a'), { recursive: true });
  const former = openSync(join(root, 'vm-host-0/machines/a/io.jsonl'), 'a');
  writeSync(former, line(1));
  assert.deepEqual(seen(), [['vm-host-0', 1]]);
  rmSync(join(root, 'vm-host-0'), { recursive: true });
  writeSync(former, line(2));
  writeFileSync(join(root, 'vm-host-1/machines/a/io.jsonl'), line(3));
  const all = [
    ['vm-host-0', 1],
    ['vm-host-0', 2],
    ['vm-host-1', 3],
  ];
  assert.deepEqual(seen(), all);
  assert.deepEqual(seen(), all, 'each line once');
  closeSync(former);
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
