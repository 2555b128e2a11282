import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timeScale } from './time-scale.ts';

const parts = { fromMs: 1_000, toMs: 21_000, left: 100, width: 1_000 };

test('without a fold, or with one near the start or the end, time is linear', () => {
  for (const foldMs of [undefined, 20_000, 500]) {
    const { x, labels, foldAt } = timeScale({ ...parts, foldMs });
    assert.deepEqual([x(1_000), x(11_000), x(21_000), foldAt], [100, 600, 1_100, undefined]);
    assert.equal(labels[0]?.label, '0 s');
  }
});

test('time after a fold is drawn closer together, in order, and ends at the same place', () => {
  const { x, msPerPixel, beginOf, labels, foldAt } = timeScale({ ...parts, foldMs: 7_000 });
  assert.equal(x(1_000), 100);
  assert.deepEqual([beginOf(6_999), beginOf(7_000), beginOf(20_000)], [1_000, 7_000, 7_000]);
  assert.ok(Math.abs(x(6_999) - 820) < 1, 'the first six of twenty seconds have 72 of 100 pixels');
  assert.equal(Math.round(x(21_000)), 1_100);
  assert.ok(msPerPixel(8_000) > 5 * msPerPixel(2_000));
  const places = [1_000, 4_000, 6_999, 7_000, 14_000, 21_000].map(x);
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b),
  );
  assert.ok(foldAt !== undefined && foldAt > x(6_999) && foldAt < x(7_000));
  // Each label is at the place of its time, and no label covers another.
  for (const { at, label } of labels)
    assert.equal(Math.round(x(1_000 + Number.parseFloat(label) * 1_000)), Math.round(at));
  const gaps = labels.slice(1).map(({ at }, n) => at - (labels[n]?.at ?? 0));
  assert.ok(Math.min(...gaps) > 40, gaps.join());
});

test('labels can count from another zero', () => {
  const { x, labels } = timeScale({ ...parts, foldMs: undefined, zeroMs: 5_000 });
  const zero = labels.find(({ label }) => label === '0 s');
  assert.deepEqual([zero?.at, labels[0]?.label], [x(5_000), '−4 s']);
});
