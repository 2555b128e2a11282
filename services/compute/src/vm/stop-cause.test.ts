import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VmEvent } from './events.ts';
import { instanceViewOf } from './instance-view.ts';
import { deallocate, powerOff, start } from './operations.ts';
import { ask, at, disk, fold, lossOf, running, vm, work } from './test-machine.ts';
import { vmOnWire } from './wire.ts';

const disks = [disk('os', 0, 'PREMIUM_SSD', 'des1')];
const reason = { ...lossOf('des1', 7), disk: disks[0]?.disk ?? '' };
const byKey: readonly VmEvent[] = [
  ...running(disks),
  { type: 'VmStopping', work: work('keyStop', 'k'), reason, blocked: [], at },
  { type: 'VmStopped', reason, at },
];
const byHost: readonly VmEvent[] = [
  ...running(disks),
  { type: 'VmStopping', work: work('guestEnded', 'g'), end: 'HOST_RESTARTED', at },
  { type: 'VmStopped', at },
];

/** Why a machine is off, as lists and the instance view show it. */
const causeOf = (events: readonly VmEvent[]) => {
  const loaded = { id: vm, state: fold(events), version: events.length };
  const { stopCause, stopReason, keyReturned } = vmOnWire(loaded);
  const [, power] = instanceViewOf(loaded).statuses;
  return { stopCause, reason: stopReason?.reason, keyReturned, message: power?.message ?? '' };
};
/** The events, followed by those of a request of the user. */
const after = (events: readonly VmEvent[], operation: (state: ReturnType<typeof fold>) => readonly VmEvent[]) => [
  ...events,
  ...operation(fold(events)),
];
const noCause = 'STOP_CAUSE_UNSPECIFIED';

test('VM-41: a machine shows its stop cause until it is starting, and again if that start fails', () => {
  const returned: VmEvent = { type: 'KeyAccessReturned', set: reason.set, keyVersion: reason.keyVersion, at };
  assert.deepEqual([causeOf(byKey).stopCause, causeOf(byHost).stopCause], ['KEY_LOST', 'HOST_RESTARTED']);
  for (const events of [[...byKey, returned], byHost]) {
    const starting = after(events, start(ask('s')));
    assert.deepEqual(causeOf(starting), { stopCause: noCause, reason: undefined, keyReturned: undefined, message: '' });
    const failure = {
      operation: 'start',
      operationId: 's',
      status: 'UNAVAILABLE',
      code: 'TIMED_OUT',
      message: '',
      at,
    } as const;
    const failed: VmEvent = { type: 'VmStartFailed', failure, blocked: [], at };
    assert.deepEqual(causeOf([...starting, failed]), causeOf(events));
  }
});

test('CMK-125: a machine shows no stop cause after its user powers it off or deallocates it', () => {
  for (const events of [byKey, byHost]) {
    const off = after(events, powerOff(ask('o'), { isHard: false }));
    assert.equal(causeOf(off).stopCause, noCause, 'powered off');
    assert.deepEqual(powerOff(ask('o2'), { isHard: false })(fold(off)), [], 'a repeat has no effect');
    for (const before of [events, off]) {
      const deallocating = after(before, deallocate(ask('d')));
      assert.equal(causeOf(deallocating).stopCause, noCause, 'is being deallocated');
      assert.equal(causeOf([...deallocating, { type: 'VmDeallocated', at }]).stopCause, noCause, 'is deallocated');
    }
  }
  assert.equal(causeOf(after(byHost, deallocate(ask('d')))).message, '');
});
