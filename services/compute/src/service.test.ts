import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';
import type { AccessReason } from '@interlock/access';
import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { RpcFailure } from '@interlock/rpc';
import { openLosses } from './losses/losses.ts';
import { openTestCloud, type TestCloud, until } from './testing/test-cloud.ts';
import { keyVersionOf, location } from './testing/test-disks.ts';
import type { Sku } from './vm/machine.ts';

type CreateRequest = Parameters<TestCloud['compute']['createVirtualMachine']>[0];

let world: TestCloud;
before(async () => {
  world = await openTestCloud();
});
after(() => world.close());
beforeEach(() => {
  world.disks.before = undefined;
  world.disks.beforeAnswer = undefined;
});

const parent = 'subscriptions/s/resourceGroups/g';
const newSet = () => `${parent}/diskEncryptionSets/des-${randomUUID()}`;
const newDisk = (sku: Sku = 'PREMIUM_SSD', set = '') =>
  world.disks.add(`${parent}/disks/d-${randomUUID()}`, { sku, set, keyVersion: set && keyVersionOf(set) });
const get = (name: string) => world.compute.getVirtualMachine({ name });
const inPower = (name: string, power: VirtualMachine['powerState']) =>
  until(
    () => get(name),
    (vm) => vm.powerState === power && !['CREATING', 'UPDATING'].includes(vm.provisioningState),
  );
const create = (dataDisks: readonly string[] = [], osDisk = newDisk()) =>
  world.compute.createVirtualMachine({
    parent,
    virtualMachineId: `vm-${randomUUID().slice(0, 8)}`,
    location,
    osDisk: { source: { $case: 'disk', value: osDisk } },
    dataDisks: dataDisks.map((disk, n) => ({ source: { $case: 'disk', value: disk }, lun: n })),
    ultraSsdEnabled: true,
  });
const runningVm = async (...skus: readonly (readonly [Sku, string])[]) => {
  const disks = skus.map(([sku, set]) => newDisk(sku, set));
  const { name } = await create(disks);
  await inPower(name, 'RUNNING');
  return { name, disks };
};
const lose = async (set: string, reason: AccessReason = 'KEY_DISABLED', cause = {}) => {
  const keyVersion = keyVersionOf(set);
  const accessEpoch = world.disks.lose(set, keyVersion, reason);
  const value = { set, keyVersion, reason, accessEpoch, since: new Date(), partial: false };
  await world.tellOfSet({ $case: 'keyAccessLost', value }, cause);
  return { keyVersion, accessEpoch, value };
};
const restore = async (set: string) => {
  const keyVersion = keyVersionOf(set);
  const accessEpoch = world.disks.restore(set, keyVersion);
  await world.tellOfSet({ $case: 'keyAccessRestored', value: { set, keyVersion, accessEpoch } });
};
const errorsOf = async (name: string) =>
  (await world.compute.getInstanceView({ name })).disks
    .filter(({ statuses }) => statuses.some(({ level }) => level === 'ERROR'))
    .map(({ name: disk, statuses }) => [disk, statuses[0]?.code]);

test('VM-10, CMK-09: a machine is created with its disks and runs, under customer and platform keys', async () => {
  const set = newSet();
  const { name, disks } = await runningVm(['PREMIUM_SSD', set], ['ULTRA', set]);
  const vm = await get(name);
  assert.equal(vm.provisioningState, 'SUCCEEDED');
  assert.deepEqual(
    vm.dataDisks.map(({ disk, lun, sku }) => [disk, lun, sku]),
    [
      [disks[0], 0, 'PREMIUM_SSD'],
      [disks[1], 1, 'ULTRA'],
    ],
  );
  assert.equal(world.driver.guests.get(name)?.length, 3);
  const statuses = (await world.compute.getInstanceView({ name })).statuses.map(({ code, displayStatus }) => [
    code,
    displayStatus,
  ]);
  assert.deepEqual(statuses, [
    ['ProvisioningState/succeeded', 'Provisioning succeeded'],
    ['PowerState/running', 'VM running'],
  ]);
});

test('REST-17: a machine in a subscription that does not exist is refused', async () => {
  const nowhere = 'subscriptions/nowhere/resourceGroups/g';
  const made = { sku: 'PREMIUM_SSD', sizeGib: 4 } as const;
  const spec = { virtualMachineId: 'vm1', location, osDisk: { source: { $case: 'newDisk', value: made } } } as const;
  await assert.rejects(world.compute.createVirtualMachine({ ...spec, parent: nowhere }), {
    code: 'NOT_FOUND',
    reason: 'SUBSCRIPTION_NOT_FOUND',
  });
});

