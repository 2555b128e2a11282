import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logger, systemClock } from '@interlock/runtime';
import type { FoundGuest } from '../guests/guests.ts';
import type { VmEvent } from '../vm/events.ts';
import type { Vm } from '../vm/state.ts';
import { at, disk, fold, running, vm, work } from '../vm/test-machine.ts';
import { detachLeft, endOrphans } from './orphans.ts';

const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const host = 'vmHosts/a';

/** A machine with placement 2 at the host, in this state. */
const placedAt = (more: readonly VmEvent[] = []): Vm =>
  fold([...running([os]), { type: 'VmPlaced', host, number: 2, at }, ...more]);
const off: readonly VmEvent[] = [
  { type: 'VmStopping', work: work('powerOff'), at },
  { type: 'VmStopped', at },
];

/** What is done with a guest, or with files, that was found. */
const doneWith = async (record: Vm, found: Partial<FoundGuest['at'] & object> | undefined, isRunning = true) => {
  const done: string[] = [];
  const machineId = record.status === 'active' ? record.uniqueId : 'c';
  const guest: FoundGuest = {
    ...{ vm, isRunning },
    ...(found === undefined ? {} : { at: { machineId, host, number: 2, ...found } }),
    end: async () => void done.push('ended'),
    forget: async () => void done.push('forgotten'),
  };
  await endOrphans({
    vms: { load: async (id: string) => ({ id, state: record, version: 1 }) } as never,
    found: [guest],
    log: logger({ service: 'test', clock: systemClock, write: () => {} }),
    isOurs: () => true,
  });
  return done.join();
};

test('G2: a guest ends unless the record of its machine names it: the same machine, host and placement, and on', async () => {
  assert.equal(await doneWith(placedAt(), {}), '');
  assert.equal(await doneWith(placedAt(off), {}), 'ended', 'the machine is off');
  assert.equal(await doneWith(placedAt(), { number: 1 }), 'ended', 'the guest of an earlier start');
  assert.equal(await doneWith(placedAt(), { number: 3 }), 'ended', 'the store was restored to before its start');
  assert.equal(await doneWith(placedAt(), { host: 'vmHosts/b' }), 'ended', 'its machine runs elsewhere by now');
  assert.equal(await doneWith(placedAt(), { machineId: 'another' }), 'ended', 'another machine of that name');
  assert.equal(await doneWith({ status: 'absent' }, {}), 'ended');
  assert.equal(await doneWith(placedAt(), undefined), '', 'a guest of this process has no placement');
  assert.equal(await doneWith(placedAt(off), undefined), 'ended');
});

test('files of a machine stay at the host of its newest guest, also while it is off, and go from others', async () => {
  assert.equal(await doneWith(placedAt(off), {}, false), '');
  assert.equal(await doneWith(placedAt(off), { number: 1 }, false), '');
  assert.equal(await doneWith(placedAt(), { host: 'vmHosts/b' }, false), 'forgotten');
  assert.equal(await doneWith({ status: 'absent' }, {}, false), 'forgotten');
  assert.equal(await doneWith({ status: 'absent' }, undefined, false), '');
});

test('G5: a guest keeps no disk that its machine has not any more', async () => {
  const detached: unknown[] = [];
  const detach = async (...call: unknown[]): Promise<void> => void detached.push(call);
  const guest = { vm, machineId: 'id', placement: { host, number: 1 } };
  await detachLeft({ detach }, guest, ['kept', 'left'], { disks: [{ disk: 'kept' }, { disk: 'other' }], version: 7 });
  assert.deepEqual(detached, [[guest, 'left', 7]]);
});
