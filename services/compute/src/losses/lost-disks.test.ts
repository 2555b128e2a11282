import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { category, type MemoryStore, memoryStore, type RecordedEvent } from '@interlock/event-store';
import { systemClock, systemRandom } from '@interlock/runtime';
import type { Disks } from '../disk-service/disks.ts';
import { ownGuests } from '../guests/guests.ts';
import { idleDriver } from '../guests/idle-driver.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import type { KeyLoss } from '../vm/machine.ts';
import { at, disk, running, setOf, version1, vm, work } from '../vm/test-machine.ts';
import { openLosses } from './losses.ts';
import { type LostDiskParts, LostDisks } from './lost-disks.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const madeAgain: readonly VmEvent[] = [
  { type: 'VmDeleting', work: work('delete'), at },
  { type: 'VmDeleted', at },
  ...running([os]).map((event) => ({ ...event, at: at + 1 })),
];

for (const meanwhile of ['nothing happens', 'another machine and disk get the names'] as const) {
  test(`G2, G3: a disk without data stops only the machine that was read, where ${meanwhile}`, async () => {
    const store = memoryStore({ clock: systemClock });
    const vms = category(store, virtualMachines);
    await vms.transact(vm, () => running([os]), cause);
    const lost = { managedBy: vm, availability: 'UNAVAILABLE', unavailableReason: 'KEY_DISABLED' } as const;
    const found = Disk.fromPartial({ name: os.disk, keyVersion: version1, ...lost });
    const client = {
      async getDisk() {
        if (meanwhile !== 'nothing happens') await vms.transact(vm, () => madeAgain, cause);
        return found;
      },
    };
    const disks: Partial<Disks> = {
      insist: ((call: (asked: unknown, options: object) => Promise<unknown>) => call(client, {})) as Disks['insist'],
      async *ofSet() {
        yield found;
      },
    };
    const lostDisks = new LostDisks({
      ...{ vms, disks: disks as Disks, guests: ownGuests(idleDriver()), losses: openLosses(store) },
      ...{ clock: systemClock, random: systemRandom, isOurs: () => true, begin: () => {}, measure: () => {} },
    });
    const patience = { signal: new AbortController().signal };
    const stopped = await lostDisks.stopUnder({ diskEncryptionSet: setOf('des') }, undefined, patience);
    const { state } = await vms.load(vm);
    const isAsked = meanwhile === 'nothing happens';
    assert.deepEqual(
      [stopped, state.status === 'active' && state.power.state],
      [isAsked ? 1 : 0, isAsked ? 'stopped' : 'running'],
    );
  });
}

/** Stops the machines that have these disks, as the disk service shows them. @returns the stop of the only machine */
const stopOver = async (
  { store, vms }: { readonly store: MemoryStore; readonly vms: LostDiskParts['vms'] },
  found: readonly Disk[],
  changes: Partial<Pick<LostDiskParts, 'losses' | 'guests'>> = {},
): Promise<RecordedEvent | undefined> => {
  const client = { getDisk: async ({ name }: { readonly name: string }) => found.find((one) => one.name === name) };
  const disks: Partial<Disks> = {
    insist: ((call: (asked: unknown, options: object) => Promise<unknown>) => call(client, {})) as Disks['insist'],
    async *ofSet() {
      yield* found;
    },
  };
  const lostDisks = new LostDisks({
    ...{ vms, disks: disks as Disks, guests: ownGuests(idleDriver()), losses: openLosses(store), ...changes },
    ...{ clock: systemClock, random: systemRandom, isOurs: () => true, begin: () => {}, measure: () => {} },
  });
  await lostDisks.stopUnder({ diskEncryptionSet: setOf('des') }, undefined, { signal: new AbortController().signal });
  return (await store.read(`vm-${vm}`)).find(({ type }) => type === 'VmStopping');
};