test('VM-10: new disks are created with the machine; its deletion deletes those with deleteWithVm (VM-17, CMK-131)', async () => {
  const set = newSet();
  const virtualMachineId = `vm-${randomUUID().slice(0, 8)}`;
  const request: CreateRequest = {
    parent,
    virtualMachineId,
    location,
    osDisk: { source: { $case: 'newDisk', value: { sku: 'PREMIUM_SSD', sizeGib: 4 } }, deleteWithVm: true },
    dataDisks: [
      {
        source: {
          $case: 'newDisk',
          value: {
            sku: 'STANDARD_SSD',
            sizeGib: 4,
            encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set },
          },
        },
        lun: 5,
      },
    ],
  };
  const { name } = await world.compute.createVirtualMachine(request);
  await inPower(name, 'RUNNING');
  assert.equal((await world.compute.createVirtualMachine(request)).name, name);
  const [osDisk, dataDisk] = [`${parent}/disks/${virtualMachineId}-os`, `${parent}/disks/${virtualMachineId}-data-5`];
  assert.equal(world.disks.disks.get(dataDisk)?.set, set);
  assert.equal((await world.compute.deleteVirtualMachine({ name })).provisioningState, 'DELETING');
  await assert.rejects(
    until(
      () => get(name),
      () => false,
    ),
    { reason: 'VIRTUAL_MACHINE_NOT_FOUND' },
  );
  assert.equal(world.disks.disks.has(osDisk), false);
  assert.deepEqual([world.disks.disks.get(dataDisk)?.state, world.disks.disks.get(dataDisk)?.set], ['UNATTACHED', set]);
  assert.equal(world.driver.guests.has(name), false);
});

test('CMK-110, CMK-106: a creation under a lost key is refused with the reason and leaves nothing', async () => {
  const set = newSet();
  world.disks.lose(set, keyVersionOf(set));
  const existing = newDisk('PREMIUM_SSD', set);
  const virtualMachineId = `vm-${randomUUID().slice(0, 8)}`;
  const request: CreateRequest = {
    parent,
    virtualMachineId,
    location,
    osDisk: { source: { $case: 'newDisk', value: { sku: 'PREMIUM_SSD', sizeGib: 4 } } },
    dataDisks: [{ source: { $case: 'disk', value: existing } }],
  };
  await assert.rejects(world.compute.createVirtualMachine(request), {
    code: 'FAILED_PRECONDITION',
    reason: 'KEY_DISABLED',
    message: `The key vault key '${keyVersionOf(set)}' used for disk encryption set '${set}' must be in the enabled state.`,
  });
  await assert.rejects(get(`${parent}/virtualMachines/${virtualMachineId}`), { reason: 'VIRTUAL_MACHINE_NOT_FOUND' });
  assert.equal(world.disks.disks.has(`${parent}/disks/${virtualMachineId}-os`), false);
  assert.equal(world.disks.disks.get(existing)?.managedBy, '');
  world.disks.restore(set, keyVersionOf(set));
  const { name } = await world.compute.createVirtualMachine(request);
  await inPower(name, 'RUNNING');
});

test('CMK-110, G2: after a failed creation a disk that is still being created is waited for and deleted', async () => {
  const set = newSet();
  world.disks.lose(set, keyVersionOf(set));
  const virtualMachineId = `vm-${randomUUID().slice(0, 8)}`;
  const osDisk = `${parent}/disks/${virtualMachineId}-os`;
  let looks = 0;
  world.disks.before = async (call) => {
    const found = world.disks.disks.get(osDisk);
    if (call === `createDisk ${osDisk}`) {
      if (found?.isCreating === false) return;
      if (!found) Object.assign(world.disks.disks.get(world.disks.add(osDisk, {})) ?? {}, { isCreating: true });
      throw new RpcFailure('DEADLINE_EXCEEDED', 'DiskService', 'disk', 'too late');
    }
    if (call !== `getDisk ${osDisk}` || !found) return;
    looks += 1;
    if (looks === 2) found.isCreating = false;
  };
  const request: CreateRequest = {
    parent,
    virtualMachineId,
    location,
    osDisk: { source: { $case: 'newDisk', value: { sku: 'PREMIUM_SSD', sizeGib: 4 } } },
    dataDisks: [{ source: { $case: 'disk', value: newDisk('PREMIUM_SSD', set) } }],
  };
  await assert.rejects(world.compute.createVirtualMachine(request), { reason: 'KEY_DISABLED' });
  assert.equal(looks, 3, 'the third is that of its deletion');
  assert.equal(world.disks.disks.has(osDisk), false);
});

