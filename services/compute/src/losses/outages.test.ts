import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { RpcFailure } from '@interlock/rpc';
import { openVirtualCloud, until } from '../testing/test-cloud.ts';
import { keyVersionOf, location } from '../testing/test-disks.ts';
import { fleetOf } from '../testing/test-fleet.ts';
import { openLosses } from './losses.ts';

const sweepIntervalMs = 10_000;
const world = await openVirtualCloud(1, { settings: { sweepIntervalMs } });
const { clock, disks } = world;
const fleet = fleetOf(world);
after(() => world.close());
const promised = (name: string, run: () => Promise<void>) => test(name, () => clock.drive(run()));

/** The vault of a set does not respond for longer than the host's grace. */
const cutOff = (set: string): void => {
  disks.lose(set, keyVersionOf(set), 'KEY_VAULT_UNREACHABLE');
  disks.show(set, keyVersionOf(set), 'KEY_VAULT_UNREACHABLE');
};
/** The vault responds again, and the key has not changed. */
const backAgain = (set: string): void => {
  disks.restore(set, keyVersionOf(set));
  disks.show(set, keyVersionOf(set), undefined);
};

promised(
  'G3: a reported outage stops a machine once, and not a machine whose ultra disk still has its data',
  async () => {
    const set = fleet.newSet();
    const hit = await fleet.running(['PREMIUM_SSD', set]);
    const pinned = await fleet.running(['ULTRA', set]);
    cutOff(set);
    Object.assign(disks.disks.get(pinned.disks[0] ?? '') ?? {}, { availability: 'LEASE_PINNED' });
    assert.deepEqual(await fleet.report(set, 'KEY_VAULT_UNREACHABLE'), { stoppingCount: 1 });
    assert.deepEqual(await fleet.report(set, 'KEY_VAULT_UNREACHABLE'), { stoppingCount: 0 });
    const { stopReason } = await fleet.settled(hit.name, 'STOPPED');
    assert.deepEqual(
      [stopReason?.reason, stopReason?.disk, stopReason?.keyVersion, stopReason?.traceId],
      ['KEY_VAULT_UNREACHABLE', hit.disks[0], keyVersionOf(set), 'cd'.repeat(16)],
    );
    assert.equal((await fleet.get(pinned.name)).powerState, 'RUNNING');
  },
);

promised('G3: an outdated report of an outage does not stop a machine that was started since', async () => {
  const set = fleet.newSet();
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  cutOff(set);
  await fleet.report(set, 'KEY_VAULT_UNREACHABLE');
  await fleet.settled(name, 'STOPPED');
  backAgain(set);
  await world.compute.startVirtualMachine({ name });
  await fleet.settled(name, 'RUNNING');
  assert.deepEqual(await fleet.report(set, 'KEY_VAULT_UNREACHABLE'), { stoppingCount: 0 });
  await fleet.lose(set);
  assert.equal((await fleet.settled(name, 'STOPPED')).stopReason?.reason, 'KEY_DISABLED');
  assert.equal(fleet.stopsOf(name), 2);
});

promised('G3: a late response about an earlier open does not stop a machine that was started again', async () => {
  const set = fleet.newSet();
  const {
    name,
    disks: [disk = ''],
  } = await fleet.running(['PREMIUM_SSD', set]);
  cutOff(set);
  const asked = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  let looks = 0;
  disks.beforeAnswer = async (call) => {
    if (call !== `getDisk ${disk}`) return;
    looks += 1;
    if (looks > 1) return;
    asked.resolve();
    await gate.promise;
  };
  const report = fleet.report(set, 'KEY_VAULT_UNREACHABLE');
  await asked.promise;
  await world.compute.powerOffVirtualMachine({ name });
  await fleet.settled(name, 'STOPPED');
  backAgain(set);
  await world.compute.startVirtualMachine({ name });
  await fleet.settled(name, 'RUNNING');
  gate.resolve();
  assert.deepEqual(await report, { stoppingCount: 0 });
  disks.beforeAnswer = undefined;
  assert.equal((await fleet.get(name)).powerState, 'RUNNING');
});

