import assert from 'node:assert/strict';
import { test } from 'node:test';
import { positionRanges } from './position-ranges.ts';

test('reach continues to the last position without a gap, in whatever order positions were added', () => {
  const ranges = positionRanges();
  for (const positions of [[1, 2], [6], [3, 4, 5], [], [9]]) ranges.add(positions);
  assert.equal(ranges.reach(0), 6);
  assert.equal(ranges.reach(6), 6, 'positions 7 and 8 belong to another process');
  assert.equal(ranges.reach(8), 9);
  assert.equal(ranges.reach(9), 9);
});

test('reach from inside a range continues to its end, and drops the positions up to there', () => {
  const ranges = positionRanges();
  ranges.add([4, 5, 6]);
  ranges.add([8]);
  assert.equal(ranges.reach(5), 6);
  assert.equal(ranges.reach(3), 3);
  assert.equal(ranges.reach(7), 8);
});