test('REST-51, CMK-52, VM-18: an invalid request is refused with its reason before anything is created', async () => {
  const ultra = newDisk('ULTRA');
  const base = {
    parent,
    virtualMachineId: 'never',
    location,
    osDisk: { source: { $case: 'disk', value: newDisk() } },
  } as const;
  const disk = (value: string, lun = 0) => ({ source: { $case: 'disk', value }, lun }) as const;
  const refused = async (request: Parameters<typeof world.compute.createVirtualMachine>[0], reason: string) =>
    assert.rejects(world.compute.createVirtualMachine(request), { reason });
  await refused({ ...base, dataDisks: [disk(ultra)] }, 'ULTRA_SSD_NOT_ENABLED');
  await refused({ ...base, osDisk: disk(ultra), ultraSsdEnabled: true }, 'OS_DISK_SKU_NOT_ALLOWED');
  await refused({ ...base, dataDisks: [disk(newDisk(), 3), disk(newDisk(), 3)] }, 'LUN_IN_USE');
  await refused({ ...base, dataDisks: [disk(newDisk(), 64)] }, 'LUN_INVALID');
  await refused({ ...base, location: 'elsewhere' }, 'LOCATION_MISMATCH');
  await refused(
    { ...base, dataDisks: [disk('subscriptions/other/resourceGroups/g/disks/d')] },
    'SUBSCRIPTION_MISMATCH',
  );
  await refused({ ...base, dataDisks: [disk(`${parent}/disks/none`)] }, 'DISK_NOT_FOUND');
  await refused({ ...base, virtualMachineId: 'a.b' }, 'ID_INVALID');
  for (const [sku, sizeGib] of [
    ['PREMIUM_SSD', 32_768],
    ['ULTRA', 65_537],
    ['ULTRA', 0],
  ] as const) {
    const made = { source: { $case: 'newDisk', value: { sku, sizeGib } }, lun: 0 } as const;
    await refused({ ...base, dataDisks: [made], ultraSsdEnabled: true }, 'DISK_SIZE_INVALID');
  }
  const { disks } = await runningVm(['PREMIUM_SSD', '']);
  await refused({ ...base, dataDisks: [disk(disks[0] ?? '')] }, 'DISK_ATTACHED');
});

test('CMK-100, VM-40 to VM-44: a lost key stops the machine; machine and activity log show the reason', async () => {
  const set = newSet();
  const { name, disks } = await runningVm(['PREMIUM_SSD', set], ['PREMIUM_SSD', '']);
  const correlationId = randomUUID();
  const { keyVersion, accessEpoch } = await lose(set, 'KEY_DISABLED', { correlationId });
  const vm = await inPower(name, 'STOPPED');
  assert.equal(vm.provisioningState, 'SUCCEEDED');
  assert.deepEqual(
    [vm.stopReason?.reason, vm.stopReason?.disk, vm.stopReason?.keyVersion, vm.stopReason?.accessEpoch],
    ['KEY_DISABLED', disks[0], keyVersion, accessEpoch],
  );
  assert.deepEqual(await errorsOf(name), [[disks[0], 'ProvisioningState/failed/KeyVaultKeyNotEnabled']]);
  await until(
    async () => world.disks.disks.get(disks[0] ?? ''),
    (disk) => disk?.isOpen === false,
  );
  assert.equal(world.disks.disks.get(disks[0] ?? '')?.state, 'ATTACHED');
  const { entries } = await world.compute.listActivityLog({ name });
  const health = entries.filter(({ category }) => category === 'RESOURCE_HEALTH');
  assert.deepEqual(
    health.map(({ status, caller, correlationId: cor, properties }) => [
      status,
      caller,
      cor,
      properties.cause,
      properties.keyUrl,
      properties.diskEncryptionSet,
      properties.disks,
    ]),
    [
      ['ACTIVE', '', correlationId, 'KEY_DISABLED', keyVersion, set, disks[0]],
      ['SUCCEEDED', '', correlationId, 'KEY_DISABLED', undefined, undefined, undefined],
    ],
  );
  const [stopped, recorded] = [vm.stopTime?.getTime() ?? 0, health.at(-1)?.eventTime?.getTime() ?? 0];
  // The event is decided before the store records it.
  assert.ok(vm.startTime && stopped >= vm.startTime.getTime() && recorded >= stopped, `${stopped} ${recorded}`);
  assert.deepEqual(
    entries.filter(({ category }) => category === 'ADMINISTRATIVE').map(({ operation, status }) => [operation, status]),
    [
      ['virtualMachines/write', 'STARTED'],
      ['virtualMachines/write', 'ACCEPTED'],
      ['virtualMachines/write', 'SUCCEEDED'],
    ],
  );
});

test('CMK-105: a withdrawn grant stops machines; CMK-111: machines of other sets keep running', async () => {
  const [set, other] = [newSet(), newSet()];
  const hit = await runningVm(['STANDARD_HDD', set]);
  const spared = await runningVm(['STANDARD_HDD', other]);
  await lose(set, 'ACCESS_DENIED');
  await inPower(hit.name, 'STOPPED');
  assert.equal((await get(spared.name)).powerState, 'RUNNING');
});

test('VM-45: a loss published again after the machine was started does not stop it a second time', async () => {
  const set = newSet();
  const { name } = await runningVm(['PREMIUM_SSD', set]);
  const { value } = await lose(set);
  await inPower(name, 'STOPPED');
  await restore(set);
  await world.compute.startVirtualMachine({ name });
  await inPower(name, 'RUNNING');
  await world.tellOfSet({ $case: 'keyAccessLost', value });
  // A later loss of another set is consumed after it.
  const witness = newSet();
  const other = await runningVm(['PREMIUM_SSD', witness]);
  await lose(witness);
  await inPower(other.name, 'STOPPED');
  assert.equal((await get(name)).powerState, 'RUNNING');
  assert.equal(world.driver.history.filter((line) => line === `stop ${name}`).length, 1);
});

