import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ticks } from './axis.ts';

const pixels = 880;
/** A little more than the width of a letter on the axis. */
const letterWidth = 7;

test('labels of the time axis never overlap at any length, and there are at least three', () => {
  for (let lengthMs = 400; lengthMs < 4 * 86_400_000; lengthMs *= 1.07) {
    const labels = ticks(0, lengthMs, pixels);
    assert.ok(labels.length >= 3, `${lengthMs} ms: ${labels.length} labels`);
    assert.equal(new Set(labels.map(({ label }) => label)).size, labels.length, `${lengthMs} ms: twice the same`);
    for (const [n, { atMs, label }] of labels.slice(1).entries()) {
      const before = labels[n];
      assert.ok(before !== undefined && atMs <= lengthMs);
      const apart = ((atMs - before.atMs) / lengthMs) * pixels;
      const wide = ((label.length + before.label.length) / 2) * letterWidth;
      assert.ok(apart > wide, `${lengthMs} ms: ${before.label} and ${label} are ${apart} pixels apart`);
    }
  }
});

test('labels are round times in one unit', () => {
  const labels = (lengthMs: number) => ticks(0, lengthMs, pixels).map(({ label }) => label);
  assert.deepEqual(labels(1_000).slice(0, 3), ['0.0 s', '0.1 s', '0.2 s']);
  assert.deepEqual(labels(9_200).slice(0, 3), ['0 s', '1 s', '2 s']);
  assert.deepEqual(labels(30_200), ['0 s', '5 s', '10 s', '15 s', '20 s', '25 s', '30 s']);
  assert.deepEqual(labels(600_200), [
    '0 min',
    '1 min',
    '2 min',
    '3 min',
    '4 min',
    '5 min',
    '6 min',
    '7 min',
    '8 min',
    '9 min',
    '10 min',
  ]);
});

test('an axis that starts before its zero has negative labels', () => {
  const labels = ticks(-3_100, 6_000, pixels).map(({ atMs, label }) => [atMs, label]);
  assert.deepEqual(labels.slice(0, 5), [
    [-3_000, '−3 s'],
    [-2_000, '−2 s'],
    [-1_000, '−1 s'],
    [0, '0 s'],
    [1_000, '1 s'],
  ]);
});
