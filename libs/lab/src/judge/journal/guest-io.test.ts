import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Actions, judgeIo, type KeyLossWindow } from './guest-io.ts';
import { type History, type Recorded, readHistory } from './history.ts';

const t0 = 1_000_000;
const boundMs = 2_000;
const disk = 'disks/lost';

/** @param invoked, completed in milliseconds after t0 */
const io = (invoked: number, completed: number, change: Partial<Recorded> = {}): Recorded => ({
  machine: 'vm',
  disk,
  op: 'write',
  offset: 0,
  length: 4_096,
  seq: 1,
  invokedAt: t0 + invoked,
  completedAt: t0 + completed,
  invokedMonotonicMs: 50_000 + invoked,
  completedMonotonicMs: 50_000 + completed,
  ok: true,
  reason: '',
  ...change,
});
const failed = (invoked: number, completed: number, reason = 'KEY_DISABLED', change: Partial<Recorded> = {}) =>
  io(invoked, completed, { ok: false, reason, ...change });
const loss: KeyLossWindow = {
  t0,
  boundMs,
  disks: [disk],
  pinned: ['disks/pinned'],
  reasons: new Set(['KEY_DISABLED']),
};
/** I/O before t0, with which every history must start to prove something. */
const lively: History = [io(-120, -110), io(-20, -10)];
const kindsOf = (history: History, actions: Partial<Actions> = {}) =>
  judgeIo([...lively, ...history], { losses: [loss], ...actions }).violations.map(({ kind }) => kind);

test('G1: accepts a history in which I/O ends within the bound, and gives the time of the last good I/O', () => {
  const verdict = judgeIo([...lively, io(1_500, 1_510), failed(1_600, 1_610), failed(2_100, 2_110)], {
    losses: [loss],
  });
  assert.deepEqual(verdict, { violations: [], lastGoodMs: 1_510 });
});

test('G1: one read or write that starts after the bound and succeeds is a violation', () => {
  assert.deepEqual(kindsOf([io(2_001, 2_003)]), ['invoked after the bound']);
  assert.deepEqual(kindsOf([io(2_001, 2_003, { op: 'verify' })]), ['invoked after the bound']);
  assert.deepEqual(kindsOf([io(1_999, 2_003)]), []);
  assert.deepEqual(kindsOf([io(2_500, 2_501, { op: 'flush' })]), [], 'a flush needs no key');
  assert.deepEqual(kindsOf([io(2_500, 2_501, { disk: 'disks/other' })]), []);
});

test('G1: an I/O that starts in time and completes long after the bound is a violation', () => {
  assert.deepEqual(kindsOf([io(1_900, 2_900)]), []);
  assert.deepEqual(kindsOf([io(1_900, 3_001)]), ['acknowledged long after the bound']);
});

test('G5: I/O may succeed after access is restored, and not before', () => {
  const back = { losses: [{ ...loss, restoredAt: t0 + 3_000 }] };
  assert.deepEqual(kindsOf([io(3_000, 3_010)], back), []);
  // It waited for an unreachable vault, and completed under the restored key.
  assert.deepEqual(kindsOf([io(2_990, 3_010)], back), []);
  assert.deepEqual(kindsOf([io(2_990, 2_999)], back), ['invoked after the bound']);
});

test('G1: a host that was stopped beyond the bound must not acknowledge I/O that arrived while it was stopped', () => {
  const pauses = [{ from: t0 - 5, to: t0 + 2_500 }];
  assert.deepEqual(kindsOf([io(100, 2_505)], { pauses }), ['invoked in a pause that outlasted the bound']);
  assert.deepEqual(kindsOf([failed(100, 2_505), failed(120, 2_600, 'DEADLINE_EXCEEDED')], { pauses }), []);
});

test('G1: one I/O for each disk and pause may complete if the host was stopped after the last check of it', () => {
  const pauses = [{ from: t0 - 5, to: t0 + 2_500 }];
  const history = [...lively, io(-8, 2_501), failed(2_510, 2_520)];
  assert.deepEqual(judgeIo(history, { losses: [loss], pauses }), {
    violations: [],
    lastGoodMs: 2_501,
  });
  assert.deepEqual(kindsOf([io(-8, 2_501), io(-7, 2_501)], { pauses }), ['more in hand than a pause can hold']);
});

