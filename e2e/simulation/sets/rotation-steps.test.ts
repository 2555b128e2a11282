import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiskEncryptionSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Workload } from '@interlock/rpc';
import { inSimulatedCloud, parent, type SimulatedSets } from './test-simulated-sets.ts';

/** Three running machines, an unattached disk and a snapshot under one set, and a newer version of its key. */
const fleetOf = async (world: SimulatedSets) => {
  const kv1 = await world.newVault('kv1');
  const old = await world.newKey(kv1, 'k1');
  const set = await world.newSet('des1', kv1, old.keyUrl);
  const machines = [
    await world.newMachine('vm1', set),
    await world.newMachine('vm2', 'platform', [set, 'STANDARD_SSD']),
    await world.newMachine('vm3', set, [set, 'ULTRA']),
  ];
  const loose = await world.newDisk('loose', set);
  await world.disks.createSnapshot({ parent, snapshotId: 'taken', sourceDisk: loose });
  const next = await world.newKey(kv1, 'k1');
  await world.clock.sleep(3_000);
  return { kv1, set: set.name, machines, loose, old, next };
};
type Fleet = Awaited<ReturnType<typeof fleetOf>>;

const isFinished = ({ rotation, generation }: DiskEncryptionSet, wanted: number): boolean =>
  generation === wanted && rotation?.state === 'SUCCEEDED';
const resourcesOf = async (world: SimulatedSets, { set }: Fleet) =>
  (await world.sets.listAssociatedResources({ name: set, pageSize: 100 })).resources;
/** The machines with a non-ultra disk under a version, by the records of the disk service. */
const machinesUnder = async (world: SimulatedSets, fleet: Fleet, keyVersion: string): Promise<string[]> => {
  const under = (await resourcesOf(world, fleet)).filter((one) => one.keyVersion === keyVersion);
  const found = new Set<string>();
  for (const { name, managedBy } of under) {
    if (managedBy === '') continue;
    const { sku } = await world.disks.getDisk({ name });
    if (sku !== 'ULTRA') found.add(managedBy);
  }
  return [...found].sort();
};
const stoppedOf = async (world: SimulatedSets, { machines }: Fleet): Promise<string[]> => {
  const stopped: string[] = [];
  for (const name of machines) if ((await world.powerOf(name)) !== 'RUNNING') stopped.push(name);
  return stopped.sort();
};
/** Everything is under the version and needs no other: each machine can open all of its disks again. */
const assertMoved = async (world: SimulatedSets, fleet: Fleet, keyVersion: string, generation: number) => {
  const set = await world.untilSet(fleet.set, 'the move is finished', (now) => isFinished(now, generation));
  assert.deepEqual([set.previousKeys, set.activeKey?.keyVersion], [[], keyVersion]);
  for (const one of await resourcesOf(world, fleet)) {
    assert.deepEqual([one.name, one.keyVersion, one.generation], [one.name, keyVersion, generation]);
  }
  for (const name of fleet.machines) {
    if ((await world.powerOf(name)) !== 'DEALLOCATED') await world.compute.deallocateVirtualMachine({ name });
    await world.untilPower(name, 'DEALLOCATED');
    await world.compute.startVirtualMachine({ name });
    await world.untilPower(name, 'RUNNING');
  }
};

/**
 * Runs a rotation and calls `strike` at a commit of a service, counted from the assignment.
 * @returns whether the rotation had that many commits
 */
const atCommit = async (
  world: SimulatedSets,
  fleet: Fleet,
  service: Workload,
  wanted: number,
  strike: () => Promise<unknown> | unknown,
): Promise<boolean> => {
  let count = 0;
  let struck: Promise<unknown> | undefined;
  let isOver = false;
  world.cloud.onCommit(({ service: of, events }) => {
    if (of !== service || events.length === 0 || struck !== undefined || isOver) return;
    if (count++ === wanted) struck = Promise.resolve(strike());
  });
  // May be called twice, because the response may be lost with the process that sends it. The second call has no effect.
  await world.asked(() => world.sets.assignKey({ name: fleet.set, keyUrl: fleet.next.keyUrl }));
  await world.until('struck, or all is done', async () => {
    if (struck !== undefined) return true;
    const set = await world.sets.getDiskEncryptionSet({ name: fleet.set });
    return isFinished(set, 2);
  });
  // Later commits are not steps of the rotation.
  isOver = true;
  await struck;
  return struck !== undefined;
};