test('VM-45, VM-42: one guest that does not shut down delays no other', async () => {
  const set = newSet();
  const vms = await Promise.all([1, 2, 3].map(() => runningVm(['PREMIUM_SSD', set])));
  const [slow, ...quick] = vms;
  assert.ok(slow);
  world.driver.slowToStop.set(slow.name, 60_000);
  await lose(set);
  for (const { name } of quick) await inPower(name, 'STOPPED');
  await inPower(slow.name, 'STOPPED');
  const order = world.driver.history.filter((line) => vms.some(({ name }) => line === `stop ${name}`));
  assert.equal(order.at(-1), `stop ${slow.name}`);
});

test('CMK-102, VM-49, CMK-126: an ultra machine keeps running; deallocated, it does not start until access is restored', async () => {
  const set = newSet();
  const { name, disks } = await runningVm(['ULTRA', set]);
  const mixed = await runningVm(['ULTRA', set], ['PREMIUM_SSD', set]);
  await lose(set);
  await inPower(mixed.name, 'STOPPED');
  assert.equal((await get(name)).powerState, 'RUNNING');
  await world.compute.deallocateVirtualMachine({ name });
  await inPower(name, 'DEALLOCATED');
  assert.equal(world.disks.disks.get(disks[0] ?? '')?.state, 'RESERVED');
  await world.compute.startVirtualMachine({ name });
  const failed = await inPower(name, 'DEALLOCATED');
  assert.deepEqual(
    [
      failed.provisioningState,
      failed.failure?.operation,
      failed.failure?.code,
      failed.failure?.accessLoss?.disk,
      failed.failure?.accessLoss?.traceId,
    ],
    ['FAILED', 'start', 'KEY_DISABLED', disks[0], 'ab'.repeat(16)],
  );
  assert.deepEqual(await errorsOf(name), [[disks[0], 'ProvisioningState/failed/KeyVaultKeyNotEnabled']]);
  const { statuses } = await world.compute.getInstanceView({ name });
  assert.equal(statuses[0]?.code, 'ProvisioningState/failed/KeyVaultKeyNotEnabled');
  await until(
    async () => world.disks.disks.get(disks[0] ?? ''),
    (disk) => disk?.state === 'RESERVED',
  );
  await restore(set);
  await until(
    () => errorsOf(name),
    (errors) => errors.length === 0,
  );
  assert.equal((await get(name)).powerState, 'DEALLOCATED');
  await world.compute.startVirtualMachine({ name });
  assert.equal((await inPower(name, 'RUNNING')).provisioningState, 'SUCCEEDED');
});

test('CMK-102, VM-49, VM-44: an ultra machine shows and logs what blocks its next start until access is restored', async () => {
  const set = newSet();
  const { name, disks } = await runningVm(['ULTRA', set]);
  const { keyVersion } = await lose(set);
  const running = await until(
    () => get(name),
    ({ nextStartLosses }) => nextStartLosses.length > 0,
  );
  assert.equal(running.powerState, 'RUNNING');
  assert.deepEqual(
    running.nextStartLosses.map((loss) => [loss.reason, loss.disk, loss.keyVersion]),
    [['KEY_DISABLED', disks[0], keyVersion]],
  );
  await restore(set);
  await until(
    () => get(name),
    ({ nextStartLosses }) => nextStartLosses.length === 0,
  );
  const { entries } = await world.compute.listActivityLog({ name });
  const health = entries.filter(({ category }) => category === 'RESOURCE_HEALTH');
  assert.deepEqual(
    health.map(({ status, properties }) => [status, properties.availability, properties.cause]),
    [
      ['ACTIVE', 'Degraded', 'KEY_DISABLED'],
      ['RESOLVED', 'Available', undefined],
    ],
  );
  const [begun, ended] = health;
  assert.equal(begun?.operationId, ended?.operationId);
  assert.deepEqual([begun?.properties.disks, begun?.properties.keyUrl], [disks[0], keyVersion]);
});

test('VM-33: a restart opens every disk again, so an ultra machine under a lost key is stopped with the reason', async () => {
  const set = newSet();
  const { name, disks } = await runningVm(['ULTRA', set]);
  await lose(set);
  await world.compute.restartVirtualMachine({ name, requestId: randomUUID() });
  const vm = await inPower(name, 'STOPPED');
  assert.deepEqual(
    [vm.provisioningState, vm.failure?.operation, vm.failure?.code],
    ['FAILED', 'restart', 'KEY_DISABLED'],
  );
  assert.equal(world.driver.guests.has(name), false);
  await until(
    async () => world.disks.disks.get(disks[0] ?? ''),
    (disk) => disk?.isOpen === false,
  );
});