promised(
  'G3, G10: the loss behind an outage replaces the outage as reason, and the activity log has both',
  async () => {
    const set = fleet.newSet();
    const {
      name,
      disks: [disk],
    } = await fleet.running(['PREMIUM_SSD', set]);
    cutOff(set);
    await fleet.report(set, 'KEY_VAULT_UNREACHABLE');
    await fleet.settled(name, 'STOPPED');
    const accessEpoch = await fleet.lose(set, 'KEY_DELETED');
    const corrected = await until(
      () => fleet.get(name),
      ({ stopReason }) => stopReason?.reason === 'KEY_DELETED',
      clock,
    );
    assert.deepEqual([corrected.stopReason?.disk, corrected.stopReason?.accessEpoch], [disk, accessEpoch]);
    const { entries } = await world.compute.listActivityLog({ name });
    const causes = entries
      .filter(({ category, status }) => category === 'RESOURCE_HEALTH' && status === 'ACTIVE')
      .map(({ properties }) => properties.cause);
    assert.deepEqual(causes, ['KEY_VAULT_UNREACHABLE', 'KEY_DELETED']);
  },
);

promised(
  'G3: without a fact the sweep learns from the disk service what an outage was, or that it is over',
  async () => {
    const [lost, back] = [fleet.newSet(), fleet.newSet()];
    const [deleted, cured] = [await fleet.running(['PREMIUM_SSD', lost]), await fleet.running(['PREMIUM_SSD', back])];
    for (const set of [lost, back]) {
      cutOff(set);
      await fleet.report(set, 'KEY_VAULT_UNREACHABLE');
    }
    await fleet.settled(deleted.name, 'STOPPED');
    await fleet.settled(cured.name, 'STOPPED');
    disks.show(lost, keyVersionOf(lost), 'VAULT_DELETED');
    backAgain(back);
    await clock.sleep(2 * sweepIntervalMs);
    assert.equal((await fleet.get(deleted.name)).stopReason?.reason, 'VAULT_DELETED');
    const { disks: shown } = await world.compute.getInstanceView({ name: cured.name });
    assert.ok(shown.every(({ statuses }) => statuses.every(({ level }) => level === 'INFO')));
    assert.equal((await fleet.get(cured.name)).powerState, 'STOPPED');
  },
);

promised(
  'G3: the outage of one disk host stops, and its end frees, only machines with disks at that host',
  async () => {
    const set = fleet.newSet();
    const hosts = ['diskHosts/one', 'diskHosts/two'] as const;
    const machines = [await fleet.running(['PREMIUM_SSD', set]), await fleet.running(['PREMIUM_SSD', set])];
    const [one, two] = machines;
    const at = (n: number) => disks.disks.get(machines[n]?.disks[0] ?? '') ?? assert.fail('no disk');
    for (const [n, host] of hosts.entries()) at(n).diskHost = host;
    cutOff(set);
    assert.deepEqual(await fleet.report(set, 'KEY_VAULT_UNREACHABLE', 0, hosts[0]), { stoppingCount: 1 });
    await fleet.settled(one?.name ?? '', 'STOPPED');
    assert.equal((await fleet.get(two?.name ?? '')).powerState, 'RUNNING');
    assert.deepEqual(await fleet.report(set, 'KEY_VAULT_UNREACHABLE', 0, hosts[1]), { stoppingCount: 1 });
    await fleet.settled(two?.name ?? '', 'STOPPED');
    const isBlocked = async (name = ''): Promise<boolean> => {
      const { disks: shown } = await world.compute.getInstanceView({ name });
      return shown.some(({ statuses }) => statuses.some(({ level }) => level !== 'INFO'));
    };
    // The vault responds to the first host again.
    Object.assign(at(0), { availability: 'AVAILABLE', unavailableReason: undefined });
    await until(
      () => isBlocked(one?.name),
      (is) => !is,
      clock,
    );
    await clock.sleep(2 * sweepIntervalMs);
    assert.deepEqual([await isBlocked(one?.name), await isBlocked(two?.name)], [false, true]);
    backAgain(set);
    await until(
      () => isBlocked(two?.name),
      (is) => !is,
      clock,
    );
  },
);

