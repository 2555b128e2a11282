import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { testMeter } from '@interlock/runtime/test-meter';
import { openVirtualCloud } from '../testing/test-cloud.ts';
import { fleetOf } from '../testing/test-fleet.ts';

const { meter, read } = testMeter();
const world = await openVirtualCloud(21, { meter, settings: { sweepIntervalMs: 5_000 } });
const { clock, compute, driver } = world;
const fleet = fleetOf(world);
after(() => world.close());
const promised = (name: string, run: () => Promise<void>) => test(name, () => clock.drive(run()));

const counted = { reads: 40, writes: 30, flushes: 2, failures: 1, mismatches: 0 };
const rowsOf = async (name: string) =>
  (await compute.listActivityLog({ name, pageSize: 100 })).entries.filter(
    ({ properties }) => properties.cause === 'CONTENT_MISMATCH',
  );
const measured = async () => (await read('interlock.vm.content_mismatch'))[0]?.[1];

promised('reads, writes and failures of a guest are shown with its machine', async () => {
  const { name } = await fleet.running();
  assert.equal((await fleet.get(name)).guestIo, undefined, 'nothing is counted yet');
  driver.io.set(name, counted);
  const { guestIo } = await fleet.get(name);
  assert.deepEqual(
    [guestIo?.readCount, guestIo?.writeCount, guestIo?.flushCount, guestIo?.failureCount],
    [40, 30, 2, 1],
  );
  assert.deepEqual([guestIo?.contentMismatchCount, guestIo?.newestMismatch], [0, undefined]);
  const listed = async (view?: 'FULL') => {
    const parent = name.slice(0, name.indexOf('/virtualMachines/'));
    const { virtualMachines } = await compute.listVirtualMachines({ parent, ...(view === undefined ? {} : { view }) });
    return virtualMachines.find((machine) => machine.name === name)?.guestIo;
  };
  assert.deepEqual([await listed(), await listed('FULL')], [undefined, guestIo], 'a list has them in the full view');
});

promised(
  'a content mismatch is shown once with the machine, in its log and as a metric, and survives the host',
  async () => {
    const { name, disks } = await fleet.running(['PREMIUM_SSD', '']);
    const [disk = ''] = disks;
    assert.equal(await measured(), 0);
    const newestMismatch = { disk, offset: 8_192, length: 4_096, at: clock.now() };
    driver.io.set(name, { ...counted, mismatches: 2, newestMismatch });
    await clock.sleep(20_000);
    const [row, ...others] = await rowsOf(name);
    assert.deepEqual(others, [], 'recorded once');
    assert.deepEqual(
      [row?.status, row?.category, row?.operation],
      ['FAILED', 'RESOURCE_HEALTH', 'virtualMachines/healthEvent'],
    );
    const { disks: where, offsetBytes, lengthBytes, count } = row?.properties ?? {};
    assert.deepEqual([where, offsetBytes, lengthBytes, count], [disk, '8192', '4096', '2']);
    assert.equal(await measured(), 2);

    await compute.powerOffVirtualMachine({ name });
    await fleet.settled(name, 'STOPPED');
    driver.io.set(name, { ...counted, mismatches: 3, newestMismatch });
    await clock.sleep(20_000);
    assert.equal((await rowsOf(name)).length, 2, 'also of a machine that was stopped before the sweep saw it');
    assert.equal(await measured(), 3);
    driver.io.delete(name);
    const { guestIo } = await fleet.get(name);
    assert.deepEqual([guestIo?.contentMismatchCount, guestIo?.newestMismatch?.offsetBytes], [3, 8_192]);
  },
);

promised('a new machine of the same name has another unique id and no counters of the old one', async () => {
  const osDisk = fleet.newDisk();
  const { name, uniqueId } = await fleet.create([], osDisk);
  await fleet.settled(name, 'RUNNING');
  driver.io.set(name, { ...counted, mismatches: 1, newestMismatch: { disk: osDisk, offset: 0, length: 1, at: 1 } });
  await clock.sleep(20_000);
  await compute.deleteVirtualMachine({ name });
  await clock.sleep(20_000);
  const again = await compute.createVirtualMachine({
    parent: name.slice(0, name.indexOf('/virtualMachines/')),
    virtualMachineId: name.slice(name.lastIndexOf('/') + 1),
    location: 'westeurope',
    osDisk: { source: { $case: 'disk', value: osDisk } },
  });
  const running = await fleet.settled(name, 'RUNNING');
  assert.match(uniqueId, /^[0-9a-f-]{36}$/);
  assert.notEqual(again.uniqueId, uniqueId);
  assert.deepEqual([running.uniqueId, running.guestIo], [again.uniqueId, undefined]);
});