test('VM-14: a restarted machine runs with new opens of its disks', async () => {
  const { name, disks } = await runningVm(['PREMIUM_SSD', newSet()]);
  const epochBefore = world.disks.disks.get(disks[0] ?? '')?.attachEpoch;
  const requestId = randomUUID();
  await world.compute.restartVirtualMachine({ name, requestId });
  await inPower(name, 'RUNNING');
  assert.equal(world.disks.disks.get(disks[0] ?? '')?.attachEpoch, Number(epochBefore) + 1);
  assert.ok(world.driver.guests.get(name)?.every(({ isContinued }) => isContinued));
  await world.compute.restartVirtualMachine({ name, requestId });
  assert.equal((await get(name)).provisioningState, 'SUCCEEDED');
});

test('VM-48, CMK-53: power off, detach, deallocate and delete need no key', async () => {
  const set = newSet();
  const { name, disks } = await runningVm(['ULTRA', set], ['ULTRA', set]);
  await lose(set);
  await world.compute.powerOffVirtualMachine({ name });
  await inPower(name, 'STOPPED');
  await world.compute.detachDisk({ name, disk: disks[0] ?? '' });
  assert.deepEqual(
    (await inPower(name, 'STOPPED')).dataDisks.map(({ disk }) => disk),
    [disks[1]],
  );
  assert.equal(world.disks.disks.get(disks[0] ?? '')?.state, 'UNATTACHED');
  await world.compute.detachDisk({ name, disk: disks[0] ?? '' });
  await assert.rejects(world.compute.detachDisk({ name, disk: newDisk() }), { reason: 'DISK_NOT_ATTACHED' });
  await world.compute.deallocateVirtualMachine({ name });
  await inPower(name, 'DEALLOCATED');
  await world.compute.deleteVirtualMachine({ name });
  await assert.rejects(
    until(
      () => get(name),
      () => false,
    ),
    { reason: 'VIRTUAL_MACHINE_NOT_FOUND' },
  );
  assert.equal(world.disks.disks.get(disks[1] ?? '')?.managedBy, '');
});

test('VM-18, CMK-110: an attach to a running machine opens the disk at once, and is refused under a lost key', async () => {
  const { name } = await runningVm();
  const set = newSet();
  const good = newDisk('PREMIUM_SSD', set);
  const vm = await world.compute.attachDisk({ name, lun: 7, disk: good });
  assert.deepEqual(
    vm.dataDisks.map(({ disk, lun }) => [disk, lun]),
    [[good, 7]],
  );
  assert.equal(world.driver.guests.get(name)?.length, 2);
  const bad = newDisk('PREMIUM_SSD', set);
  world.disks.lose(set, keyVersionOf(set));
  await assert.rejects(world.compute.attachDisk({ name, lun: 8, disk: bad }), { reason: 'KEY_DISABLED' });
  const after = await get(name);
  assert.deepEqual(
    after.dataDisks.map(({ disk }) => disk),
    [good],
  );
  assert.equal(after.powerState, 'RUNNING');
  assert.equal(world.disks.disks.get(bad)?.managedBy, '');
  await world.compute.powerOffVirtualMachine({ name });
  await inPower(name, 'STOPPED');
  await world.compute.attachDisk({ name, lun: 8, disk: bad });
  assert.equal(world.disks.disks.get(bad)?.isOpen, false);
});

test('VM-20: a second operation is refused with the message that clients match on', async () => {
  const { name } = await runningVm(['PREMIUM_SSD', newSet()]);
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  world.disks.before = async (call) => {
    if (!call.startsWith('closeDisk')) return;
    reached.resolve();
    await gate.promise;
  };
  await world.compute.deallocateVirtualMachine({ name });
  await reached.promise;
  await assert.rejects(world.compute.startVirtualMachine({ name }), {
    reason: 'OPERATION_IN_PROGRESS',
    message: `Operation 'start' is not allowed on VM '${name}' since another operation is in progress.`,
  });
  gate.resolve();
  await inPower(name, 'DEALLOCATED');
});

test('G2: a loss that is handled before the response to an open arrives stops the machine', async () => {
  const set = newSet();
  const { name, disks } = await runningVm(['PREMIUM_SSD', set], ['PREMIUM_SSD', set]);
  const moved = world.disks.disks.get(disks[1] ?? '');
  assert.ok(moved);
  moved.keyVersion = `vaults/kv1/keys/k/versions/${'2'.repeat(32)}`;
  await world.compute.powerOffVirtualMachine({ name });
  await inPower(name, 'STOPPED');
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  // Unwrapped already, but the response is still on its way when the loss is published and handled.
  world.disks.beforeAnswer = async (call) => {
    if (call !== `openDisk ${disks[0]}`) return;
    reached.resolve();
    await gate.promise;
  };
  await world.compute.startVirtualMachine({ name });
  await reached.promise;
  const { value } = await lose(set);
  const witness = newSet();
  const other = await runningVm(['PREMIUM_SSD', witness]);
  await lose(witness);
  await inPower(other.name, 'STOPPED');
  gate.resolve();
  const vm = await inPower(name, 'STOPPED');
  assert.equal(vm.stopReason?.accessEpoch, value.accessEpoch);
  assert.equal(vm.failure?.operation, 'start');
  assert.deepEqual(await errorsOf(name), [[disks[0], 'ProvisioningState/failed/KeyVaultKeyNotEnabled']]);
  assert.equal(world.driver.guests.has(name), false);
});