promised('G3: the end of an outage that only a refused start found frees no machine of another disk host', async () => {
  const set = fleet.newSet();
  const hosts = ['diskHosts/one', 'diskHosts/two'] as const;
  const machines = [await fleet.running(['PREMIUM_SSD', set]), await fleet.running(['PREMIUM_SSD', set])];
  const [one, two] = machines;
  const at = (n: number) => disks.disks.get(machines[n]?.disks[0] ?? '') ?? assert.fail('no disk');
  for (const [n, host] of hosts.entries()) at(n).diskHost = host;
  await world.compute.powerOffVirtualMachine({ name: one?.name ?? '' });
  await fleet.settled(one?.name ?? '', 'STOPPED');
  cutOff(set);
  await fleet.report(set, 'KEY_VAULT_UNREACHABLE', 0, hosts[1]);
  await fleet.settled(two?.name ?? '', 'STOPPED');
  await world.compute.startVirtualMachine({ name: one?.name ?? '' });
  await until(
    () => fleet.get(one?.name ?? ''),
    ({ failure }) => failure?.code === 'KEY_VAULT_UNREACHABLE',
    clock,
  );
  const isBlocked = async (name = ''): Promise<boolean> => {
    const { disks: shown } = await world.compute.getInstanceView({ name });
    return shown.some(({ statuses }) => statuses.some(({ level }) => level !== 'INFO'));
  };
  assert.deepEqual([await isBlocked(one?.name), await isBlocked(two?.name)], [true, true]);
  Object.assign(at(0), { availability: 'AVAILABLE', unavailableReason: undefined });
  await until(
    () => isBlocked(one?.name),
    (is) => !is,
    clock,
  );
  await clock.sleep(2 * sweepIntervalMs);
  assert.ok(await isBlocked(two?.name), 'the vault does not respond to the other host yet');
});

promised('G3: a disk that moved to a host without an outage ends no outage of the host that it left', async () => {
  const set = fleet.newSet();
  const machines = [await fleet.running(['PREMIUM_SSD', set]), await fleet.running(['PREMIUM_SSD', set])];
  const at = (n: number) => disks.disks.get(machines[n]?.disks[0] ?? '') ?? assert.fail('no disk');
  for (const n of [0, 1]) at(n).diskHost = 'diskHosts/one';
  cutOff(set);
  await fleet.report(set, 'KEY_VAULT_UNREACHABLE', 0, 'diskHosts/one');
  for (const { name } of machines) await fleet.settled(name, 'STOPPED');
  const areBlocked = async (): Promise<readonly boolean[]> => {
    const views = machines.map(({ name }) => world.compute.getInstanceView({ name }));
    const isBlocked = ({ disks: shown }: Awaited<(typeof views)[number]>): boolean =>
      shown.some(({ statuses }) => statuses.some(({ level }) => level !== 'INFO'));
    return (await Promise.all(views)).map(isBlocked);
  };
  const move = (n: number) =>
    Object.assign(at(n), { diskHost: 'diskHosts/two', availability: 'AVAILABLE', unavailableReason: undefined });
  for (const [first, second] of [
    [0, 1],
    [1, 0],
  ] as const) {
    move(first);
    await clock.sleep(2 * sweepIntervalMs);
    assert.ok((await areBlocked())[second], 'its disk is still at the host without a vault');
    Object.assign(at(first), { diskHost: 'diskHosts/one', availability: 'UNAVAILABLE' });
    at(first).unavailableReason = 'KEY_VAULT_UNREACHABLE';
  }
  for (const n of [0, 1]) move(n);
  await until(areBlocked, (blocked) => !blocked.includes(true), clock);
});

