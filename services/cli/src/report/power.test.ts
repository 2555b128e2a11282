import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { powerOf } from './power.ts';
import { activityLog, lossMs, machine, row } from './test-group.ts';

const statesOf = (log: readonly JsonObject[], shown: JsonObject | undefined = undefined): readonly string[] =>
  powerOf(log, shown).map(({ atMs, state, reason }) => `${state} ${atMs - lossMs} ${reason}`.trim());

test('a stop by the platform begins with its decision and ends at the stop time of the machine', () => {
  assert.deepEqual(statesOf(activityLog, machine), [
    'running -58000',
    'stopping 500 KEY_DISABLED',
    'stopped 1200 KEY_DISABLED',
    'starting 5000',
    'start-failed 5100 KEY_DISABLED',
    'starting 25000',
    'running 26000',
  ]);
});

test('for a deleted machine the decision counts as its stop', () => {
  assert.deepEqual(
    statesOf([...activityLog.slice(0, 4), row(2_000, 'delete', 'STARTED'), row(2_100, 'delete', 'SUCCEEDED')]),
    ['running -58000', 'stopped 500 KEY_DISABLED', 'deleted 2100'],
  );
});

test('actions of the user have no reason, and attaching a disk does not start a machine', () => {
  assert.deepEqual(
    statesOf([
      ...activityLog.slice(0, 3),
      row(0, 'restart/action', 'STARTED'),
      row(10, 'restart/action', 'ACCEPTED'),
      row(20, 'restart/action', 'SUCCEEDED'),
      row(30, 'powerOff/action', 'STARTED'),
      row(40, 'powerOff/action', 'SUCCEEDED'),
      row(50, 'write', 'STARTED', {}, 'attach'),
      row(60, 'write', 'SUCCEEDED', {}, 'attach'),
      row(70, 'deallocate/action', 'SUCCEEDED'),
    ]),
    ['running -58000', 'stopped 0', 'running 20', 'stopped 40', 'deallocated 70'],
  );
});

test('an ultra machine that keeps running, and a further loss of a stopped machine, are not stops', () => {
  const degraded = row(100, 'healthEvent', 'ACTIVE', { availability: 'Degraded', cause: 'KEY_DISABLED' });
  assert.deepEqual(statesOf([...activityLog.slice(0, 3), degraded]), ['running -58000']);
  const further = row(700, 'healthEvent', 'ACTIVE', { availability: 'Unavailable', cause: 'KEY_DELETED' });
  assert.deepEqual(statesOf([...activityLog.slice(0, 4), further]), ['running -58000', 'stopped 500 KEY_DISABLED']);
});