/** The service whose commits are counted, the service that is killed after one, and the least number of steps. */
const crashes = [
  { of: 'disk-encryption-set', killed: 'disk-encryption-set', stepsMin: 4 },
  { of: 'disk', killed: 'disk-encryption-set', stepsMin: 6 },
  { of: 'disk', killed: 'disk', stepsMin: 6 },
  { of: 'disk', killed: 'key-vault', stepsMin: 6 },
] as const satisfies readonly { readonly of: Workload; readonly killed: Workload; readonly stepsMin: number }[];

for (const { of, killed, stepsMin } of crashes) {
  test(`CMK-88: a rotation continues after ${killed} is killed at any commit of ${of}, and moves everything`, async () => {
    let steps = 0;
    for (let step = 0; ; step++) {
      let isHit = false;
      await inSimulatedCloud(100 + step, async (world) => {
        const fleet = await fleetOf(world);
        isHit = await atCommit(world, fleet, of, step, async () => {
          world.cloud.faults.crash(killed);
          await world.clock.sleep(1_500);
          await world.cloud.faults.restart(killed);
        });
        await world.untilSet(fleet.set, 'the move is finished', (set) => isFinished(set, 2));
        await world.asked(() => world.vault.disableKeyVersion({ name: fleet.old.name }));
        await world.settled();
        await assertMoved(world, fleet, fleet.next.name, 2);
      });
      if (!isHit) break;
      steps++;
    }
    assert.ok(steps >= stepsMin, `${steps} steps`);
  });
}

test('CMK-83, CMK-89, CMK-112: the old version disabled at any step of a rotation stops exactly the machines still under it', async () => {
  let steps = 0;
  let spared = 0;
  for (let step = 0; ; step++) {
    let isHit = false;
    await inSimulatedCloud(200 + step, async (world) => {
      const fleet = await fleetOf(world);
      let before: string[] = [];
      let isNeeded = true;
      const disableOld = async () => {
        before = await machinesUnder(world, fleet, fleet.old.name);
        // Read before the disable, because the rotation may end before the disable returns.
        isNeeded = (await world.sets.getDiskEncryptionSet({ name: fleet.set })).previousKeys.length > 0;
        await world.vault.disableKeyVersion({ name: fleet.old.name });
      };
      isHit = await atCommit(world, fleet, 'disk', step, disableOld);
      if (!isHit) await disableOld();
      await world.settled();
      const stopped = await stoppedOf(world, fleet);
      // A machine whose disk the vault rewrapped before the loss, but which was committed after it, may have been stopped or not.
      const remaining = await machinesUnder(world, fleet, fleet.old.name);
      assert.deepEqual(
        remaining.filter((name) => !stopped.includes(name)),
        [],
        `step ${step}: none is missed`,
      );
      assert.deepEqual(
        stopped.filter((name) => !before.includes(name)),
        [],
        `step ${step}: no other is touched`,
      );
      if (!isNeeded) assert.deepEqual(stopped, [], 'the API reported no need of the old version, so nothing may stop');
      if (stopped.length < 3) spared++;
      await world.vault.enableKeyVersion({ name: fleet.old.name });
      await assertMoved(world, fleet, fleet.next.name, 2);
    });
    if (!isHit) break;
    steps++;
  }
  assert.ok(steps >= 5 && spared > 0, `${steps} steps, ${spared} with something spared`);
});

test('CMK-89: the old version disabled at the moment when no previous key is left stops nothing', async () => {
  await inSimulatedCloud(300, async (world) => {
    const fleet = await fleetOf(world);
    let disabling: Promise<unknown> | undefined;
    world.cloud.onCommit(({ service, events }) => {
      if (service !== 'disk-encryption-set' || !events.some(({ type }) => type === 'RotationFinished')) return;
      disabling = world.vault.disableKeyVersion({ name: fleet.old.name });
    });
    await world.sets.assignKey({ name: fleet.set, keyUrl: fleet.next.keyUrl });
    await world.until('the old version is disabled', async () => disabling !== undefined);
    await disabling;
    await world.settled();
    assert.deepEqual(await stoppedOf(world, fleet), []);
    await assertMoved(world, fleet, fleet.next.name, 2);
  });
});