promised('G3: a machine with disks at two hosts waits for the end of both outages', async () => {
  const set = fleet.newSet();
  const { name, disks: own } = await fleet.running(['PREMIUM_SSD', set], ['PREMIUM_SSD', set]);
  const at = (n: number) => disks.disks.get(own[n] ?? '') ?? assert.fail('no disk');
  for (const [n, host] of ['diskHosts/one', 'diskHosts/two'].entries()) at(n).diskHost = host;
  cutOff(set);
  await clock.sleep(2 * sweepIntervalMs);
  await fleet.settled(name, 'STOPPED');
  const blockedDisks = async (): Promise<readonly string[]> => {
    const { disks: shown } = await world.compute.getInstanceView({ name });
    return shown.filter(({ statuses }) => statuses.some(({ level }) => level !== 'INFO')).map(({ name: of }) => of);
  };
  assert.equal((await blockedDisks()).length, 2);
  Object.assign(at(0), { availability: 'AVAILABLE', unavailableReason: undefined });
  await until(blockedDisks, ({ length }) => length === 1, clock);
  Object.assign(at(1), { availability: 'AVAILABLE', unavailableReason: undefined });
  await until(blockedDisks, ({ length }) => length === 0, clock);
});

promised('G2: without a message the sweep stops machines whose disks have no data, ultra disks included', async () => {
  const set = fleet.newSet();
  const ordinary = await fleet.running(['STANDARD_HDD', set]);
  const ultra = await fleet.running(['ULTRA', set]);
  const spared = await fleet.running(['PREMIUM_SSD', fleet.newSet()]);
  await world.cloud.stop('disk-encryption-set');
  disks.lose(set, keyVersionOf(set), 'ACCESS_DENIED');
  disks.show(set, keyVersionOf(set), 'ACCESS_DENIED');
  const t0 = clock.monotonicMs();
  for (const {
    name,
    disks: [disk],
  } of [ordinary, ultra]) {
    const { stopReason } = await fleet.settled(name, 'STOPPED');
    assert.deepEqual([stopReason?.reason, stopReason?.disk], ['ACCESS_DENIED', disk]);
  }
  assert.ok(clock.monotonicMs() - t0 <= sweepIntervalMs + 1_000, `${clock.monotonicMs() - t0} ms`);
  assert.equal((await fleet.get(spared.name)).powerState, 'RUNNING');
  await world.cloud.start('disk-encryption-set');
});

promised(
  'CMK-102, G3: a machine with an ultra disk whose host restarted is off because of that, not of the lost key',
  async () => {
    const set = fleet.newSet();
    const { name } = await fleet.running(['PREMIUM_SSD', fleet.newSet()], ['ULTRA', set]);
    await fleet.lose(set);
    // Disk host and compute restart together: the DEK that was kept for the guest is gone.
    await world.cloud.stop('compute');
    world.driver.restartHost();
    disks.show(set, keyVersionOf(set), 'KEY_DISABLED');
    await world.cloud.start('compute');
    const { stopReason, stopCause } = await fleet.settled(name, 'STOPPED');
    assert.deepEqual([stopReason, stopCause], [undefined, 'HOST_RESTARTED']);
  },
);

