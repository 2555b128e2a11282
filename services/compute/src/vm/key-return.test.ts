import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Vm } from './decider.ts';
import type { VmEvent } from './events.ts';
import { stopForKeyLoss } from './key-loss.ts';
import { keyAccessReturned } from './key-return.ts';
import { deallocate, detach, powerOff, start } from './operations.ts';
import { deallocated, guestStopped, startFailed } from './progress.ts';
import { ask, at, disk, fold, running, setOf, version1, version2, work } from './test-machine.ts';

const os = disk('os', 0, 'PREMIUM_SSD');
const data = disk('data', 1, 'PREMIUM_SSD', 'des');
const other = disk('other', 2, 'PREMIUM_SSD', 'elsewhere');
const key = { set: setOf('des'), keyVersion: version1 };
const otherKey = { set: setOf('elsewhere'), keyVersion: version1 };
const restart = { work: { ...work('start', 'again'), kind: 'start' }, isClear: true } as const;
const then = (history: readonly VmEvent[], ...commands: readonly ((vm: Vm) => readonly VmEvent[])[]) =>
  commands.reduce((events, command) => events.concat(command(fold(events))), history);
const lose = stopForKeyLoss({
  loss: { reason: 'KEY_DISABLED', ...key, since: at, traceId: '', accessEpoch: 6 },
  work: work('keyStop', 'k'),
  isInstant: false,
});
const stopping = then(running([os, data, other]), lose);
const off = then(stopping, guestStopped(at, 'k'));
const typesOf = (events: readonly VmEvent[]) => events.map(({ type }) => type);
const powerAfter = (events: readonly VmEvent[]) => {
  const state = fold(events);
  return state.status === 'active' && state.power;
};

test('autoRestart: a machine that a lost key stopped starts again, once for one return', () => {
  assert.deepEqual(typesOf(keyAccessReturned(at, key, restart)(fold(off))), ['KeyAccessReturned', 'VmStarting']);
  const started = then(off, keyAccessReturned(at, key, restart));
  assert.deepEqual(keyAccessReturned(at, key, restart)(fold(started)), []);
  const failure = {
    operation: 'start',
    operationId: 'again',
    status: 'UNAVAILABLE',
    code: 'X',
    message: '',
    at,
  } as const;
  const failed = then(started, startFailed(at, 'again', failure, []));
  assert.equal(powerAfter(failed), 'stopped');
  assert.deepEqual(keyAccessReturned(at, key, restart)(fold(failed)), []);
});

test('CMK-125: without it nothing starts', () => {
  assert.deepEqual(typesOf(keyAccessReturned(at, key)(fold(off))), ['KeyAccessReturned']);
});

test('autoRestart: a key that returns while the machine is still stopping starts it once it is off', () => {
  const returned = then(stopping, keyAccessReturned(at, key, restart));
  assert.equal(powerAfter(returned), 'stopping');
  assert.deepEqual(typesOf(guestStopped(at, 'k')(fold(returned))), ['VmStopped', 'VmStarting']);
  const keptOff = then(returned, powerOff(ask('p'), { isHard: false }));
  assert.deepEqual(typesOf(guestStopped(at, 'k')(fold(keptOff))), ['VmStopped']);
});

test('autoRestart: what its user asked for since counts: off stays off, deallocated stays deallocated', () => {
  for (const before of [stopping, off]) {
    const keptOff = then(before, powerOff(ask('p'), { isHard: false }), guestStopped(at, 'k'));
    assert.deepEqual(typesOf(keyAccessReturned(at, key, restart)(fold(keptOff))), ['KeyAccessReturned']);
    assert.deepEqual(powerOff(ask('p2'), { isHard: false })(fold(keptOff)), []);
  }
  const given = then(off, deallocate(ask('d')), deallocated(at, 'd'));
  assert.deepEqual(typesOf(keyAccessReturned(at, key, restart)(fold(given))), ['KeyAccessReturned']);
  const poweredOff = then(running([os, data]), powerOff(ask('p'), { isHard: false }), guestStopped(at, 'p'), lose);
  assert.deepEqual(keyAccessReturned(at, key, restart)(fold(poweredOff)), []);
});

test('autoRestart: with another key lost it starts when that one returns as well', () => {
  const owing = then(off, keyAccessReturned(at, key, { ...restart, isClear: false }));
  assert.equal(powerAfter(owing), 'stopped');
  assert.deepEqual(keyAccessReturned(at, { ...otherKey, keyVersion: version2 }, restart)(fold(owing)), []);
  assert.deepEqual(typesOf(keyAccessReturned(at, otherKey, restart)(fold(owing))), ['VmStarting']);
  const asked = then(owing, start(ask('s')));
  assert.deepEqual(keyAccessReturned(at, otherKey, restart)(fold(asked)), []);
});

test('autoRestart: a machine without an OS disk cannot start, so it does not', () => {
  const bare = then(
    off,
    (): readonly VmEvent[] => [{ type: 'DiskDetachedFromVm', disk: os.disk, at }],
    detach(ask('x'), 'none'),
  );
  assert.deepEqual(typesOf(keyAccessReturned(at, key, restart)(fold(bare))), ['KeyAccessReturned']);
});
