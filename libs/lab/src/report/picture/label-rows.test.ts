import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelRows } from './label-rows.ts';

const rowsOf = (...at: readonly number[]) =>
  labelRows(
    at.map((x) => ({ label: 'key disabled', kind: 'loss', at: x })),
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
      { label: 'key disabled', kind: 'loss', at: 880 },
      { label: 'key enabled', kind: 'return', at: 990 },
    ],
    1_000,
  );
  assert.deepEqual([first?.isLeft, first?.row, last?.isLeft, last?.row], [false, 0, true, 1]);
});

test('the same label again and again, close together, is written once with its number; its other lines start below it', () => {
  const mark = (at: number, label = 'machine started', kind = 'change') => ({ label, kind, at });
  const placed = labelRows([mark(0), mark(20), mark(40), mark(41, 'key disabled', 'loss'), mark(400)], 1_000);
  assert.deepEqual(
    placed.map(({ label, at, row }) => [label, at, row]),
    [
      ['machine started ×3', 0, 0],
      ['key disabled', 41, 1],
      ['machine started', 400, 0],
      ['', 20, 1],
      ['', 40, 1],
    ],
  );
});
