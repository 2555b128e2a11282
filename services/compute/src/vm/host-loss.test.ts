import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evolve } from './decider.ts';
import type { VmEvent } from './events.ts';
import { type HostStop, hostDrained, hostLost } from './host-loss.ts';
import type { KeyLoss } from './machine.ts';
import { powerOff } from './operations.ts';
import { guestStopped, placed } from './progress.ts';
import type { Machine, Vm } from './state.ts';
import { ask, at, disk, fold, lossOf, running, specFor, stopped, work } from './test-machine.ts';

const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const host = 'vmHosts/vm-host-0';
const stop: HostStop = { host, work: work('guestEnded', 'stop'), startsAgain: work('start', 'again') };

/** A machine that runs at the host. */
const atHost = (number = 1, more: readonly VmEvent[] = []): Vm => {
  const events = running([os]);
  const placement = { type: 'VmPlaced', host, number, at } as const;
  return fold([...events.slice(0, -1), placement, ...events.slice(-1), ...more]);
};

const asRestarted = (state: Vm): Vm => {
  assert.ok(state.status === 'active');
  return { ...state, spec: { ...specFor([os]), hostLossPolicy: 'RESTART' } };
};

const after = (state: Vm, events: readonly VmEvent[]): Machine => {
  const now = events.reduce(evolve, state);
  assert.ok(now.status === 'active');
  return now;
};

test('G2: the loss of its VM host stops a machine that runs there, and no other', () => {
  assert.deepEqual(hostLost(stop)(atHost()), [{ type: 'VmStopping', work: stop.work, end: 'HOST_LOST', at }]);
  assert.deepEqual(hostLost({ ...stop, host: 'vmHosts/vm-host-1' })(atHost()), []);
  assert.deepEqual(hostLost(stop)(fold(stopped([os]))), []);
  assert.deepEqual(hostLost(stop)(fold(running([os]))), [], 'compute ran its guest itself');
});

test('VM-42: a machine stays off after the loss of its host, or starts at another one, as its owner wants', () => {
  const stays = after(atHost(), hostLost(stop)(atHost()));
  assert.deepEqual(guestStopped(at, 'stop', true)(stays), [{ type: 'VmStopped', isFenced: true, at }]);
  const restarted = asRestarted(atHost());
  const starts = after(restarted, hostLost(stop)(restarted));
  assert.deepEqual(guestStopped(at, 'stop', true)(starts), [
    { type: 'VmStopped', isFenced: true, at },
    { type: 'VmStarting', work: { ...stop.startsAgain, at }, from: 'stopped', at },
  ]);
});

test('a machine starts elsewhere when its host is emptied, unless a lost key would fail that start or other work is under way', () => {
  const drained = after(atHost(), hostDrained(stop)(atHost()));
  assert.deepEqual(
    guestStopped(at, 'stop')(drained).map(({ type }) => type),
    ['VmStopped', 'VmStarting'],
  );
  const blocked: readonly KeyLoss[] = [{ ...lossOf('des', 9), disk: os.disk }];
  assert.deepEqual(hostDrained(stop)(atHost(1, [{ type: 'NextStartBlocked', id: 'n', blocked, at }])), []);
  assert.deepEqual(hostDrained(stop)(atHost(1, [{ type: 'VmStopping', work: work('powerOff'), at }])), []);
});

test('VM-12: its user keeps a machine off that would start at another host', () => {
  const drained = after(atHost(), hostDrained(stop)(atHost()));
  const kept = powerOff(ask('user'), { isHard: false })(drained);
  assert.deepEqual(kept, [{ type: 'VmKeptOff', at }]);
  assert.deepEqual(guestStopped(at, 'stop')(after(drained, kept)), [{ type: 'VmStopped', at }]);
});

test('VM-20: the loss of the host replaces the operation of a machine, except its deletion', () => {
  const detaching = {
    type: 'DiskDetaching',
    disk: os.disk,
    work: { ...work('detach', 'd'), disk: os.disk },
    at,
  } as const;
  const [stopping] = hostLost(stop)(atHost(1, [detaching]));
  assert.ok(stopping?.type === 'VmStopping');
  assert.deepEqual([stopping.preempted?.operationId, stopping.preempted?.code], ['d', 'VM_HOST_LOST']);
  assert.deepEqual(hostLost(stop)(atHost(1, [{ type: 'VmDeleting', work: work('delete'), at }])), []);
});

test('the number of a placement rises with each start, also above one that the host knows from a lost record', () => {
  const begun: readonly VmEvent[] = [{ type: 'VmStarting', work: work('start', 's'), from: 'stopped', at }];
  const first = fold([...stopped([os]), ...begun]);
  assert.deepEqual(placed(at, 's', host)(first), [{ type: 'VmPlaced', host, number: 1, at }]);
  const second = after(first, placed(at, 's', host)(first));
  assert.deepEqual(placed(at, 's', host)(second), [{ type: 'VmPlaced', host, number: 2, at }]);
  assert.deepEqual(placed(at, 's', host, 7)(second), [{ type: 'VmPlaced', host, number: 8, at }]);
  assert.deepEqual(placed(at, 'other work', host)(second), []);
});