promised('G3, G10: a stop by the sweep names the newest known loss only if that loss concerns the open', async () => {
  const set = fleet.newSet();
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  const told = await fleet.lose(set);
  assert.equal((await fleet.settled(name, 'STOPPED')).stopReason?.accessEpoch, told);
  // Access is restored and lost again for the same reason, and no fact about either arrives.
  disks.restore(set, keyVersionOf(set));
  await world.compute.startVirtualMachine({ name });
  await fleet.settled(name, 'RUNNING');
  disks.lose(set, keyVersionOf(set));
  disks.show(set, keyVersionOf(set), 'KEY_DISABLED');
  const { stopReason } = await fleet.settled(name, 'STOPPED');
  assert.deepEqual([stopReason?.reason, stopReason?.accessEpoch], ['KEY_DISABLED', 0]);
  // Once stored, it is the newest loss, and names the next stop by the sweep.
  disks.restore(set, keyVersionOf(set));
  disks.show(set, keyVersionOf(set), undefined);
  await world.compute.startVirtualMachine({ name });
  await fleet.settled(name, 'RUNNING');
  const newest = disks.lose(set, keyVersionOf(set));
  const losses = openLosses(world.store);
  const loss = {
    reason: 'KEY_DISABLED',
    set,
    keyVersion: keyVersionOf(set),
    since: 1,
    traceId: '',
    accessEpoch: newest,
  };
  await losses.remember({ ...loss, reason: 'KEY_DISABLED' }, { correlationId: 'c', causes: [], caller: 'system:test' });
  disks.show(set, keyVersionOf(set), 'KEY_DISABLED');
  const stopped = await fleet.settled(name, 'STOPPED');
  assert.deepEqual([stopped.stopReason?.reason, stopped.stopReason?.accessEpoch], ['KEY_DISABLED', newest]);
});

promised('G10: a loss published again with another reason is corrected, unless it is over', async () => {
  const set = fleet.newSet();
  const keyVersion = keyVersionOf(set);
  const accessEpoch = disks.lose(set, keyVersion);
  const losses = openLosses(world.store);
  const cause = (id: string) => ({ correlationId: id, causes: [], caller: 'system:test' });
  const loss = { set, keyVersion, since: clock.now(), traceId: '', accessEpoch };
  await losses.remember({ ...loss, reason: 'KEY_DISABLED' }, cause('disabled'));
  await losses.remember({ ...loss, reason: 'KEY_EXPIRED' }, cause('expired'));
  const [known] = await losses.of(set, keyVersion);
  assert.deepEqual([known?.reason, known?.cause.correlationId], ['KEY_EXPIRED', 'disabled']);
  await losses.remember({ ...loss, reason: 'KEY_DELETED', accessEpoch: accessEpoch - 1 }, cause('late'));
  await world.store.commit({ rows: await losses.rowsForRestored(set, keyVersion, accessEpoch) }, cause('returned'));
  await losses.remember({ ...loss, reason: 'KEY_DISABLED' }, cause('disabled'));
  const [over] = await losses.of(set, keyVersion);
  assert.deepEqual([over?.reason, over?.isOver], ['KEY_EXPIRED', true]);
});

promised('G2: a set for which the disk service does not respond delays no other set', async () => {
  const [silent, lost] = [fleet.newSet(), fleet.newSet()];
  await fleet.running(['PREMIUM_SSD', silent]);
  const { name } = await fleet.running(['PREMIUM_SSD', lost]);
  disks.before = async (call) => {
    if (call === `listDisks ${silent}`) throw new RpcFailure('UNAVAILABLE', 'DiskService', 'disk', 'down');
  };
  disks.show(lost, keyVersionOf(lost), 'KEY_DISABLED');
  await fleet.settled(name, 'STOPPED');
  disks.before = undefined;
});

promised('ReportAccessLost: an invalid report is refused with its own reason, and stops nothing', async () => {
  const set = fleet.newSet();
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  const host = world.computeAs('disk');
  const request = {
    diskHost: 'h1',
    diskEncryptionSet: set,
    keyVersion: keyVersionOf(set),
    accessEpoch: 9_999,
  } as const;
  await assert.rejects(host.reportAccessLost(request), { reason: 'REASON_MISSING' });
  await assert.rejects(host.reportAccessLost({ ...request, reason: 'THROTTLED' }), { reason: 'REASON_NOT_A_LOSS' });
  const nameless = { ...request, diskHost: '', reason: 'KEY_DISABLED' } as const;
  await assert.rejects(host.reportAccessLost(nameless), { reason: 'DISK_HOST_MISSING' });
  assert.equal((await fleet.get(name)).powerState, 'RUNNING');
});

