import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { EventStore } from '@interlock/event-store';
import { openVirtualCloud } from '../testing/test-cloud.ts';
import { fleetOf } from '../testing/test-fleet.ts';

/** Replicas that were killed: nothing of what they do reaches the store any more, and no response comes. */
const dead = new Set<number>();

/** The store as one process of compute has it. */
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
// Until the two have divided the machines.
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

promised(
  'G5: of two replicas one works on a start, however long it takes, and its guest has the tokens of the last open',
  async () => {
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
      // Long enough for the sweeps of both to find it again and again.
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
  },
);

promised('VM-45: whichever replica hears of a loss, the guests of both stop at once, each once', async () => {
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
    `G2: replica ${victim} is killed during a revocation; the other stops its guests within seconds, each once`,
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

promised('G2: guests of a replica that is stopped in good order are taken over, and none ends', async () => {
  const { name } = await fleet.running(['PREMIUM_SSD', fleet.newSet()]);
  await world.cloud.stop('compute', 1);
  await clock.sleep(5_000);
  assert.equal(fleet.stopsOf(name), 0);
  driver.crash(name);
  const stopped = await fleet.settled(name, 'STOPPED');
  assert.equal(stopped.stopReason, undefined);
  await world.cloud.start('compute', 1);
});

promised('G2: what a killed replica left is taken up though the disk service says of no set what is lost', async () => {
  const set = fleet.newSet();
  const machines = [];
  for (let n = 0; n < 8; n += 1) machines.push(await fleet.running(['PREMIUM_SSD', set]));
  // More sets than are asked about at once, several times over.
  const others = Array.from({ length: 40 }, () => ['PREMIUM_SSD', fleet.newSet()] as const);
  while (others.length > 0) await fleet.running(...others.splice(0, 8));
  const silence = Promise.withResolvers<void>();
  disks.before = async (call) => {
    if (call.startsWith('listDisks')) await silence.promise;
  };
  // Until the sweeps of both ask.
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