for (const origin of [
  { cause: 'key-vaults/kv1/keys/k1@7', correlationId: 'of the revocation', traceparent: '' },
  undefined,
]) {
  const name = origin ? 'names the loss that the disk service knows' : 'names the open that ended, if no loss is known';
  test(`G10: a stop by the sweep ${name}`, async () => {
    const store = memoryStore({ clock: systemClock });
    const vms = category(store, virtualMachines);
    for (const event of running([os])) await vms.transact(vm, () => [event], cause);
    const opened = (await store.read(`vm-${vm}`)).findLast(
      ({ type }) => type === 'DisksOpened' || type === 'VmCreated',
    );
    const lost = { managedBy: vm, availability: 'UNAVAILABLE', unavailableReason: 'KEY_DISABLED' } as const;
    const found = Disk.fromPartial({
      name: os.disk,
      keyVersion: version1,
      ...lost,
      ...(origin && { unavailableOrigin: origin }),
    });
    const stop = await stopOver({ store, vms }, [found]);
    if (origin) assert.equal(stop?.cause.correlationId, origin.correlationId);
    const named = origin ? { id: origin.cause, kind: 'answer' } : { id: opened?.id, kind: 'timer' };
    assert.deepEqual(stop?.cause.causes, [named]);
  });
}

test('G10: a stop shows the time of the current loss, not of the earlier loss that took the data', async () => {
  const store = memoryStore({ clock: systemClock });
  const vms = category(store, virtualMachines);
  for (const event of running([os])) await vms.transact(vm, () => [event], cause);
  const lost = { managedBy: vm, availability: 'UNAVAILABLE', unavailableReason: 'ACCESS_DENIED' } as const;
  const found = Disk.fromPartial({ name: os.disk, keyVersion: version1, unavailableSince: new Date(at), ...lost });
  const known = {
    reason: 'ACCESS_DENIED',
    set: setOf('des'),
    keyVersion: version1,
    since: at + 500,
    traceId: 't',
  } as const;
  const losses = { of: async () => [{ ...known, accessEpoch: 1_000, isOver: false, cause }] };
  const stop = await stopOver({ store, vms }, [found], { losses });
  assert.deepEqual(stop?.data.reason, { ...known, disk: os.disk, accessEpoch: 1_000 });
});

test('G10: a stop for an outage that ends meanwhile names the refusal, and the cause of that refusal', async () => {
  const store = memoryStore({ clock: systemClock });
  const vms = category(store, virtualMachines);
  const data = disk('data', 2, 'PREMIUM_SSD', 'des');
  const ultra = disk('ultra', 1, 'ULTRA', 'des');
  for (const event of running([os, ultra, data])) await vms.transact(vm, () => [event], cause);
  const unavailable = (name: string, reason: Disk['unavailableReason']) =>
    Disk.fromPartial({
      ...{ name, keyVersion: version1, managedBy: vm, availability: 'UNAVAILABLE' as const },
      ...{ unavailableReason: reason, diskHost: 'diskHosts/disk-0' },
    });
  const origin = { cause: 'set-des@10', correlationId: 'of the revocation', traceparent: '' };
  const found = [
    unavailable(os.disk, 'KEY_VAULT_UNREACHABLE'),
    unavailable(ultra.disk, 'KEY_DISABLED'),
    { ...unavailable(data.disk, 'KEY_DISABLED'), unavailableOrigin: origin },
  ];
  const stop = await stopOver({ store, vms }, found);
  const { reason, blocked } = (stop?.data ?? {}) as unknown as { reason: KeyLoss; blocked: readonly KeyLoss[] };
  assert.deepEqual([reason.reason, reason.disk], ['KEY_DISABLED', data.disk]);
  assert.deepEqual(
    blocked.map((one) => [one.reason, one.disk]),
    [
      ['KEY_VAULT_UNREACHABLE', os.disk],
      ['KEY_DISABLED', ultra.disk],
    ],
  );
  assert.deepEqual(stop?.cause.causes, [{ id: origin.cause, kind: 'answer' }]);
});

for (const state of ['running', 'starting'] as const) {
  test(`G3, CMK-102: an ultra disk without data ${state === 'running' ? 'stops a machine that runs' : 'leaves a start to open it again'}`, async () => {
    const store = memoryStore({ clock: systemClock });
    const vms = category(store, virtualMachines);
    const ultra = disk('ultra', 0, 'ULTRA', 'des');
    const events = running([ultra]).filter(({ type }) => state === 'running' || type !== 'VmStarted');
    for (const event of events) await vms.transact(vm, () => [event], cause);
    const lost = { managedBy: vm, availability: 'UNAVAILABLE', unavailableReason: 'KEY_DISABLED' } as const;
    const found = Disk.fromPartial({ name: ultra.disk, keyVersion: version1, ...lost });
    const guests = { hasGuests: true, look: async () => 'running' as const };
    const stopped = await stopOver({ store, vms }, [found], { guests });
    assert.equal(stopped?.type, state === 'running' ? 'VmStopping' : undefined);
  });
}
