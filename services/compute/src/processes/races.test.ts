import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { openVirtualCloud, until } from '../testing/test-cloud.ts';
import { keyVersionOf, location } from '../testing/test-disks.ts';
import { fleetOf } from '../testing/test-fleet.ts';

const world = await openVirtualCloud(4, { settings: { sweepIntervalMs: 10_000, startTimeoutMs: 30_000 } });
const { clock, disks, driver, random } = world;
const fleet = fleetOf(world);
after(() => world.close());
beforeEach(() => {
  disks.before = undefined;
  disks.beforeAnswer = undefined;
});
const promised = (name: string, run: () => Promise<void>) => test(name, () => clock.drive(run()));
/** Long enough for everything to be finished, and swept twice. */
const settle = () => clock.sleep(60_000);
const diskNamed = (name: string) => {
  const found = disks.disks.get(name);
  assert.ok(found, name);
  return found;
};

/**
 * A key is lost at some moment of an operation. Afterwards the machine does not run: it is stopped with the reason, or as its
 * user requested. Its guest is gone and no disk is open. Once access is restored, it starts.
 */
type Begin = (vm: string, disk: string) => Promise<unknown>;
const operations: Readonly<Record<string, { readonly from?: 'STOPPED' | 'DEALLOCATED'; readonly begin: Begin }>> = {
  start: { from: 'STOPPED', begin: (name) => world.compute.startVirtualMachine({ name }) },
  'start from deallocated': { from: 'DEALLOCATED', begin: (name) => world.compute.startVirtualMachine({ name }) },
  restart: { begin: (name) => world.compute.restartVirtualMachine({ name, requestId: random.uuid() }) },
  'power off': { begin: (name) => world.compute.powerOffVirtualMachine({ name }) },
  deallocate: { begin: (name) => world.compute.deallocateVirtualMachine({ name }) },
  delete: { begin: (name) => world.compute.deleteVirtualMachine({ name }) },
  attach: { begin: (name) => world.compute.attachDisk({ name, lun: 9, disk: fleet.newDisk() }) },
  detach: { begin: (name, disk) => world.compute.detachDisk({ name, disk }) },
};
/** Milliseconds after the request. A call of the disk service takes 40 or 65 ms, the shutdown of a guest 60 ms. */
const moments = [0, 20, 50, 90, 130, 180];

for (const [operation, { from, begin }] of Object.entries(operations)) {
  promised(`G2: a key lost at any moment of "${operation}" leaves no guest running and no disk open`, async () => {
    for (const moment of moments) {
      const set = fleet.newSet();
      const {
        name,
        disks: [disk = '', other = ''],
      } = await fleet.running(['PREMIUM_SSD', set], ['STANDARD_SSD', set]);
      driver.slowToStop.set(name, 60);
      if (from === 'STOPPED') await world.compute.powerOffVirtualMachine({ name });
      if (from === 'DEALLOCATED') await world.compute.deallocateVirtualMachine({ name });
      await fleet.settled(name, from ?? 'RUNNING');
      disks.before = () => clock.sleep(40);
      disks.beforeAnswer = () => clock.sleep(25);
      const asked = begin(name, disk).catch((error: unknown) => error);
      await clock.sleep(moment);
      await fleet.lose(set);
      await settle();
      await asked;
      disks.before = undefined;
      const where = `${operation} after ${moment} ms`;
      assert.equal(driver.guests.has(name), false, where);
      for (const one of [disk, other]) assert.equal(diskNamed(one).isOpen, false, where);
      if (operation === 'delete') {
        await assert.rejects(fleet.get(name), { reason: 'VIRTUAL_MACHINE_NOT_FOUND' }, where);
        continue;
      }
      const vm = await fleet.get(name);
      assert.ok(['STOPPED', 'DEALLOCATED'].includes(vm.powerState), `${where}: ${vm.powerState}`);
      assert.notEqual(vm.provisioningState, 'UPDATING', where);
      // Only a machine that its user switched off does not show the key, as stop reason or as failure.
      const isAsked = operation === 'power off' || operation === 'deallocate';
      assert.ok(isAsked || vm.stopReason?.reason === 'KEY_DISABLED' || vm.failure?.code === 'KEY_DISABLED', where);
      await fleet.restore(set);
      await world.compute.startVirtualMachine({ name });
      await fleet.settled(name, 'RUNNING');
    }
  });
}

