import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { category, type EventStore, memoryStore } from '@interlock/event-store';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import type { Disks } from '../disks.ts';
import { idleDriver } from '../drivers/idle-driver.ts';
import { openLosses } from '../losses.ts';
import { virtualMachines } from '../vm/decider.ts';
import { at, disk, lossOf, setOf, version1, vm, wishFor, work } from '../vm/test-machine.ts';
import { creation } from './creation.ts';

const cause = { correlationId: 'c', causationId: 'r', caller: 'system:test' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const loss = lossOf('des', 9);

test('G2: a loss stored between the last look of a creation and its commit stops the machine that was made', async () => {
  const store = memoryStore({ clock: systemClock, random: systemRandom });
  const watched: EventStore = {
    ...store,
    async commit(commit, why) {
      const types = (commit.appends ?? []).flatMap(({ events }) => events.map(({ type }) => type));
      if (types.includes('VmCreated')) await openLosses(store).remember(loss, cause);
      return store.commit(commit, why);
    },
  };
  const vms = category(watched, virtualMachines);
  const begun = { type: 'VmCreationBegun', wish: wishFor([os]), disks: [os], work: work('create', 'c'), at } as const;
  const loaded = await vms.transact(vm, () => [begun], cause);
  assert.ok(loaded.state.status === 'creating');
  const disks: Partial<Disks> = {
    async insist<Answer>() {
      return {} as Answer;
    },
    async open() {
      const keyOf = { diskEncryptionSet: setOf('des'), keyVersion: version1, accessEpoch: 8 };
      return { ...keyOf, attachEpoch: 2, diskVersion: 1, sku: 'PREMIUM_SSD', principal: '' } as OpenDiskResponse;
    },
  };
  const parts = {
    ...{ vms, disks: disks as Disks, driver: idleDriver(), losses: openLosses(watched), clock: systemClock },
    random: systemRandom,
    log: logger({ service: 'test', clock: systemClock, write: () => {} }),
    measureStops: () => {},
    startTimeoutMs: Number.MAX_SAFE_INTEGER / 2,
    guestStopTimeoutMs: 0,
  };
  const context = { signal: new AbortController().signal, settled: async () => {}, loaded };
  const known = await creation(parts)(vm, loaded.state, context);
  assert.equal(known, undefined, 'the step does not know the machine as it is then');
  const { state } = await vms.load(vm);
  assert.ok(state.status === 'active');
  assert.equal(state.power, 'stopping');
  assert.equal(state.stopReason?.accessEpoch, loss.accessEpoch);
});
