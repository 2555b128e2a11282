import assert from 'node:assert/strict';
import { test } from 'node:test';
import { category, memoryStore } from '@interlock/event-store';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import type { Disks } from '../disk-service/disks.ts';
import { ownGuests } from '../guests/guests.ts';
import { idleDriver } from '../guests/idle-driver.ts';
import type { StopOrder, VmHost } from '../guests/vm-host.ts';
import { openLosses } from '../losses/losses.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import type { WorkKind } from '../vm/machine.ts';
import { at, disk, lossOf, running, vm, work } from '../vm/test-machine.ts';
import { nextProcess } from './table.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const guestStopTimeoutMs = 7_000;

/** How the guest of a running machine is ended by this work. */
const stopOrderOf = async (begun: VmEvent): Promise<StopOrder> => {
  const orders: StopOrder[] = [];
  const driver: VmHost = { ...idleDriver(), hasGuests: true, stop: async (_vm, order) => void orders.push(order) };
  const store = memoryStore({ clock: systemClock });
  const vms = category(store, virtualMachines);
  const loaded = await vms.transact(vm, () => [...running([os]), begun], cause);
  const disks: unknown = { insist: async () => undefined };
  const parts = {
    ...{
      vms,
      disks: disks as Disks,
      guests: ownGuests(driver),
      losses: openLosses(store),
      clock: systemClock,
      random: systemRandom,
    },
    ...{ guestStopTimeoutMs, measureStops: () => {}, startTimeoutMs: 0, isOurs: () => true },
    log: logger({ service: 'test', clock: systemClock, write: () => {} }),
  };
  const context = { signal: new AbortController().signal, settled: async () => {} };
  // Only its first step is of interest here.
  await nextProcess(parts, loaded)
    ?.carryOut(context)
    .catch(() => undefined);
  const [order] = orders;
  assert.ok(order);
  return order;
};

test('VM-12, VM-42: a guest has the time of a shutdown, and none with skip_shutdown; its host learns of a lost key', async () => {
  const patient = { graceMs: guestStopTimeoutMs, isKeyLost: false };
  const stopping = (kind: WorkKind, isHard = false): VmEvent => ({
    type: 'VmStopping',
    work: { ...work(kind), isHard },
    at,
  });
  assert.deepEqual(await stopOrderOf(stopping('powerOff')), patient);
  assert.deepEqual(await stopOrderOf(stopping('powerOff', true)), { ...patient, graceMs: 0 });
  assert.deepEqual(await stopOrderOf(stopping('restart')), patient);
  assert.deepEqual(await stopOrderOf({ type: 'VmDeallocating', work: work('deallocate'), at }), patient);
  const reason = { ...lossOf('des', 9), disk: os.disk };
  const keyStop: VmEvent = { type: 'VmStopping', work: work('keyStop'), reason, at };
  assert.deepEqual(await stopOrderOf(keyStop), { ...patient, isKeyLost: true });
});