promised(
  'G2: a creation whose key is lost at any moment is refused and leaves nothing, or its machine is stopped',
  async () => {
    for (const moment of [0, 20, 60, 100, 140, 180, 220]) {
      const set = fleet.newSet();
      const [data, osDisk] = [fleet.newDisk('PREMIUM_SSD', set), fleet.newDisk()];
      disks.before = () => clock.sleep(40);
      disks.beforeAnswer = () => clock.sleep(25);
      const asked = fleet.create([data], osDisk).catch((error: unknown) => error);
      await clock.sleep(moment);
      await fleet.lose(set);
      const answer = await asked;
      await settle();
      disks.before = undefined;
      assert.equal(diskNamed(data).isOpen, false);
      if (answer instanceof Error) {
        assert.equal(answer instanceof Rejection && answer.reason, 'KEY_DISABLED', `after ${moment} ms: ${answer}`);
        const holder = diskNamed(data).managedBy;
        if (holder === '') {
          assert.equal(diskNamed(osDisk).managedBy, '');
          continue;
        }
        // Refused after its creation: the machine exists, is off, and shows the reason.
        assert.equal((await fleet.get(holder)).stopReason?.reason, 'KEY_DISABLED');
        continue;
      }
      const vm = await fleet.get(diskNamed(data).managedBy);
      assert.deepEqual([vm.powerState, vm.stopReason?.reason], ['STOPPED', 'KEY_DISABLED']);
    }
  },
);

promised('VM-45: a key lost and restored several times within milliseconds stops a machine once', async () => {
  const set = fleet.newSet();
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  for (let n = 0; n < 5; n += 1) {
    await fleet.lose(set);
    await fleet.restore(set);
  }
  await settle();
  assert.equal((await fleet.get(name)).powerState, 'STOPPED');
  assert.equal(fleet.stopsOf(name), 1);
  await world.compute.startVirtualMachine({ name });
  await fleet.settled(name, 'RUNNING');
  await settle();
  assert.equal((await fleet.get(name)).powerState, 'RUNNING');
});

promised('VM-45: losses of two sets at the same time stop a machine once', async () => {
  const sets = [fleet.newSet(), fleet.newSet()];
  const { name } = await fleet.running(...sets.map((set) => ['PREMIUM_SSD', set] as const));
  await Promise.all(sets.map((set) => fleet.lose(set)));
  await fleet.settled(name, 'STOPPED');
  await settle();
  assert.equal(fleet.stopsOf(name), 1);
});

promised('CMK-105: machines start with the new identity of a set before restored access is published', async () => {
  const set = fleet.newSet();
  const [principal, next] = [`principals/${random.uuid()}`, `principals/${random.uuid()}`] as const;
  disks.identities.set(set, principal);
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  const value = {
    set,
    keyVersion: keyVersionOf(set),
    reason: 'IDENTITY_DELETED',
    accessEpoch: Number.MAX_SAFE_INTEGER,
    principal,
    since: new Date(clock.now()),
    partial: false,
  } as const;
  await world.tellOfSet({ $case: 'keyAccessLost', value });
  await fleet.settled(name, 'STOPPED');
  disks.identities.set(set, next);
  await world.compute.startVirtualMachine({ name });
  await fleet.settled(name, 'RUNNING');
  assert.deepEqual(await fleet.report(set, 'IDENTITY_DELETED'), { stoppingCount: 0 });
  assert.equal((await fleet.get(name)).powerState, 'RUNNING');
});

