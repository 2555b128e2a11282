import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cause, category, memoryStore } from '@interlock/event-store';
import { systemClock, systemRandom } from '@interlock/runtime';
import { virtualMachines } from '../vm/decider.ts';
import { disk, lossOf, running, setOf, stopped, version1 } from '../vm/test-machine.ts';
import { openLosses } from './losses.ts';
import { nextStarts } from './next-starts.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const os = disk('os', 0, 'PREMIUM_SSD');
const ultra = disk('ultra', 1, 'ULTRA', 'des');
const loss = lossOf('des', 6);

const openWorld = () => {
  const store = memoryStore({ clock: systemClock });
  const vms = category(store, virtualMachines);
  const losses = openLosses(store);
  const look = nextStarts({ vms, losses, clock: systemClock, random: systemRandom });
  return {
    vms,
    losses,
    store,
    look: async () => look((await vms.list({ limit: 10 })).items, cause),
    losesAt: async (id: string) => {
      const { state } = await vms.load(id);
      return state.status === 'active' ? state.blocked.map(({ accessEpoch }) => accessEpoch) : undefined;
    },
  };
};

test('CMK-102: the next sweep finds a machine that opened its ultra disk while the key was being lost, once', async () => {
  const { vms, losses, look, losesAt } = openWorld();
  await losses.remember(loss, { ...cause, correlationId: 'of the loss' });
  await vms.transact('a', () => running([os, ultra]), cause);
  await vms.transact('newer', () => running([os, ultra], 7), cause);
  await vms.transact('off', () => stopped([os, ultra]), cause);
  await vms.transact('other', () => running([os, { ...ultra, keyVersion: `${version1.slice(0, -1)}0` }]), cause);
  await vms.transact('ordinary', () => running([os, { ...ultra, sku: 'PREMIUM_SSD' }]), cause);
  await look();
  await look();
  const found = await Promise.all(['a', 'newer', 'off', 'other', 'ordinary'].map(losesAt));
  assert.deepEqual(found, [[6], [], [], [], []]);
  assert.equal((await vms.load('a')).version, 4);
});

test('CMK-102: the next sweep removes a recorded loss if access was restored', async () => {
  const { vms, losses, store, look, losesAt } = openWorld();
  await losses.remember(loss, cause);
  await vms.transact('a', () => running([os, ultra]), cause);
  await look();
  const rows = await losses.rowsForRestored(setOf('des'), version1, 7);
  await store.commit({ rows }, cause);
  await look();
  assert.deepEqual(await losesAt('a'), []);
});

test('the reconciliation of next starts leaves an outage unchanged', async () => {
  const { vms, look, losesAt } = openWorld();
  const blocked = [{ ...loss, reason: 'KEY_VAULT_UNREACHABLE', disk: ultra.disk, accessEpoch: 0 }] as const;
  await vms.transact('a', () => running([os, ultra]), cause);
  await vms.transact('a', () => [{ type: 'NextStartBlocked', id: 'x', blocked, at: 1 }], cause);
  await look();
  assert.deepEqual(await losesAt('a'), [0]);
});
