import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { type EventStore, openPostgresStore } from '@interlock/event-store';
import { createTestDatabase, type TestDatabase } from '@interlock/event-store/test-database';
import { workloads } from '@interlock/host';
import type { Bus } from '@interlock/messaging';
import { openTestBus } from '@interlock/messaging/test-bus';
import { systemClock as clock } from '@interlock/runtime';
import { idleDriver } from './guests/idle-driver.ts';
import { openLosses } from './losses/losses.ts';
import { openTestCloud, type TestCloud, until } from './testing/test-cloud.ts';
import { keyVersionOf, location } from './testing/test-disks.ts';

const closing: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const close of closing.reverse()) await close();
});

let database: TestDatabase;
let store: EventStore;
let bus: Bus;
let world: TestCloud;
before(async () => {
  database = await createTestDatabase();
  closing.push(() => database.drop());
  store = await openPostgresStore({ url: database.url, clock });
  closing.push(() => store.close());
  bus = await openTestBus(workloads);
  closing.push(() => bus.close());
  world = await openTestCloud({ store, bus });
  closing.push(() => world.close());
});

const parent = 'subscriptions/s/resourceGroups/g';
const newSet = () => `${parent}/diskEncryptionSets/des-${randomUUID()}`;
const createIn = async ({ disks, compute }: TestCloud, id: string, set: string) => {
  const osDisk = disks.add(`${parent}/disks/${id}-os`, {});
  const data = disks.add(`${parent}/disks/${id}-data`, { set, keyVersion: keyVersionOf(set) });
  const { name } = await compute.createVirtualMachine({
    parent,
    virtualMachineId: id,
    location,
    osDisk: { source: { $case: 'disk', value: osDisk } },
    dataDisks: [{ source: { $case: 'disk', value: data } }],
  });
  return name;
};
const inPower = ({ compute }: TestCloud, name: string, power: string) =>
  until(
    () => compute.getVirtualMachine({ name }),
    ({ powerState }) => powerState === power,
  );
const lose = async ({ disks, tellOfSet }: TestCloud, set: string) => {
  const keyVersion = keyVersionOf(set);
  const accessEpoch = disks.lose(set, keyVersion);
  const value = { set, keyVersion, reason: 'KEY_DELETED', accessEpoch, since: new Date(), partial: false } as const;
  await tellOfSet({ $case: 'keyAccessLost', value });
};

test('a lost key stops a machine over Postgres and NATS, and it can be started once access is restored', async () => {
  const set = newSet();
  const name = await createIn(world, 'vm-a', set);
  await inPower(world, name, 'RUNNING');
  await lose(world, set);
  const vm = await inPower(world, name, 'STOPPED');
  assert.equal(vm.stopReason?.reason, 'KEY_DELETED');
  world.disks.restore(set, keyVersionOf(set));
  await world.compute.startVirtualMachine({ name });
  await inPower(world, name, 'RUNNING');
  const [{ count } = { count: 0 }] =
    await database.sql`select count(*)::int as count from events where type = 'VmStopped'`;
  assert.equal(count, 1);
});

test('after a restart compute finishes the work that its stop interrupted', async () => {
  const name = await createIn(world, 'vm-b', newSet());
  await inPower(world, name, 'RUNNING');
  await world.compute.powerOffVirtualMachine({ name });
  await inPower(world, name, 'STOPPED');
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  world.disks.before = async (call) => {
    if (!call.startsWith('openDisk')) return;
    reached.resolve();
    await gate.promise;
  };
  await world.compute.startVirtualMachine({ name });
  await reached.promise;
  await world.cloud.stop('compute');
  world.disks.before = undefined;
  gate.resolve();
  await world.cloud.start('compute');
  await inPower(world, name, 'RUNNING');
  assert.equal(world.driver.guests.has(name), true);
});

test('a loss published while compute was down stops machines once compute is back', async () => {
  const set = newSet();
  const name = await createIn(world, 'vm-c', set);
  await inPower(world, name, 'RUNNING');
  await world.cloud.stop('compute');
  await lose(world, set);
  await world.cloud.start('compute');
  await inPower(world, name, 'STOPPED');
});

