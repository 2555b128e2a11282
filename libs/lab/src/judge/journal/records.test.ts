import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Io } from './journal.ts';
import { acknowledged, expectedPlaces, mismatches, recordBytes } from './records.ts';

const write = (seq: number, offset: number, ok = true): Io => ({
  disk: 'disks/a',
  op: 'write',
  offset,
  length: 8_192,
  seq,
  invokedAt: seq,
  completedAt: seq,
  ok,
  reason: ok ? '' : 'UNAVAILABLE',
});

test('a place must hold its last acknowledged record, or a later one that may have been written', () => {
  const journal = [write(1, 0), write(2, 8_192), write(3, 0), write(4, 0, false), write(5, 16_384, false)];
  assert.deepEqual(expectedPlaces(journal, 'disks/a'), [
    { offset: 0, length: 8_192, candidates: [3, 4, 6] },
    { offset: 8_192, length: 8_192, candidates: [2, 6] },
  ]);
  assert.deepEqual(expectedPlaces(journal, 'disks/other'), []);
});

test('the guest at each VM host may have written one more record than its journal has', () => {
  const journal = [
    { ...write(8, 0), vmHost: 'vm-host-0' },
    { ...write(1, 0), vmHost: 'vm-host-1' },
  ];
  assert.deepEqual(expectedPlaces(journal, 'disks/a'), [{ offset: 0, length: 8_192, candidates: [1, 9, 2] }]);
});

test('a wrong record, disk or place, or one changed byte, is a mismatch of its sector', () => {
  const place = { offset: 8_192, length: 8_192, candidates: [7] };
  const right = recordBytes('disks/a', 7, 8_192, 8_192);
  assert.equal(mismatches('disks/a', place, right), 0);
  assert.equal(mismatches('disks/a', place, recordBytes('disks/a', 6, 8_192, 8_192)), 2);
  assert.equal(mismatches('disks/a', place, recordBytes('disks/b', 7, 8_192, 8_192)), 2);
  assert.equal(mismatches('disks/a', place, recordBytes('disks/a', 7, 0, 8_192)), 2);
  right[5_000] = (right[5_000] ?? 0) ^ 1;
  assert.equal(mismatches('disks/a', place, right), 1);
});

test('expects what a place holds if that is possible, and otherwise the last acknowledged record', () => {
  const place = { offset: 8_192, length: 8_192, candidates: [7, 9] };
  const [last, unknown] = [recordBytes('disks/a', 7, 8_192, 8_192), recordBytes('disks/a', 9, 8_192, 8_192)];
  const torn = Buffer.concat([unknown.subarray(0, 4_096), last.subarray(4_096)]);
  assert.deepEqual(acknowledged('disks/a', place, torn), torn);
  assert.deepEqual(acknowledged('disks/a', place, Buffer.alloc(8_192)), last);
});
