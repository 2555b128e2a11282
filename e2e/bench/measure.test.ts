import assert from 'node:assert/strict';
import { test } from 'node:test';
import { growth, lineOf, measurement, median, percentile, withProcesses } from './measure.ts';

test('percentile and median interpolate between samples', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(percentile([0, 10], 0.95), 9.5);
  assert.throws(() => median([]), RangeError);
});

test('growth compares the last quarter with the second quarter', () => {
  assert.equal(growth([10, 100, 100, 100, 100, 100, 100, 100]), 1);
  assert.equal(growth([100, 110, 120, 130, 140, 150, 160, 180]), 170 / 125);
  assert.equal(growth([100, 50]), 0.5);
  assert.equal(growth([7]), 1);
  assert.throws(() => growth([]), RangeError);
});

test('a line of a run with two replicas says so', () => {
  const one = measurement({ bench: 'b', size: 1, unit: 'ms' }, [20], [10]);
  assert.deepEqual([withProcesses(one, {}), withProcesses(one, { replicas: 1 })], [one, one]);
  assert.equal(withProcesses(one, { replicas: 2 }).of, '2 of each service');
  assert.equal(withProcesses({ ...one, of: 'p99 of read' }, { replicas: 2 }).of, 'p99 of read, 2 of each service');
  assert.equal(withProcesses(one, { replicas: 2, diskHosts: 1 }).of, '2 of each service, 1 disk host');
  assert.equal(withProcesses(one, { diskHosts: 4 }).of, '4 disk hosts');
  assert.equal(withProcesses(one, { diskHosts: 4, vmHosts: 1 }).of, '4 disk hosts, 1 VM host');
});

test('the ratio of a measurement is the ratio of the medians', () => {
  const { value, floor, ratio, spread, samples } = measurement(
    { bench: 'b', size: 1, unit: 'ms' },
    [20, 30, 40],
    [10, 15, 20],
  );
  assert.deepEqual(
    { value, floor, ratio, spread, samples },
    { value: 30, floor: 15, ratio: 2, spread: 0.6667, samples: 3 },
  );
});

test('a line of a smoke run starts with smoke: true', () => {
  const one = measurement({ bench: 'b', size: 1, unit: 'ms' }, [20], [10]);
  assert.deepEqual(JSON.parse(lineOf(one, false)), one);
  assert.match(lineOf(one, true), /^\{"smoke":true,"bench":"b",/);
});
