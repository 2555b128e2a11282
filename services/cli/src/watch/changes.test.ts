import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changesBetween, newest } from './changes.ts';
import type { Reading } from './reading.ts';
import { lost, machineRow, short, unreachable, working } from './test-readings.ts';

const lines = (before: Reading, now: Reading) =>
  changesBetween(before, now, short).map(
    ({ time, subject, text, kind }) => `${time.slice(11, 21)} ${subject} ${text} (${kind})`,
  );

test('an access loss is reported for its set, lease and machine, each with its own time, in order of time', () => {
  assert.deepEqual(lines(working(0), lost(1)), [
    '12:00:00.4 des1 access to kv1/k1 LOST: KEY_DISABLED (loss)',
    '12:00:00.9 vm1 STOPPED: KEY_DISABLED (loss)',
    '12:00:01.0 des1 lease LOST: KEY_DISABLED (loss)',
  ]);
});

test('nothing is reported without a change, and counters alone are not a change', () => {
  assert.deepEqual(lines(working(0), working(1)), []);
  const busy = working(1, { machines: [machineRow('vm1', { operations: 900, failures: 3 }), machineRow('vm2')] });
  assert.deepEqual(lines(working(0), busy), []);
});

test('a content mismatch, a new machine and a deleted one are reported', () => {
  const now = working(1, { machines: [machineRow('vm1', { mismatches: 2 }), machineRow('vm3')] });
  assert.deepEqual(lines(working(0), now), [
    '12:00:01.0 vm1 2 reads returned other bytes than were written (loss)',
    '12:00:01.0 vm2 deleted (other)',
    '12:00:01.0 vm3 created (other)',
  ]);
});

test('while all services are down only that is reported, and other changes once they respond', () => {
  const before = lost(0);
  const down = lines(before, unreachable(1));
  assert.equal(down.length, 5);
  assert.ok(down.every((line) => line.endsWith('not responding (loss)')));
  const known = newest(before, unreachable(1));
  assert.deepEqual([known.sets, known.leases, known.machines], [before.sets, before.leases, before.machines]);
  const up = lines(known, working(9));
  assert.deepEqual(
    up.filter((line) => !line.includes('responds')),
    [
      '10:00:00.0 des1 access to kv1/k1 AVAILABLE (return)',
      '11:00:00.0 vm1 RUNNING (return)',
      '12:00:09.0 des1 lease HELD (return)',
    ],
  );
  assert.equal(up.filter((line) => line.endsWith('responds (return)')).length, 5);
});