test('G2: a loss during an attach stops the machine, and the half-attached disk is freed', async () => {
  const set = newSet();
  const { name } = await runningVm(['PREMIUM_SSD', set]);
  const extra = newDisk();
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  world.disks.beforeAnswer = async (call) => {
    if (call !== `openDisk ${extra}`) return;
    reached.resolve();
    await gate.promise;
  };
  const attach = world.compute.attachDisk({ name, lun: 9, disk: extra });
  const refused = assert.rejects(attach, { reason: 'KEY_DISABLED' });
  await reached.promise;
  await lose(set);
  const vm = await inPower(name, 'STOPPED');
  assert.equal(vm.failure?.operation, 'attach');
  gate.resolve();
  await refused;
  await until(
    async () => world.disks.disks.get(extra),
    (disk) => disk?.managedBy === '',
  );
  assert.equal((await get(name)).dataDisks.length, 1);
});

test('G2: a loss stops a machine while the disk service is unreachable, and its disks are closed later', async () => {
  const set = newSet();
  const { name, disks } = await runningVm(['PREMIUM_SSD', set]);
  world.disks.before = async () => {
    throw new RpcFailure('UNAVAILABLE', 'DiskService', 'disk', 'down');
  };
  await lose(set);
  await inPower(name, 'STOPPED');
  assert.equal(world.disks.disks.get(disks[0] ?? '')?.isOpen, true);
  world.disks.before = undefined;
  await until(
    async () => world.disks.disks.get(disks[0] ?? ''),
    (disk) => disk?.isOpen === false,
  );
});

test('CMK-112: a partial loss stops only machines whose disk is under the lost version', async () => {
  const set = newSet();
  const [old, moved] = [await runningVm(['PREMIUM_SSD', set]), await runningVm(['PREMIUM_SSD', set])];
  const newVersion = `vaults/kv1/keys/k/versions/${'2'.repeat(32)}`;
  const disk = world.disks.disks.get(moved.disks[0] ?? '');
  assert.ok(disk);
  disk.keyVersion = newVersion;
  const keyVersion = keyVersionOf(set);
  const accessEpoch = world.disks.lose(set, keyVersion);
  const value = { set, keyVersion, reason: 'KEY_DISABLED', accessEpoch, since: new Date(), partial: true } as const;
  await world.tellOfSet({ $case: 'keyAccessLost', value });
  await inPower(old.name, 'STOPPED');
  assert.equal((await get(moved.name)).powerState, 'RUNNING');
});

test('CMK-112, G2: a disk service that does not respond delays a partial loss for a limited time only', async () => {
  const [set, next] = [newSet(), newSet()];
  const old = await runningVm(['PREMIUM_SSD', set]);
  const moved = newDisk('PREMIUM_SSD', set);
  Object.assign(world.disks.disks.get(moved) ?? {}, { keyVersion: `vaults/kv1/keys/k/versions/${'2'.repeat(32)}` });
  const { name } = await create([moved]);
  await inPower(name, 'RUNNING');
  const silent = Promise.withResolvers<void>();
  world.disks.before = async (call) => {
    if (call.startsWith('listDisks')) await silent.promise;
  };
  const keyVersion = keyVersionOf(set);
  const accessEpoch = world.disks.lose(set, keyVersion);
  const value = { set, keyVersion, reason: 'KEY_DISABLED', accessEpoch, since: new Date(), partial: true } as const;
  await world.tellOfSet({ $case: 'keyAccessLost', value });
  await inPower(old.name, 'STOPPED');
  assert.equal((await get(name)).powerState, 'RUNNING');
  const report = { diskHost: 'h1', diskEncryptionSet: next, keyVersion: keyVersionOf(next), accessEpoch } as const;
  assert.deepEqual(await world.computeAs('disk').reportAccessLost({ ...report, reason: 'KEY_DISABLED' }), {
    stoppingCount: 0,
  });
  silent.resolve();
});

test('CMK-39: a final loss of a deleted set does not affect a new set of the same name', async () => {
  const set = newSet();
  const keyVersion = keyVersionOf(set);
  const before = await runningVm(['PREMIUM_SSD', set]);
  const accessEpoch = Number.MAX_SAFE_INTEGER;
  const value = {
    set,
    keyVersion,
    reason: 'IDENTITY_DELETED',
    accessEpoch,
    since: new Date(),
    partial: false,
  } as const;
  await world.tellOfSet({ $case: 'keyAccessLost', value });
  await inPower(before.name, 'STOPPED');
  await world.compute.deleteVirtualMachine({ name: before.name });
  await world.tellOfSet({ $case: 'setDeleted', value: { set } });
  await until(
    () => openLosses(world.store).rowsForDeleted(set),
    (left) => left.length === 0,
  );
  const after = await runningVm(['PREMIUM_SSD', set]);
  assert.equal((await get(after.name)).provisioningState, 'SUCCEEDED');
});

