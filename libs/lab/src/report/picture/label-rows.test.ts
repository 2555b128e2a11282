import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelRows } from './label-rows.ts';

const rowsOf = (...at: readonly number[]) =>
  labelRows(
    at.map((x) => ({ label: 'key disabled', at: x })),
    1_000,
  ).map(({ row }) => row);

test('labels that would overlap get different rows, and a free row is used again', () => {
  assert.deepEqual(rowsOf(0, 200, 400), [0, 0, 0]);
  assert.deepEqual(rowsOf(0, 30, 60), [0, 1, 2]);
  assert.deepEqual(rowsOf(0, 30, 200, 230), [0, 1, 0, 1]);
});

test('near the right edge a label is left of its line, in a row below earlier labels', () => {
  const [first, last] = labelRows(
    [
      { label: 'key disabled', at: 880 },
      { label: 'key enabled', at: 990 },
    ],
    1_000,
  );
  assert.deepEqual([first?.isLeft, first?.row, last?.isLeft, last?.row], [false, 0, true, 1]);
});