test('G1: a pause is noted before its first signal and after its second, and the process may run until and from these', () => {
  const pauses = [{ from: t0 - 5, to: t0 + 3_900 }];
  assert.deepEqual(kindsOf([io(-1, 3_896)], { pauses }), []);
  assert.deepEqual(kindsOf([io(100, 3_896)], { pauses }), ['invoked in a pause that outlasted the bound']);
  assert.deepEqual(kindsOf([io(-1, 3_500)], { pauses }), ['acknowledged long after the bound']);
});

test('G1: the pause of a disk host excuses no I/O on the disks of another', () => {
  const pause = { from: t0 - 5, to: t0 + 3_900 };
  const pauses = [{ ...pause, concerns: (name: string) => name === 'disks/elsewhere' }];
  assert.deepEqual(kindsOf([io(-8, 3_901)], { pauses }), ['acknowledged long after the bound']);
  assert.deepEqual(kindsOf([io(-8, 3_901)], { pauses: [pause] }), []);
});

test('G1: a pause that ends within the bound excuses no I/O after the bound', () => {
  const pauses = [{ from: t0, to: t0 + 1_000 }];
  assert.deepEqual(kindsOf([io(500, 1_001)], { pauses }), []);
  assert.deepEqual(kindsOf([io(500, 3_100)], { pauses }), ['acknowledged long after the bound']);
});

test('G5: wrong content is always a violation', () => {
  assert.deepEqual(kindsOf([failed(-5, -1, 'CONTENT_MISMATCH')]), ['wrong content']);
});

test('G10: a failure may name an access loss only if the key of its disk was lost', () => {
  assert.deepEqual(kindsOf([failed(10, 20)]), []);
  assert.deepEqual(kindsOf([failed(10, 20, 'KEY_DISABLED', { disk: 'disks/pinned' })]), []);
  assert.deepEqual(kindsOf([failed(10, 20, 'UNAVAILABLE', { disk: 'disks/other' })]), [], 'no loss');
  assert.deepEqual(kindsOf([failed(10, 20, 'KEY_DISABLED', { disk: 'disks/other' })]), ['refused before a loss']);
  assert.deepEqual(kindsOf([failed(-1_100, -1_090)]), ['refused before a loss'], 'before t0 the key was not lost');
});

test('a history without enough I/O does not pass', () => {
  const kinds = (history: History) => judgeIo(history, { losses: [loss] }).violations.map(({ kind }) => kind);
  assert.deepEqual(kinds([]), ['proves nothing', 'proves nothing']);
  assert.deepEqual(kinds([io(-5_000, -4_990), failed(10, 20)]), ['proves nothing']);
  assert.deepEqual(kinds([io(-20, -10, { disk: 'disks/other' })]), ['proves nothing']);
});

test('a wall clock that was set during the history is a violation', () => {
  assert.deepEqual(kindsOf([io(100, 200, { completedMonotonicMs: 50_100 })]), ['clocks disagree']);
});

test('reads journals with both clocks, the older file first', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-history-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const machine = 'subscriptions/s/virtualMachines/vm';
  mkdirSync(join(folder, machine), { recursive: true });
  const entry = (seq: number) => {
    const { machine: _, ...own } = io(seq, seq + 1, { seq });
    return JSON.stringify(own);
  };
  writeFileSync(join(folder, machine, 'io.jsonl.1'), `${entry(1)}\n`);
  writeFileSync(join(folder, machine, 'io.jsonl'), `${entry(2)}\n{"op":"adopt"}\n${entry(3).slice(0, 30)}`);
  assert.deepEqual(readHistory(folder, [machine, 'subscriptions/s/virtualMachines/none']), [
    io(1, 2, { seq: 1, machine }),
    io(2, 3, { seq: 2, machine }),
  ]);
});

test('G10: an operation that is refused for another reason than the true one is a violation', () => {
  assert.deepEqual(kindsOf([failed(100, 110, 'KEY_DELETED')]), ['refused for another reason']);
  const both = { losses: [{ ...loss, reasons: new Set(['KEY_DISABLED', 'KEY_DELETED']) }] };
  assert.deepEqual(kindsOf([failed(100, 110, 'KEY_DELETED')], both), []);
  assert.deepEqual(kindsOf([failed(100, 110, 'KEY_VAULT_UNREACHABLE')]), [], 'an outage says nothing about the key');
});
