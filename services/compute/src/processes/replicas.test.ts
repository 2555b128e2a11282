import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { idleDriver } from '../guests/idle-driver.ts';
import { openVirtualCloud } from '../testing/test-cloud.ts';
import { keyVersionOf } from '../testing/test-disks.ts';
import { fleetOf } from '../testing/test-fleet.ts';

let turn = 0;
const world = await openVirtualCloud(3, {
  settings: { driver: idleDriver(), sweepIntervalMs: 5_000 },
  chooseReplica: (running) => {
    turn += 1;
    return running[turn % running.length] ?? 0;
  },
});
const { clock, disks } = world;
const fleet = fleetOf(world);
await clock.drive(world.cloud.start('compute', 1));
after(() => world.close());
const promised = (name: string, run: () => Promise<void>) => test(name, () => clock.drive(run()));

/** Events of a machine's stream, by type. */
const eventsOf = async (name: string): Promise<readonly string[]> =>
  (await world.store.read(`vm-${name}`)).map(({ type }) => type);
const countOf = async (name: string, type: string): Promise<number> =>
  (await eventsOf(name)).filter((one) => one === type).length;

promised('VM-45: two replicas that learn of a loss by fact, report and sweep stop each machine once', async () => {
  assert.deepEqual(world.cloud.running('compute'), [0, 1]);
  const set = fleet.newSet();
  const machines = [];
  for (let n = 0; n < 12; n += 1) machines.push(await fleet.running(['PREMIUM_SSD', set]));
  const telling = fleet.lose(set, 'KEY_DELETED');
  disks.show(set, keyVersionOf(set), 'KEY_DELETED');
  const accessEpoch = await telling;
  const reports = await Promise.all([1, 2, 3, 4].map(() => fleet.report(set, 'KEY_DELETED', accessEpoch)));
  // Each report that waits for a pass gets the number of machines that the pass stops.
  for (const { stoppingCount } of reports) assert.ok(stoppingCount <= machines.length);
  for (const { name } of machines) await fleet.settled(name, 'STOPPED');
  await clock.sleep(20_000);
  for (const {
    name,
    disks: [disk = ''],
  } of machines) {
    assert.equal(await countOf(name, 'VmStopping'), 1, name);
    assert.equal(await countOf(name, 'VmStopped'), 1, name);
    assert.equal(disks.disks.get(disk)?.isOpen, false);
  }
});

promised('VM-21: the same request at both replicas at the same time takes effect once', async () => {
  const set = fleet.newSet();
  const {
    name,
    disks: [disk = ''],
  } = await fleet.running(['PREMIUM_SSD', set]);
  const both = (ask: () => Promise<unknown>) => Promise.allSettled([ask(), ask(), ask(), ask()]);
  await both(() => world.compute.deallocateVirtualMachine({ name }));
  await fleet.settled(name, 'DEALLOCATED');
  await both(() => world.compute.startVirtualMachine({ name }));
  await fleet.settled(name, 'RUNNING');
  await clock.sleep(10_000);
  const counts = ['VmDeallocating', 'VmDeallocated', 'VmStarting'].map((type) => countOf(name, type));
  assert.deepEqual(await Promise.all(counts), [1, 1, 1]);
  assert.equal(await countOf(name, 'VmStarted'), 2);
  assert.equal(disks.disks.get(disk)?.isOpen, true);
});

promised('G2: if a replica crashes while it stops machines, the other one stops the rest, each once', async () => {
  const set = fleet.newSet();
  const machines = [];
  for (let n = 0; n < 6; n += 1) machines.push(await fleet.running(['PREMIUM_SSD', set], ['ULTRA', set]));
  const telling = fleet.lose(set);
  world.cloud.crash('compute', 0);
  await telling;
  for (const { name } of machines) await fleet.settled(name, 'STOPPED');
  await world.cloud.start('compute', 0);
  for (const { name } of machines) assert.equal(await countOf(name, 'VmStopping'), 1);
});

promised(
  'VM-07, VM-13: if two replicas open a disk for one start, the later open counts, and deallocation closes it',
  async () => {
    const set = fleet.newSet();
    const { name, disks: own } = await fleet.running(['PREMIUM_SSD', set]);
    const [disk = ''] = own;
    await world.compute.deallocateVirtualMachine({ name });
    await fleet.settled(name, 'DEALLOCATED');
    // So slow that the sweep of the other replica resumes the start.
    disks.before = async (call) => {
      if (call === `openDisk ${disk}`) await clock.sleep(6_000);
    };
    await world.compute.startVirtualMachine({ name });
    await fleet.settled(name, 'RUNNING');
    await clock.sleep(20_000);
    disks.before = undefined;
    const found = disks.disks.get(disk);
    assert.ok(found && found.attachEpoch > 2, 'opened by both');
    await world.compute.deallocateVirtualMachine({ name });
    await fleet.settled(name, 'DEALLOCATED');
    assert.deepEqual([found.isOpen, found.state], [false, 'RESERVED']);
  },
);
