import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { powerOf } from './power.ts';
import { activityLog, loss, lossMs, row } from './test-group.ts';

const statesOf = (log: readonly JsonObject[], isStopping = false): readonly string[] =>
  powerOf(log, isStopping).map(({ atMs, state, reason, isDecision }) =>
    `${state} ${atMs - lossMs} ${reason}${isDecision === true ? ' decided' : ''}`.trim(),
  );

test('every stop by the platform begins with its decision and ends when the machine was off', () => {
  assert.deepEqual(statesOf(activityLog), [
    'starting -59900',
    'running -58000',
    'stopping 500 KEY_DISABLED',
    'stopped 1200 KEY_DISABLED',
    'starting 5000',
    'start-failed 5100 KEY_DISABLED',
    'starting 25000',
    'running 26000',
    'stopping 40000 KEY_DELETED',
    'stopped 40500 KEY_DELETED',
  ]);
});

test('a stop without a recorded end is marked as a decision, unless the machine is being stopped now', () => {
  const log = activityLog.slice(0, 4);
  const started = [row(2_000, 'start/action', 'STARTED'), row(2_100, 'start/action', 'SUCCEEDED')];
  assert.deepEqual(statesOf([...log, ...started]).slice(2), [
    'stopped 500 KEY_DISABLED decided',
    'starting 2000',
    'running 2100',
  ]);
  assert.deepEqual(statesOf(log).slice(2), ['stopped 500 KEY_DISABLED decided']);
  assert.deepEqual(statesOf(log, true).slice(2), ['stopping 500 KEY_DISABLED']);
});

test('a loss during a start is one stop, from its decision to its end', () => {
  assert.deepEqual(
    statesOf([
      ...activityLog.slice(0, 3),
      row(0, 'restart/action', 'STARTED', {}, 'restart'),
      row(10, 'restart/action', 'ACCEPTED', {}, 'restart'),
      row(20, 'restart/action', 'FAILED', { cause: 'KEY_DISABLED', statusCode: 'KEY_DISABLED' }, 'restart'),
      row(20, 'healthEvent', 'ACTIVE', loss),
      row(90, 'healthEvent', 'SUCCEEDED', loss),
    ]).slice(2),
    ['stopping 0', 'stopped 10', 'starting 10', 'stopping 20 KEY_DISABLED', 'stopped 90 KEY_DISABLED'],
  );
});

test('actions of the user and guests that end by themselves have no reason; attaching a disk does not start a machine', () => {
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
      row(70, 'start/action', 'SUCCEEDED'),
      row(80, 'healthEvent', 'ACTIVE', { availability: 'Unavailable', cause: 'HOST_RESTARTED' }),
      row(90, 'healthEvent', 'SUCCEEDED', { availability: 'Unavailable', cause: 'HOST_RESTARTED' }),
      row(100, 'deallocate/action', 'SUCCEEDED'),
      row(110, 'delete', 'SUCCEEDED'),
    ]).slice(2),
    [
      ...['stopping 0', 'stopped 10', 'starting 10', 'running 20', 'stopped 40', 'running 70'],
      ...['stopping 80', 'stopped 90', 'deallocated 100', 'deleted 110'],
    ],
  );
});

test('an ultra machine that keeps running, and a further loss of a stopped machine, are not stops', () => {
  const degraded = row(100, 'healthEvent', 'ACTIVE', { availability: 'Degraded', cause: 'KEY_DISABLED' });
  assert.deepEqual(statesOf([...activityLog.slice(0, 3), degraded]).slice(1), ['running -58000']);
  const further = row(1_700, 'healthEvent', 'ACTIVE', { availability: 'Unavailable', cause: 'KEY_DELETED' });
  assert.deepEqual(statesOf([...activityLog.slice(0, 5), further]).slice(2), [
    'stopping 500 KEY_DISABLED',
    'stopped 1200 KEY_DISABLED',
  ]);
});