test('a disk that moved to another set no longer blocks its machine, and a loss of the new set stops it', async () => {
  const [set, next] = [newSet(), newSet()];
  const { name, disks } = await runningVm(['PREMIUM_SSD', set]);
  await lose(set);
  await inPower(name, 'STOPPED');
  const disk = world.disks.disks.get(disks[0] ?? '');
  assert.ok(disk);
  Object.assign(disk, { set: next, keyVersion: keyVersionOf(next) });
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: next } as const;
  await world.publishOfDisk({
    $case: 'diskEncryptionChanged',
    value: {
      disk: disks[0] ?? '',
      encryption,
      previousDiskEncryptionSet: set,
      keyVersion: keyVersionOf(next),
      generation: 1,
    },
  });
  await until(
    () => errorsOf(name),
    (errors) => errors.length === 0,
  );
  await world.compute.startVirtualMachine({ name });
  await inPower(name, 'RUNNING');
  await lose(next);
  await inPower(name, 'STOPPED');
});

test('ReportAccessLost: a confirmed report of a disk host stops a machine once; other callers are refused', async () => {
  const set = newSet();
  const { name } = await runningVm(['PREMIUM_SSD', set]);
  const keyVersion = keyVersionOf(set);
  const accessEpoch = world.disks.lose(set, keyVersion);
  const report = { diskHost: 'h1', diskEncryptionSet: set, keyVersion, reason: 'KEY_DISABLED', accessEpoch } as const;
  await assert.rejects(world.compute.reportAccessLost(report), { reason: 'WORKLOAD_REQUIRED' });
  const elsewhere = { ...report, keyVersion: `vaults/kv1/keys/x/versions/${'3'.repeat(32)}` };
  assert.deepEqual(await world.computeAs('disk').reportAccessLost(elsewhere), { stoppingCount: 0 });
  assert.deepEqual(await world.computeAs('disk').reportAccessLost(report), { stoppingCount: 1 });
  assert.deepEqual(await world.computeAs('disk').reportAccessLost(report), { stoppingCount: 0 });
  assert.equal((await inPower(name, 'STOPPED')).stopReason?.reason, 'KEY_DISABLED');
});

test('VM-43: a machine whose guest ends by itself is stopped, and logged as stopped from inside', async () => {
  const { name } = await runningVm(['PREMIUM_SSD', newSet()]);
  world.driver.crash(name);
  const vm = await inPower(name, 'STOPPED');
  assert.equal(vm.stopReason, undefined);
  assert.equal(vm.stopCause, 'GUEST_ENDED');
  const { entries } = await world.compute.listActivityLog({ name });
  assert.equal(entries.at(-2)?.properties.annotation, 'VirtualMachineStoppedInternally');
  assert.deepEqual(
    entries.slice(-2).map(({ status, properties }) => [status, properties.cause]),
    [
      ['ACTIVE', 'GUEST_ENDED'],
      ['SUCCEEDED', 'GUEST_ENDED'],
    ],
  );
});

test('a machine whose host restarted is stopped, and shows HOST_RESTARTED until its next start', async () => {
  const { name } = await runningVm(['PREMIUM_SSD', newSet()]);
  world.driver.restartHost();
  await world.cloud.stop('compute');
  await world.cloud.start('compute');
  assert.equal((await inPower(name, 'STOPPED')).stopCause, 'HOST_RESTARTED');
  const { statuses } = await world.compute.getInstanceView({ name });
  assert.match(statuses.find(({ code }) => code === 'PowerState/stopped')?.message ?? '', /HOST_RESTARTED/);
  const { entries } = await world.compute.listActivityLog({ name });
  assert.deepEqual(
    entries.slice(-2).map(({ category, status, properties }) => [category, status, properties.cause]),
    [
      ['RESOURCE_HEALTH', 'ACTIVE', 'HOST_RESTARTED'],
      ['RESOURCE_HEALTH', 'SUCCEEDED', 'HOST_RESTARTED'],
    ],
  );
  await world.compute.startVirtualMachine({ name });
  assert.equal((await inPower(name, 'RUNNING')).stopCause, 'STOP_CAUSE_UNSPECIFIED');
});

test('a guest that does not come up fails the start of its machine, and a later start can succeed', async () => {
  const { name } = await runningVm();
  await world.compute.powerOffVirtualMachine({ name });
  await inPower(name, 'STOPPED');
  world.driver.broken.add(name);
  await world.compute.startVirtualMachine({ name });
  assert.equal((await inPower(name, 'STOPPED')).failure?.code, 'GUEST_START_FAILED');
  world.driver.broken.delete(name);
  await world.compute.startVirtualMachine({ name });
  await inPower(name, 'RUNNING');
});

test('a watch sends the current machine, then its changes, and ends when the machine is deleted', async () => {
  const { name } = await runningVm();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const vm of world.compute.watchVirtualMachine({ name })) {
      seen.push(`${vm.provisioningState}/${vm.powerState}`);
    }
  })();
  await until(
    async () => seen,
    (states) => states.length > 0,
  );
  await world.compute.deallocateVirtualMachine({ name });
  await inPower(name, 'DEALLOCATED');
  await until(
    async () => seen,
    (states) => states.at(-1) === 'SUCCEEDED/DEALLOCATED',
  );
  await world.compute.deleteVirtualMachine({ name });
  await watching;
  assert.equal(seen[0], 'SUCCEEDED/RUNNING');
});