promised('a report that the disk service does not confirm in time fails, and a repeat stops the machine', async () => {
  const set = fleet.newSet();
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  cutOff(set);
  disks.before = async (call) => {
    if (call.startsWith('listDisks')) throw new RpcFailure('UNAVAILABLE', 'DiskService', 'disk', 'down');
  };
  await assert.rejects(fleet.report(set, 'KEY_VAULT_UNREACHABLE'), { code: 'DEADLINE_EXCEEDED' });
  assert.equal((await fleet.get(name)).powerState, 'RUNNING');
  disks.before = undefined;
  await fleet.report(set, 'KEY_VAULT_UNREACHABLE');
  await fleet.settled(name, 'STOPPED');
});

promised('G10: an attach is refused with the reason if the disk service does not reply in time', async () => {
  const { name } = await fleet.running();
  const disk = fleet.newDisk();
  disks.before = async (call) => {
    if (call.startsWith('getDisk')) throw new RpcFailure('UNAVAILABLE', 'DiskService', 'disk', 'down');
  };
  const attaching = world.compute.attachDisk({ name, disk, lun: 1 }, { deadlineMs: 3_000 });
  await assert.rejects(attaching, { code: 'UNAVAILABLE', reason: 'DEPENDENCY_UNAVAILABLE' });
  disks.before = undefined;
});

promised(
  'G10: a request for a disk that is being created waits for it, and is refused with DISK_CREATING at its deadline',
  async () => {
    const { name } = await fleet.running();
    const disk = fleet.newDisk();
    const made = disks.disks.get(disk);
    assert.ok(made);
    made.isCreating = true;
    const attaching = world.compute.attachDisk({ name, disk, lun: 1 }, { deadlineMs: 3_000 });
    await assert.rejects(attaching, { code: 'ABORTED', reason: 'DISK_CREATING' });
    const vm = {
      parent: 'subscriptions/s/resourceGroups/g',
      virtualMachineId: 'later',
      location,
      osDisk: { source: { $case: 'disk', value: disk } },
    } as const;
    const creating = world.compute.createVirtualMachine(vm, { deadlineMs: 3_000 });
    await assert.rejects(creating, { code: 'ABORTED', reason: 'DISK_CREATING' });
    await assert.rejects(fleet.get(`${vm.parent}/virtualMachines/later`), { code: 'NOT_FOUND' });
    const patient = world.compute.attachDisk({ name, disk, lun: 1 });
    await clock.sleep(500);
    made.isCreating = false;
    await patient;
  },
);

promised(
  'G10, CMK-120: restored access after an earlier loss does not hide the loss that stopped the machine',
  async () => {
    const set = fleet.newSet();
    const keyVersion = keyVersionOf(set);
    const value = { set, keyExpiry: 'STOP', autoRestart: true } as const;
    await world.tellOfSet({ $case: 'setOptionsChanged', value });
    const { name, disks: own } = await fleet.running(['PREMIUM_SSD', set]);
    // Lost, restored and lost again; only the report of the host arrives in time.
    disks.lose(set, keyVersion);
    const returnedAt = disks.restore(set, keyVersion);
    const lostAt = disks.lose(set, keyVersion);
    assert.deepEqual(await fleet.report(set, 'KEY_DISABLED', lostAt), { stoppingCount: 1 });
    await fleet.settled(name, 'STOPPED');
    await world.tellOfSet({ $case: 'keyAccessRestored', value: { set, keyVersion, accessEpoch: returnedAt } });
    await clock.sleep(5_000);
    assert.equal((await fleet.get(name)).provisioningState, 'SUCCEEDED', 'no start was tried');
    const { disks: views } = await world.compute.getInstanceView({ name });
    const view = views.find((one) => one.name === own[0]);
    assert.equal(view?.statuses[0]?.code, 'ProvisioningState/failed/KeyVaultKeyNotEnabled');
    await fleet.restore(set);
    await fleet.settled(name, 'RUNNING');
  },
);