promised(
  'G3: a late loss of an identity does not stop a machine that opened its disks with the next identity',
  async () => {
    const set = fleet.newSet();
    const before = await fleet.running(['PREMIUM_SSD', set]);
    const identities = [`principals/${random.uuid()}`, `principals/${random.uuid()}`] as const;
    const { name } = await fleet.running(['PREMIUM_SSD', set]);
    for (const [turn, identity] of identities.entries()) {
      disks.identities.set(set, identity);
      await world.compute.restartVirtualMachine({ name: turn === 0 ? before.name : name, requestId: random.uuid() });
      await settle();
    }
    const value = {
      set,
      keyVersion: keyVersionOf(set),
      // An earlier reason may hide that the identity was deleted.
      reason: 'VAULT_DELETED',
      accessEpoch: Number.MAX_SAFE_INTEGER,
      since: new Date(clock.now()),
      partial: false,
      principal: identities[0],
    } as const;
    await world.tellOfSet({ $case: 'keyAccessLost', value });
    await fleet.settled(before.name, 'STOPPED');
    await settle();
    assert.equal((await fleet.get(name)).powerState, 'RUNNING');
    await world.tellOfSet({ $case: 'keyAccessLost', value: { ...value, principal: identities[1] } });
    await fleet.settled(name, 'STOPPED');
  },
);

const specFor = (id: string, set: string) => ({
  parent: 'subscriptions/s/resourceGroups/g',
  virtualMachineId: id,
  location,
  osDisk: { source: { $case: 'newDisk', value: { sku: 'PREMIUM_SSD', sizeGib: 4 } } } as const,
  dataDisks: [{ source: { $case: 'disk', value: fleet.newDisk('PREMIUM_SSD', set) } } as const],
});
const gone = (id: string) =>
  until(
    () => fleet.get(`subscriptions/s/resourceGroups/g/virtualMachines/${id}`).catch((error: unknown) => error),
    (answer) => answer instanceof Rejection && answer.reason === 'VIRTUAL_MACHINE_NOT_FOUND',
    clock,
  );

promised('CMK-110: the undo of a creation keeps a disk that another owner created under the same name', async () => {
  const set = fleet.newSet();
  disks.lose(set, keyVersionOf(set));
  const osDisk = 'subscriptions/s/resourceGroups/g/disks/taken-os';
  disks.before = async (call) => {
    if (call !== `createDisk ${osDisk}`) return;
    if (!disks.disks.has(osDisk)) disks.add(osDisk, { sku: 'ULTRA' });
    throw new Rejection('ALREADY_EXISTS', 'DISK_ALREADY_EXISTS', 'another disk has the name');
  };
  await assert.rejects(world.compute.createVirtualMachine(specFor('taken', set)));
  await gone('taken');
  assert.equal(diskNamed(osDisk).sku, 'ULTRA');
});

promised('CMK-110: a disk that is created or attached after its call timed out is undone too', async () => {
  for (const late of ['createDisk', 'attachDisk'] as const) {
    const set = fleet.newSet();
    disks.lose(set, keyVersionOf(set));
    const id = `late-${late.toLowerCase()}`;
    const osDisk = `subscriptions/s/resourceGroups/g/disks/${id}-os`;
    const vm = `subscriptions/s/resourceGroups/g/virtualMachines/${id}`;
    disks.before = async (call) => {
      if (call !== `${late} ${osDisk}` || (late === 'createDisk' && disks.disks.has(osDisk))) return;
      void clock.sleep(3_000).then(() => {
        if (late === 'createDisk') disks.add(osDisk, {});
        else diskNamed(osDisk).managedBy = vm;
      });
      throw new RpcFailure('DEADLINE_EXCEEDED', 'DiskService', 'disk', 'too late');
    };
    await world.compute.createVirtualMachine(specFor(id, set)).catch(() => undefined);
    await gone(id);
    assert.equal(disks.disks.has(osDisk), false, late);
  }
});

promised('a failed creation deletes its new disk although the clock of the disk service is behind', async () => {
  const set = fleet.newSet();
  disks.lose(set, keyVersionOf(set));
  const osDisk = 'subscriptions/s/resourceGroups/g/disks/behind-os';
  disks.before = async (call) => {
    if (call === `attachDisk ${osDisk}`) {
      diskNamed(osDisk).createdAt = clock.now() - 3_600_000;
      throw new Rejection('FAILED_PRECONDITION', 'DISK_IN_ACTIVE_ACCESS', 'another caller reads it');
    }
  };
  await assert.rejects(world.compute.createVirtualMachine(specFor('behind', set)));
  await gone('behind');
  assert.equal(disks.disks.has(osDisk), false);
});