test('G2: without an event the sweep asks the disk service and stops machines whose disks have no data', async () => {
  const set = newSet();
  const name = await createIn(world, 'vm-d', set);
  await inPower(world, name, 'RUNNING');
  world.disks.lose(set, keyVersionOf(set));
  const disk = world.disks.disks.get(`${parent}/disks/vm-d-data`);
  assert.ok(disk);
  Object.assign(disk, { availability: 'UNAVAILABLE', unavailableReason: 'KEY_DISABLED' });
  await world.cloud.stop('compute');
  await world.cloud.start('compute');
  assert.equal((await inPower(world, name, 'STOPPED')).stopReason?.reason, 'KEY_DISABLED');
});

test('CMK-39: deleting a set removes its final losses, and not those of other sets', async () => {
  const losses = openLosses(store);
  const [set, other] = [newSet(), newSet()];
  const cause = { correlationId: randomUUID(), causes: [], caller: 'system:test' };
  const of = (name: string) => ({ set: name, keyVersion: keyVersionOf(name) });
  const opened = (name: string) => ({ ...of(name), disk: 'd', sku: 'PREMIUM_SSD', attachEpoch: 1 }) as const;
  for (const name of [set, `${set}b`, other]) {
    const about = { reason: 'IDENTITY_DELETED', since: 1, traceId: '' } as const;
    await losses.remember({ ...of(name), ...about, accessEpoch: Number.MAX_SAFE_INTEGER }, cause);
  }
  const missed = async (name: string) => (await losses.missedBy([{ ...opened(name), accessEpoch: 7 }]))?.set;
  assert.equal(await missed(set), set);
  await store.commit({ rows: await losses.rowsForDeleted(set) }, cause);
  assert.deepEqual([await missed(set), await missed(`${set}b`), await missed(other)], [undefined, `${set}b`, other]);
});

test('G2: the deletion of an identity does not hide losses of the next identity, nor its deletion', async () => {
  const losses = openLosses(store);
  const set = newSet();
  const keyVersion = keyVersionOf(set);
  const cause = { correlationId: randomUUID(), causes: [], caller: 'system:test' };
  const [old, next] = ['principals/old', 'principals/next'] as const;
  const about = { set, keyVersion, since: 1, traceId: '' };
  const end = (principal: string) =>
    ({ ...about, reason: 'IDENTITY_DELETED', accessEpoch: Number.MAX_SAFE_INTEGER, principal }) as const;
  const disk = { set, keyVersion, disk: 'd', sku: 'PREMIUM_SSD', attachEpoch: 1, accessEpoch: 7 } as const;
  const missed = async () => (await losses.missedBy([{ ...disk, principal: next }]))?.reason;
  await losses.remember(end(old), cause);
  assert.equal(await missed(), undefined, 'opened as the next one');
  await losses.remember({ ...about, reason: 'ACCESS_DENIED', accessEpoch: 9 }, cause);
  assert.equal(await missed(), 'ACCESS_DENIED');
  await store.commit({ rows: await losses.rowsForRestored(set, keyVersion, 10) }, cause);
  assert.equal(await losses.anyLost([about]), false);
  const opened = { ...disk, accessEpoch: 11, principal: next };
  await losses.remember(end(old), cause);
  await losses.remember(end(next), cause);
  assert.equal((await losses.missedBy([opened]))?.principal, next, 'the loss of the identity that opened the disk');
});

test('VM-45: a fleet without guests is stopped in one pass, each machine once, its disks closed afterwards', async () => {
  const fleetDatabase = await createTestDatabase();
  closing.push(() => fleetDatabase.drop());
  const fleetStore = await openPostgresStore({ url: fleetDatabase.url, clock });
  closing.push(() => fleetStore.close());
  const fleet = await openTestCloud({ store: fleetStore, settings: { driver: idleDriver() } });
  closing.push(() => fleet.close());
  const set = newSet();
  const names = await Promise.all(Array.from({ length: 50 }, (_, n) => createIn(fleet, `vm-${n}`, set)));
  for (const name of names) await inPower(fleet, name, 'RUNNING');
  await lose(fleet, set);
  for (const name of names) await inPower(fleet, name, 'STOPPED');
  const stops = await fleetDatabase.sql`select stream from events where type = 'VmStopped'`;
  assert.equal(stops.length, names.length);
  await until(
    async () => [...fleet.disks.disks.values()].filter(({ isOpen }) => isOpen).length,
    (open) => open === 0,
  );
});