promised('CMK-120, VM-41: restored access that is consumed after a newer loss starts nothing', async () => {
  const set = fleet.newSet();
  const keyVersion = keyVersionOf(set);
  const value = { set, keyExpiry: 'STOP', autoRestart: true } as const;
  await world.tellOfSet({ $case: 'setOptionsChanged', value });
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  await fleet.lose(set);
  await fleet.settled(name, 'STOPPED');
  const returnedAt = disks.restore(set, keyVersion);
  const lostAt = disks.lose(set, keyVersion);
  assert.deepEqual(await fleet.report(set, 'KEY_DISABLED', lostAt), { stoppingCount: 0 });
  await world.tellOfSet({ $case: 'keyAccessRestored', value: { set, keyVersion, accessEpoch: returnedAt } });
  await clock.sleep(5_000);
  const { provisioningState, keyReturned } = await fleet.get(name);
  assert.deepEqual([provisioningState, keyReturned], ['SUCCEEDED', false]);
  await fleet.restore(set);
  await fleet.settled(name, 'RUNNING');
});

promised('G10: the end of an outage does not resolve a loss that the vault decided meanwhile', async () => {
  const set = fleet.newSet();
  const { name, disks: own } = await fleet.running(['PREMIUM_SSD', set]);
  const [disk = ''] = own;
  cutOff(set);
  await fleet.report(set, 'KEY_VAULT_UNREACHABLE');
  await fleet.settled(name, 'STOPPED');
  backAgain(set);
  // The sweep has read that the disk can be used, and the key is lost before the sweep stores that.
  const seen = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  disks.beforeAnswer = async (call) => {
    if (call !== `getDisk ${disk}`) return;
    seen.resolve();
    await held.promise;
  };
  await seen.promise;
  await fleet.lose(set);
  await clock.sleep(100);
  assert.equal((await fleet.get(name)).stopReason?.reason, 'KEY_DISABLED');
  disks.beforeAnswer = undefined;
  held.resolve();
  await clock.sleep(5_000);
  const { entries } = await world.compute.listActivityLog({ name });
  assert.equal(entries.filter(({ status }) => status === 'RESOLVED').length, 0, 'only restored access resolves it');
  await fleet.restore(set);
});

promised(
  'VM-06, CMK-114: a disk whose key is lost while its machine is off shows the error that blocks the next start',
  async () => {
    const set = fleet.newSet();
    const { name, disks: own } = await fleet.running(['PREMIUM_SSD', set]);
    await world.compute.powerOffVirtualMachine({ name });
    await fleet.settled(name, 'STOPPED');
    const codes = async () => {
      const listed = await world.compute.listVirtualMachines({
        parent: 'subscriptions/s/resourceGroups/g',
        view: 'FULL',
      });
      const inList = listed.virtualMachines.find((one) => one.name === name)?.instanceView;
      const views = [await world.compute.getInstanceView({ name }), inList];
      return views.map((view) => view?.disks.find((disk) => disk.name === own[0])?.statuses[0]?.code);
    };
    await clock.sleep(1_000);
    const { etag } = await fleet.get(name);
    await fleet.lose(set);
    await clock.sleep(1_000);
    assert.deepEqual(await codes(), Array(2).fill('ProvisioningState/failed/KeyVaultKeyNotEnabled'));
    assert.equal((await fleet.get(name)).etag, etag, 'the machine itself does not change');
    await fleet.restore(set);
    await clock.sleep(1_000);
    assert.deepEqual(await codes(), Array(2).fill('ProvisioningState/succeeded'));
  },
);