for (const ended of ['cut short by a stop', 'refused in time'] as const) {
  promised(`G5: an attach that was ${ended} attaches nothing, however late its request arrives`, async () => {
    const set = fleet.newSet();
    const { name } = await fleet.running(['PREMIUM_SSD', set]);
    const disk = fleet.newDisk('PREMIUM_SSD', set);
    const onItsWay = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    disks.before = async (call) => {
      if (call !== `attachDisk ${disk}`) return;
      onItsWay.resolve();
      await held.promise;
    };
    const attaching = world.compute.attachDisk({ name, lun: 9, disk }).catch((error: unknown) => error);
    await onItsWay.promise;
    if (ended === 'cut short by a stop') {
      await fleet.lose(set);
      await fleet.settled(name, 'STOPPED');
    }
    await attaching;
    await until(
      () => fleet.get(name),
      ({ dataDisks, provisioningState }) =>
        provisioningState !== 'UPDATING' && dataDisks.every((one) => one.disk !== disk),
      clock,
    );
    await settle();
    disks.before = undefined;
    held.resolve();
    await settle();
    assert.equal(diskNamed(disk).managedBy, '');
  });
}

promised('G5: a late open of an attach that a stop interrupted does not end a later open of the disk', async () => {
  const set = fleet.newSet();
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  const disk = fleet.newDisk('PREMIUM_SSD', set);
  // Another machine had it before, so compute has to read the number of its last open.
  diskNamed(disk).attachEpoch = 3;
  const onItsWay = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  disks.before = async (call) => {
    if (call !== `openDisk ${disk}` || diskNamed(disk).attachEpoch !== 3) return;
    disks.before = undefined;
    onItsWay.resolve();
    await held.promise;
  };
  const attaching = world.compute.attachDisk({ name, lun: 9, disk }).catch((error: unknown) => error);
  await onItsWay.promise;
  await fleet.lose(set);
  await fleet.settled(name, 'STOPPED');
  await attaching;
  await fleet.restore(set);
  await settle();
  if (!(await fleet.get(name)).dataDisks.some((one) => one.disk === disk)) {
    await world.compute.attachDisk({ name, lun: 9, disk });
  }
  await world.compute.startVirtualMachine({ name });
  await fleet.settled(name, 'RUNNING');
  const newest = diskNamed(disk).attachEpoch;
  assert.ok(newest > 3);
  held.resolve();
  await settle();
  assert.equal(diskNamed(disk).attachEpoch, newest);
  assert.equal((await fleet.get(name)).powerState, 'RUNNING');
});

promised(
  'VM-11: a machine starts although no response confirms that the disks of its last stop are closed',
  async () => {
    const set = fleet.newSet();
    const {
      name,
      disks: [disk = ''],
    } = await fleet.running(['PREMIUM_SSD', set]);
    disks.before = async (call) => {
      if (call === `closeDisk ${disk}`) throw new RpcFailure('UNAVAILABLE', 'DiskService', 'disk', 'no answer');
    };
    await world.compute.powerOffVirtualMachine({ name });
    await fleet.settled(name, 'STOPPED');
    await settle();
    assert.ok(diskNamed(disk).isOpen);
    await world.compute.startVirtualMachine({ name });
    await fleet.settled(name, 'RUNNING');
  },
);

promised('G5: a disk that was never opened is not closed, because its number would close any open', async () => {
  const set = fleet.newSet();
  const { name } = await fleet.running();
  await world.compute.powerOffVirtualMachine({ name });
  await fleet.settled(name, 'STOPPED');
  const disk = fleet.newDisk('PREMIUM_SSD', set);
  await world.compute.attachDisk({ name, lun: 9, disk });
  disks.lose(set, keyVersionOf(set));
  await world.compute.startVirtualMachine({ name });
  assert.equal((await fleet.settled(name, 'STOPPED')).failure?.code, 'KEY_DISABLED');
  await settle();
  assert.deepEqual(
    disks.calls.filter((call) => call === `closeDisk ${disk}`),
    [],
  );
});
