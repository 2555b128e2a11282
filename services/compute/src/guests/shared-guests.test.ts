import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { EventStore } from '@interlock/event-store';
import { openVirtualCloud } from '../testing/test-cloud.ts';
import { fleetOf } from '../testing/test-fleet.ts';

/** Killed replicas: their calls do not reach the store and get no response. */
const dead = new Set<number>();

/** The store as one replica of compute sees it. */
const mortal = (store: EventStore, replica: number): EventStore =>
  new Proxy(store, {
    get: (target, method) => {
      const call: unknown = Reflect.get(target, method);
      if (typeof call !== 'function') return call;
      return (...args: unknown[]) =>
        dead.has(replica) && method !== 'close' ? new Promise(() => undefined) : Reflect.apply(call, target, args);
    },
  });

let turn = 0;
const world = await openVirtualCloud(5, {
  settings: { sweepIntervalMs: 1_000, startTimeoutMs: 60_000 },
  chooseReplica: (running) => {
    turn += 1;
    return running[turn % running.length] ?? 0;
  },
  ownSeams: ({ service, replica }, store) => (service === 'compute' ? { store: mortal(store, replica) } : {}),
});
const { clock, disks, driver } = world;
const fleet = fleetOf(world);
await clock.drive(world.cloud.start('compute', 1));
// Until the two replicas have divided the work partitions.
await clock.drive(clock.sleep(10_000));
after(() => world.close());
const promised = (name: string, run: () => Promise<void>) => test(name, () => clock.drive(run()));

const callsOf = (method: string, disk: string): number =>
  disks.calls.filter((call) => call === `${method} ${disk}`).length;
const kill = (replica: number): void => {
  dead.add(replica);
  world.cloud.crash('compute', replica);
};
const revive = async (replica: number): Promise<void> => {
  dead.delete(replica);
  await world.cloud.start('compute', replica);
};

promised('G5: with two replicas, a slow start opens each disk once and starts its guest once', async () => {
  const set = fleet.newSet();
  const machines = [];
  for (let n = 0; n < 8; n += 1) machines.push(await fleet.running(['PREMIUM_SSD', set]));
  const opensBefore = new Map<string, number>();
  for (const {
    name,
    disks: [disk = ''],
  } of machines) {
    await world.compute.deallocateVirtualMachine({ name });
    await fleet.settled(name, 'DEALLOCATED');
    opensBefore.set(disk, callsOf('openDisk', disk));
    // Long enough for several sweeps of both replicas.
    driver.slowToStart.set(name, 5_000);
    await world.compute.startVirtualMachine({ name });
  }
  for (const {
    name,
    disks: [disk = ''],
  } of machines) {
    await fleet.settled(name, 'RUNNING');
    assert.equal(callsOf('openDisk', disk) - (opensBefore.get(disk) ?? 0), 1);
    assert.equal(fleet.startsOf(name), 2);
    assert.equal(fleet.stopsOf(name), 1);
  }
});

promised('VM-45: an access loss stops the guests of both replicas without a sweep, each once', async () => {
  const set = fleet.newSet();
  const machines = [];
  for (let n = 0; n < 8; n += 1) machines.push(await fleet.running(['PREMIUM_SSD', set]));
  const lostAt = clock.monotonicMs();
  await fleet.lose(set);
  for (const { name } of machines) await fleet.settled(name, 'STOPPED');
  assert.ok(clock.monotonicMs() - lostAt < 900, 'without a sweep');
  for (const { name } of machines) assert.equal(fleet.stopsOf(name), 1);
});

for (const victim of [0, 1]) {
  promised(
    `G2: if replica ${victim} is killed during a revocation, the other one stops its guests once, within seconds`,
    async () => {
      const set = fleet.newSet();
      const machines = [];
      for (let n = 0; n < 8; n += 1) machines.push(await fleet.running(['PREMIUM_SSD', set]));
      for (const { name } of machines) driver.slowToStop.set(name, 150);
      const telling = fleet.lose(set);
      kill(victim);
      const killedAt = clock.monotonicMs();
      await telling;
      for (const { name } of machines) await fleet.settled(name, 'STOPPED');
      assert.ok(clock.monotonicMs() - killedAt < 8_000, `${clock.monotonicMs() - killedAt} ms`);
      for (const { name } of machines) {
        assert.equal(driver.guests.has(name), false);
        assert.equal(fleet.stopsOf(name), 1, name);
        const events = (await world.store.read(`vm-${name}`)).map(({ type }) => type);
        assert.equal(events.filter((type) => type === 'VmStopping').length, 1);
        assert.equal(events.filter((type) => type === 'VmStopped').length, 1);
      }
      await revive(victim);
      await fleet.restore(set);
      for (const { name } of machines) {
        await world.compute.startVirtualMachine({ name });
        await fleet.settled(name, 'RUNNING');
      }
      await clock.sleep(10_000);
    },
  );
}

promised('G2: after a graceful stop of a replica the other one takes over its guests, and no guest ends', async () => {
  const { name } = await fleet.running(['PREMIUM_SSD', fleet.newSet()]);
  await world.cloud.stop('compute', 1);
  await clock.sleep(5_000);
  assert.equal(fleet.stopsOf(name), 0);
  driver.crash(name);
  const stopped = await fleet.settled(name, 'STOPPED');
  assert.equal(stopped.stopReason, undefined);
  await world.cloud.start('compute', 1);
});

promised('G2: a replica takes over the stops of a killed replica while the disk service does not respond', async () => {
  const set = fleet.newSet();
  const machines = [];
  for (let n = 0; n < 8; n += 1) machines.push(await fleet.running(['PREMIUM_SSD', set]));
  // Several times as many sets as the sweep asks about at once.
  const others = Array.from({ length: 40 }, () => ['PREMIUM_SSD', fleet.newSet()] as const);
  while (others.length > 0) await fleet.running(...others.splice(0, 8));
  const silence = Promise.withResolvers<void>();
  disks.before = async (call) => {
    if (call.startsWith('listDisks')) await silence.promise;
  };
  // Until the sweeps of both replicas wait for the disk service.
  await clock.sleep(3_000);
  for (const { name } of machines) driver.slowToStop.set(name, 150);
  const telling = fleet.lose(set);
  kill(1);
  const killedAt = clock.monotonicMs();
  await telling;
  for (const { name } of machines) await fleet.settled(name, 'STOPPED');
  assert.ok(clock.monotonicMs() - killedAt < 8_000, `${clock.monotonicMs() - killedAt} ms`);
  disks.before = undefined;
  silence.resolve();
  await revive(1);
});
