import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VmEvent } from './events.ts';
import { applyKeyLoss, stopForKeyLoss } from './key-loss.ts';
import { diskKeyReplaced, keyAccessReturned } from './key-return.ts';
import { attach, deallocate, powerOff, start } from './operations.ts';
import { deallocated, disksClosed, disksOpened, guestStopped, startFailed } from './progress.ts';
import type { Vm } from './state.ts';
import { ask, at, disk, fold, openedAt, running, setOf, version1, version2, work } from './test-machine.ts';

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
  return state.status === 'active' && state.power.state;
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

test('CMK-120: a return ends losses up to its number, and the end of an outage ends no loss of a key', () => {
  const returnOf = (ends: number | 'outages') => typesOf(keyAccessReturned(at, { ...key, ends }, restart)(fold(off)));
  assert.deepEqual(returnOf(5), []);
  assert.deepEqual(returnOf(6), ['KeyAccessReturned', 'VmStarting']);
  assert.deepEqual(returnOf('outages'), []);
  const silent = { reason: 'KEY_VAULT_UNREACHABLE', ...key, since: at, traceId: '', accessEpoch: 6 } as const;
  const stopped = then(
    running([os, data]),
    stopForKeyLoss({ loss: silent, work: work('keyStop', 'k'), isInstant: false }),
    guestStopped(at, 'k'),
  );
  const back = keyAccessReturned(at, { ...key, ends: 'outages' }, restart)(fold(stopped));
  assert.deepEqual(typesOf(back), ['KeyAccessReturned', 'VmStarting']);
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
  const bare = then(off, (): readonly VmEvent[] => [{ type: 'DiskDetachedFromVm', disk: os.disk, at }]);
  assert.deepEqual(typesOf(keyAccessReturned(at, key, restart)(fold(bare))), ['KeyAccessReturned']);
});

const second = disk('second', 3, 'PREMIUM_SSD', 'des');
const underNew = ({ disk: name }: typeof data) => ({ ...key, disk: name, keyVersion: version2, diskVersion: 7 });
const bothOff = then(running([os, data, second]), lose, guestStopped(at, 'k'));

test('CMK-121, autoRestart: a machine starts when the last of its disks has come under another key, once', () => {
  assert.deepEqual(typesOf(diskKeyReplaced(at, underNew(data))(fold(bothOff))), ['DiskKeyChanged'], 'CMK-125');
  const one = then(bothOff, diskKeyReplaced(at, underNew(data), restart));
  assert.equal(powerAfter(one), 'stopped');
  assert.deepEqual(
    diskKeyReplaced(at, underNew(data), restart)(fold(one)),
    [],
    'told again while the other is to move',
  );
  const both = then(one, diskKeyReplaced(at, underNew(second), restart));
  assert.equal(powerAfter(both), 'starting');
  assert.deepEqual(diskKeyReplaced(at, underNew(second), restart)(fold(both)), []);
});

test('CMK-121, autoRestart: a disk whose key blocked no machine, and a machine its user wants off, start nothing', () => {
  const [moved] = diskKeyReplaced(at, { ...underNew(other), ...otherKey, keyVersion: version2 }, restart)(fold(off));
  assert.equal(moved?.type === 'DiskKeyChanged' && moved.owesStart, undefined);
  const keptOff = then(bothOff, powerOff(ask('p'), { isHard: false }));
  const replaced = then(
    keptOff,
    diskKeyReplaced(at, underNew(data), restart),
    diskKeyReplaced(at, underNew(second), restart),
  );
  assert.equal(powerAfter(replaced), 'stopped');
});

test('CMK-121, autoRestart: with another key lost the start is owed, and made up for by whatever clears it', () => {
  const owing = then(off, diskKeyReplaced(at, underNew(data), { ...restart, isClear: false }));
  assert.equal(powerAfter(owing), 'stopped');
  assert.deepEqual(typesOf(keyAccessReturned(at, otherKey, restart)(fold(owing))), ['VmStarting']);
  assert.deepEqual(typesOf(diskKeyReplaced(at, underNew(data), restart)(fold(owing))), ['VmStarting']);
});

test('CMK-121, autoRestart: a disk that moves while the machine is still stopping starts it once it is off', () => {
  const moved = then(stopping, diskKeyReplaced(at, underNew(data), restart));
  assert.deepEqual(typesOf(guestStopped(at, 'k')(fold(moved))), ['VmStopped', 'VmStarting']);
  const owing = then(stopping, diskKeyReplaced(at, underNew(data), { ...restart, isClear: false }));
  assert.deepEqual(typesOf(guestStopped(at, 'k')(fold(owing))), ['VmStopped']);
  const late = then(owing, diskKeyReplaced(at, underNew(data), restart));
  assert.deepEqual(typesOf(guestStopped(at, 'k')(fold(late))), ['VmStopped', 'VmStarting']);
});

const extra = disk('extra', 4, 'PREMIUM_SSD', 'elsewhere');
const loseOther = stopForKeyLoss({
  loss: { reason: 'KEY_DELETED', ...otherKey, since: at, traceId: '', accessEpoch: 7 },
  work: work('keyStop', 'k'),
  isInstant: false,
});
/** Stopped by the loss of a disk that was just being attached, while the key of its own disk is lost as well. */
const cutOff = then(
  running([os, data]),
  attach(ask('a'), extra, 64),
  disksOpened(at, 'a', openedAt(5, [extra])),
  loseOther,
  guestStopped(at, 'k'),
  applyKeyLoss({
    loss: { reason: 'KEY_DISABLED', ...key, since: at, traceId: '', accessEpoch: 8 },
    work: work('keyStop', 'k2'),
    isInstant: false,
  }),
);

test('G10: what a stop has left half attached blocks nothing once it is freed', () => {
  const freed = fold(then(cutOff, disksClosed(at)));
  assert.ok(freed.status === 'active');
  assert.deepEqual(
    freed.blocked.map(({ disk: name }) => name),
    [data.disk],
  );
});

test('autoRestart: what a stop has left half attached keeps no machine from starting again', () => {
  for (const history of [cutOff, then(cutOff, disksClosed(at))]) {
    assert.equal(powerAfter(then(history, keyAccessReturned(at, key, restart))), 'starting');
    assert.equal(powerAfter(then(history, diskKeyReplaced(at, underNew(data), restart))), 'starting');
  }
});
