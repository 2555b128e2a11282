import assert from 'node:assert/strict';
import { test } from 'node:test';
import { operation, startedMs } from '../verdict/test-record.ts';
import { IoIndex } from './io-index.ts';

const timesOf = (index: IoIndex, machine: string): readonly number[] =>
  index.of(machine).map(({ completedMs }) => completedMs - startedMs);
const at = (ms: number, ok = true) => operation('one', startedMs + ms, { ok });
const { machine } = at(0);

test('a list that grows keeps its index, which includes appended operations', () => {
  const io = [at(1), at(2, false)];
  const index = IoIndex.of(io);
  assert.deepEqual([timesOf(index, machine), index.failedOf(machine).length], [[1, 2], 1]);
  io.push(at(3), operation('other', startedMs + 4));
  assert.equal(IoIndex.of(io), index);
  assert.deepEqual(timesOf(index, machine), [1, 2, 3]);
  assert.equal(index.latestMs, startedMs + 4);
});

test('the index is in the order of completion, also if operations are appended out of order', () => {
  const io = [at(1), at(3)];
  IoIndex.of(io);
  io.push(at(2));
  assert.deepEqual(timesOf(IoIndex.of(io), machine), [1, 2, 3]);
  assert.deepEqual(timesOf(IoIndex.of(io), machine), [1, 2, 3]);
  io.push(at(0));
  assert.deepEqual(timesOf(IoIndex.of(io), machine), [0, 1, 2, 3]);
  assert.deepEqual(timesOf(IoIndex.of([]), machine), []);
});