test('lists are paged, filtered by power state, and show the instance view on request', async () => {
  const { name } = await runningVm();
  const all: string[] = [];
  let pageToken = '';
  do {
    const page = await world.compute.listVirtualMachines({
      parent,
      pageSize: 2,
      pageToken,
      powerState: 'RUNNING',
      view: 'FULL',
    });
    assert.ok(page.virtualMachines.every((vm) => vm.powerState === 'RUNNING' && vm.instanceView));
    all.push(...page.virtualMachines.map((vm) => vm.name));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  assert.ok(all.includes(name));
  assert.equal(new Set(all).size, all.length);
  await assert.rejects(world.compute.startVirtualMachine({ name, etag: '1' }), { reason: 'ETAG_MISMATCH' });
});

test('PreviewKeyLoss: the preview, in pages, matches the later loss; only disk-encryption-set may call it', async () => {
  const set = newSet();
  const stops = await runningVm(['PREMIUM_SSD', set], ['ULTRA', set]);
  const goesOn = await runningVm(['ULTRA', set]);
  const off = await runningVm(['PREMIUM_SSD', set]);
  await world.compute.deallocateVirtualMachine({ name: off.name });
  await inPower(off.name, 'DEALLOCATED');
  await runningVm(['PREMIUM_SSD', newSet()]);
  const request = { diskEncryptionSet: set, keyVersions: [keyVersionOf(set)], pageSize: 1 };
  await assert.rejects(world.compute.previewKeyLoss(request), { reason: 'WORKLOAD_REQUIRED' });
  const asSets = world.computeAs('disk-encryption-set');
  await assert.rejects(asSets.previewKeyLoss({ ...request, keyVersions: [] }), { reason: 'KEY_VERSIONS_MISSING' });
  const said = new Map<string, unknown>();
  let pageToken = '';
  do {
    const page = await asSets.previewKeyLoss({ ...request, pageToken });
    assert.ok(page.impacts.length <= 1);
    for (const { virtualMachine, ...impact } of page.impacts) said.set(virtualMachine, impact);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  const failsLater = { outcome: 'FAILS_AT_NEXT_START' } as const;
  assert.deepEqual(
    said,
    new Map<string, unknown>([
      [stops.name, { outcome: 'STOPS', disks: stops.disks, powerState: 'RUNNING' }],
      [goesOn.name, { ...failsLater, disks: goesOn.disks, powerState: 'RUNNING' }],
      [off.name, { ...failsLater, disks: off.disks, powerState: 'DEALLOCATED' }],
    ]),
  );
  await lose(set);
  await inPower(stops.name, 'STOPPED');
  assert.equal((await get(goesOn.name)).powerState, 'RUNNING');
  for (const { name } of [goesOn, off]) {
    await world.compute.deallocateVirtualMachine({ name });
    await inPower(name, 'DEALLOCATED');
    await world.compute.startVirtualMachine({ name });
    assert.equal((await inPower(name, 'DEALLOCATED')).failure?.code, 'KEY_DISABLED');
  }
});

test('VM-07, VM-13, VM-47: a machine deallocated after a failed start has all its disks reserved', async () => {
  const set = newSet();
  const { name, disks } = await runningVm(['STANDARD_SSD', set], ['STANDARD_SSD', '']);
  await lose(set);
  await inPower(name, 'STOPPED');
  await world.compute.startVirtualMachine({ name });
  await until(
    () => get(name),
    ({ provisioningState }) => provisioningState === 'FAILED',
  );
  await world.compute.deallocateVirtualMachine({ name });
  await inPower(name, 'DEALLOCATED');
  assert.deepEqual(
    disks.map((disk) => world.disks.disks.get(disk)?.state),
    ['RESERVED', 'RESERVED'],
  );
});

test('CMK-110, VM-18: a repeated attach waits until the disk of the interrupted one is free, then starts over', async () => {
  const set = newSet();
  const extra = newDisk('STANDARD_SSD', set);
  const { name } = await runningVm(['STANDARD_SSD', set]);
  const closing = Promise.withResolvers<void>();
  world.disks.before = (call) => (call.startsWith('detachDisk') ? closing.promise : Promise.resolve());
  world.disks.beforeAnswer = async (call) => {
    if (call === `openDisk ${extra}`) await lose(set);
  };
  const first = world.compute.attachDisk({ name, disk: extra, lun: 7 });
  await assert.rejects(first, { reason: 'KEY_DISABLED' });
  const second = world.compute.attachDisk({ name, disk: extra, lun: 7 });
  closing.resolve();
  const { dataDisks } = await second;
  assert.ok(dataDisks.some(({ disk }) => disk === extra));
  assert.equal(world.disks.disks.get(extra)?.managedBy, name);
  assert.equal((await get(name)).powerState, 'STOPPED');
});
