import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VmEvent } from './events.ts';
import { applyKeyLoss, stopForKeyLoss } from './key-loss.ts';
import { diskKeyReplaced, keyAccessReturned } from './key-return.ts';
import { attach, deallocate, powerOff, start } from './operations.ts';
import { deallocated, disksClosed, disksOpened, guestStopped, startFailed } from './progress.ts';
import type { Vm } from './state.ts';
import { ask, at, disk, diskOf, fold, openedAt, running, setOf, version1, version2, work } from './test-machine.ts';

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

test('autoRestart: a machine that a lost key stopped starts once per restored access, also if that start fails', () => {
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

test('CMK-125: without autoRestart, restored access starts no machine', () => {
  assert.deepEqual(typesOf(keyAccessReturned(at, key)(fold(off))), ['KeyAccessReturned']);
});

test('CMK-120: restored access ends losses up to its number; the end of an outage ends outages only', () => {
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

test('CMK-120, CMK-126: restored access ends the losses of that version of that set, and of no other', () => {
  const loss = { reason: 'KEY_DISABLED', since: at, traceId: '', accessEpoch: 6 } as const;
  const losses = [
    { ...loss, disk: diskOf('a'), set: setOf('des'), keyVersion: version1 },
    { ...loss, disk: diskOf('b'), set: setOf('des'), keyVersion: version2 },
    { ...loss, disk: diskOf('c'), set: setOf('other'), keyVersion: version1 },
  ] as const;
  const blocked = [...running([os, data]), { type: 'NextStartBlocked', id: 'n', blocked: losses, at } as const];
  const machine = fold(then(blocked, keyAccessReturned(at, losses[0])));
  assert.deepEqual(machine.status === 'active' && machine.blocked, losses.slice(1));
});

test('VM-46: a machine that is stopping when access is restored finishes stopping', () => {
  const returned = then(stopping, keyAccessReturned(at, key));
  assert.equal(powerAfter(returned), 'stopping');
  assert.deepEqual(typesOf(guestStopped(at, 'k')(fold(returned))), ['VmStopped']);
});

test('VM-46, autoRestart: if access is restored while the machine is stopping, the machine starts once it is off', () => {
  const returned = then(stopping, keyAccessReturned(at, key, restart));
  assert.equal(powerAfter(returned), 'stopping');
  assert.deepEqual(typesOf(guestStopped(at, 'k')(fold(returned))), ['VmStopped', 'VmStarting']);
  const keptOff = then(returned, powerOff(ask('p'), { isHard: false }));
  assert.deepEqual(typesOf(guestStopped(at, 'k')(fold(keptOff))), ['VmStopped']);
});

test('autoRestart: a machine that its user powered off or deallocated stays off when access is restored', () => {
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

test('autoRestart: with two keys lost, a machine starts when access to both is restored', () => {
  const owing = then(off, keyAccessReturned(at, key, { ...restart, isClear: false }));
  assert.equal(powerAfter(owing), 'stopped');
  assert.deepEqual(keyAccessReturned(at, { ...otherKey, keyVersion: version2 }, restart)(fold(owing)), []);
  assert.deepEqual(typesOf(keyAccessReturned(at, otherKey, restart)(fold(owing))), ['VmStarting']);
  const asked = then(owing, start(ask('s')));
  assert.deepEqual(keyAccessReturned(at, otherKey, restart)(fold(asked)), []);
});

test('autoRestart: a machine without an OS disk is not started', () => {
  const bare = then(off, (): readonly VmEvent[] => [{ type: 'DiskDetachedFromVm', disk: os.disk, at }]);
  assert.deepEqual(typesOf(keyAccessReturned(at, key, restart)(fold(bare))), ['KeyAccessReturned']);
});

const second = disk('second', 3, 'PREMIUM_SSD', 'des');
const underNew = ({ disk: name }: typeof data) => ({ ...key, disk: name, keyVersion: version2, diskVersion: 7 });
const bothOff = then(running([os, data, second]), lose, guestStopped(at, 'k'));

test('CMK-121, autoRestart: a machine starts once, when the last of its disks has moved to another key', () => {
  assert.deepEqual(typesOf(diskKeyReplaced(at, underNew(data))(fold(bothOff))), ['DiskKeyChanged'], 'CMK-125');
  const one = then(bothOff, diskKeyReplaced(at, underNew(data), restart));
  assert.equal(powerAfter(one), 'stopped');
  assert.deepEqual(
    diskKeyReplaced(at, underNew(data), restart)(fold(one)),
    [],
    'repeated while the other disk has not moved',
  );
  const both = then(one, diskKeyReplaced(at, underNew(second), restart));
  assert.equal(powerAfter(both), 'starting');
  assert.deepEqual(diskKeyReplaced(at, underNew(second), restart)(fold(both)), []);
});

test('CMK-121, autoRestart: a move starts nothing if the disk blocked nothing or the user powered the machine off', () => {
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

test('CMK-121, autoRestart: while another key is lost the start is owed; restored access or a repeated move starts it', () => {
  const owing = then(off, diskKeyReplaced(at, underNew(data), { ...restart, isClear: false }));
  assert.equal(powerAfter(owing), 'stopped');
  assert.deepEqual(typesOf(keyAccessReturned(at, otherKey, restart)(fold(owing))), ['VmStarting']);
  assert.deepEqual(typesOf(diskKeyReplaced(at, underNew(data), restart)(fold(owing))), ['VmStarting']);
});

test('CMK-121, autoRestart: if a disk moves while its machine is stopping, the machine starts once it is off', () => {
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
/** A machine that was stopped by the loss of a disk being attached, and whose attached disk then lost its key too. */
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

test('G10: a disk that a stop left half attached blocks nothing once it is free', () => {
  const freed = fold(then(cutOff, disksClosed(at)));
  assert.ok(freed.status === 'active');
  assert.deepEqual(
    freed.blocked.map(({ disk: name }) => name),
    [data.disk],
  );
});

test('autoRestart: a disk that a stop left half attached does not block a start', () => {
  for (const history of [cutOff, then(cutOff, disksClosed(at))]) {
    assert.equal(powerAfter(then(history, keyAccessReturned(at, key, restart))), 'starting');
    assert.equal(powerAfter(then(history, diskKeyReplaced(at, underNew(data), restart))), 'starting');
  }
});