test('CMK-87, CMK-120: the new version disabled at any step stops the machines under it, and the rotation continues once it is enabled', async () => {
  for (let step = 0; ; step++) {
    let isHit = false;
    await inSimulatedCloud(400 + step, async (world) => {
      const fleet = await fleetOf(world);
      isHit = await atCommit(world, fleet, 'disk', step, () =>
        world.vault.disableKeyVersion({ name: fleet.next.name }),
      );
      if (isHit) {
        await world.settled();
        assert.deepEqual(await stoppedOf(world, fleet), await machinesUnder(world, fleet, fleet.next.name));
        await world.vault.enableKeyVersion({ name: fleet.next.name });
      }
      await assertMoved(world, fleet, fleet.next.name, 2);
    });
    if (!isHit) break;
  }
});

test('CMK-33: a third key assigned at any step of a rotation moves everything to it, and nothing stops', async () => {
  let steps = 0;
  for (let step = 0; ; step++) {
    let isHit = false;
    await inSimulatedCloud(500 + step, async (world) => {
      const fleet = await fleetOf(world);
      const third = await world.newKey(fleet.kv1, 'k3');
      const assignThird = () => world.sets.assignKey({ name: fleet.set, keyUrl: third.keyUrl });
      isHit = await atCommit(world, fleet, 'disk', step, assignThird);
      if (!isHit) await assignThird();
      await world.untilSet(fleet.set, 'all is under the third', (set) => isFinished(set, 3));
      assert.deepEqual(await stoppedOf(world, fleet), []);
      for (const { name } of [fleet.old, fleet.next]) await world.vault.disableKeyVersion({ name });
      await world.settled();
      assert.deepEqual(await stoppedOf(world, fleet), [], 'neither of the older versions is needed');
      await assertMoved(world, fleet, third.name, 3);
    });
    if (!isHit) break;
    steps++;
  }
  assert.ok(steps >= 5, `${steps} steps`);
});

test('G6, CMK-16: while a disk moves to another key and back, every read returns what was written, and none fails', async () => {
  await inSimulatedCloud(700, async (world) => {
    const fleet = await fleetOf(world);
    const access = await world.disks.beginAccess({ name: fleet.loose, accessLevel: 'WRITE', durationSeconds: 3_600 });
    const io = world.dataOf(fleet.loose, access.accessToken);
    let rounds = 0;
    let isOver = false;
    const inputAndOutput = (async () => {
      for (; !isOver; rounds++) {
        const content = Buffer.alloc(4_096, rounds % 251);
        await io.write(content);
        assert.deepEqual(await io.read(content.length), content);
        await world.clock.sleep(1);
      }
    })();
    // Slow enough that reads and writes happen during every step of a rotation.
    world.cloud.faults.slow('key-vault', 40);
    for (const [n, { keyUrl }] of [fleet.next, fleet.old, fleet.next].entries()) {
      const before = rounds;
      await world.sets.assignKey({ name: fleet.set, keyUrl });
      await world.untilSet(fleet.set, 'the move is finished', (now) => isFinished(now, n + 2));
      assert.ok(rounds - before > 20, `${rounds - before} rounds during the move`);
    }
    isOver = true;
    await inputAndOutput;
    assert.deepEqual(await stoppedOf(world, fleet), []);
  });
});

test('two replicas of the service decide each step once', async () => {
  await inSimulatedCloud(600, async (world) => {
    await world.cloud.faults.restart('disk-encryption-set', 1);
    const fleet = await fleetOf(world);
    await world.sets.assignKey({ name: fleet.set, keyUrl: fleet.next.keyUrl });
    await world.untilSet(fleet.set, 'the move is finished', (set) => isFinished(set, 2));
    await world.vault.disableKeyVersion({ name: fleet.next.name });
    await world.settled();
    await world.vault.enableKeyVersion({ name: fleet.next.name });
    await world.settled();
    const events = await world.cloud.storeOf('disk-encryption-set').read(`set-${fleet.set}`);
    const count = (type: string, reason?: string): number =>
      events.filter((event) => event.type === type && (reason === undefined || event.data.reason === reason)).length;
    assert.deepEqual(
      ['SetCreated', 'KeyAssigned', 'RotationFinished'].map((type) => count(type)),
      [1, 1, 1],
    );
    assert.equal(count('KeyAccessLost', 'KEY_DISABLED'), 1);
    await assertMoved(world, fleet, fleet.next.name, 2);
  });
});
