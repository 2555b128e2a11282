import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ResourceManagementClient } from '@azure/arm-resources';
import { type AzurePlace, azurePlace } from './test-azure-place.ts';
import {
  type ComputeWorld,
  computeWorld,
  type GrantedSet,
  listed,
  refusedAs,
  type VaultWithKey,
} from './test-compute.ts';

let cloud: AzurePlace;
let world: ComputeWorld;
let key: VaultWithKey;
let set: GrantedSet;

before(async () => {
  cloud = await azurePlace();
  world = computeWorld(cloud);
  key = await world.vaultWithKey('kv-vms');
  set = await world.grantedSet('des1', key);
});
after(() => cloud?.close());

const statuses = async (vm: string): Promise<readonly string[]> => {
  const { statuses: found = [] } = await world.compute.virtualMachines.instanceView(world.group, vm);
  return found.map(({ code }) => code ?? '');
};

test('CMK-50, VM-10: arm-compute creates a machine with new disks under a set, and it runs', async () => {
  const { compute, group, location } = world;
  const managedDisk = { diskEncryptionSet: { id: set.id }, storageAccountType: 'Premium_LRS' };
  const made = await compute.virtualMachines.createOrUpdate(group, 'Vm1', {
    location,
    tags: { team: 'a' },
    hardwareProfile: { vmSize: 'Standard_D4s_v5' },
    osProfile: { computerName: 'one', adminUsername: 'azureuser', adminPassword: 'not returned' },
    storageProfile: {
      imageReference: { publisher: 'Canonical', offer: 'ubuntu', sku: 'server', version: 'latest' },
      osDisk: { createOption: 'FromImage', name: 'Os1', diskSizeGB: 2, deleteOption: 'Delete', managedDisk },
      dataDisks: [{ lun: 0, createOption: 'Empty', diskSizeGB: 1, name: 'Data0', managedDisk }],
    },
  });
  assert.equal(made.provisioningState, 'Succeeded');
  const vm = await compute.virtualMachines.get(group.toLowerCase(), 'VM1', { expand: 'instanceView' });
  assert.deepEqual([vm.name, vm.tags, vm.hardwareProfile?.vmSize], ['Vm1', { team: 'a' }, 'Standard_D4s_v5']);
  assert.match(vm.vmId ?? '', /^[0-9a-f-]{36}$/);
  assert.deepEqual(vm.networkProfile?.networkInterfaces, [], 'clients list the interfaces of every machine (REST-52)');
  assert.deepEqual([vm.osProfile?.computerName, vm.osProfile?.adminPassword], ['one', undefined]);
  assert.deepEqual([vm.storageProfile?.osDisk?.name, vm.storageProfile?.osDisk?.deleteOption], ['Os1', 'Delete']);
  assert.deepEqual(
    vm.storageProfile?.dataDisks?.map(({ name, lun }) => [name, lun]),
    [['Data0', 0]],
  );
  assert.deepEqual(
    vm.instanceView?.statuses?.map(({ code, displayStatus, level }) => [code, displayStatus, level]),
    [
      ['ProvisioningState/succeeded', 'Provisioning succeeded', 'Info'],
      ['PowerState/running', 'VM running', 'Info'],
    ],
  );
  const disk = await compute.disks.get(group, 'Data0');
  assert.equal(disk.diskState, 'Attached');
  assert.equal(disk.managedBy, vm.id);
  assert.equal(disk.encryption?.diskEncryptionSetId, set.id);
});

test('VM-11, VM-12, VM-13, VM-14, VM-15: each power action sets the state, and may be repeated', async () => {
  const { compute, group } = world;
  const power = compute.virtualMachines;
  const steps = [
    [() => power.powerOff(group, 'Vm1', { skipShutdown: true }), 'PowerState/stopped'],
    [() => power.start(group, 'Vm1'), 'PowerState/running'],
    [() => power.restart(group, 'Vm1'), 'PowerState/running'],
    [() => power.redeploy(group, 'Vm1'), 'PowerState/running'],
    [() => power.reapply(group, 'Vm1'), 'PowerState/running'],
    [() => power.deallocate(group, 'Vm1'), 'PowerState/deallocated'],
  ] as const;
  for (const [act, state] of steps) {
    await act();
    assert.ok((await statuses('Vm1')).includes(state), state);
    if (state !== 'PowerState/running' || act === steps[1][0]) await act();
  }
  assert.equal((await compute.disks.get(group, 'Data0')).diskState, 'Reserved');
  await assert.rejects(power.restart(group, 'Vm1'), refusedAs('OperationNotAllowed'));
  await power.start(group, 'Vm1');
});

test('VM-29: tags, access policy and tier of an attached disk change; a machine keeps the size it is given', async () => {
  const { compute, group } = world;
  const changes = { tags: { a: '1' }, networkAccessPolicy: 'DenyAll', tier: 'P30' } as const;
  const disk = await compute.disks.update(group, 'Data0', changes);
  assert.deepEqual([disk.tags, disk.networkAccessPolicy, disk.tier], [{ a: '1' }, 'DenyAll', 'P30']);
  const vm = await compute.virtualMachines.update(group, 'Vm1', { hardwareProfile: { vmSize: 'Standard_D8s_v5' } });
  assert.deepEqual([vm.hardwareProfile?.vmSize, vm.osProfile?.computerName], ['Standard_D8s_v5', 'one']);
});

test('VM-18: a PUT of the whole machine attaches and detaches data disks', async () => {
  const { compute, group, location } = world;
  await compute.disks.createOrUpdate(group, 'Extra', {
    location,
    creationData: { createOption: 'Empty' },
    diskSizeGB: 1,
  });
  const id = world.id('Microsoft.Compute/disks', 'Extra');
  const vm = await compute.virtualMachines.get(group, 'Vm1');
  const dataDisks = vm.storageProfile?.dataDisks ?? [];
  // As `az vm disk attach` sends it: without a name.
  const attach = [...dataDisks, { lun: 1, createOption: 'Attach', managedDisk: { id } }];
  const attached = await compute.virtualMachines.createOrUpdate(group, 'Vm1', {
    ...vm,
    storageProfile: { ...vm.storageProfile, dataDisks: attach },
  });
  assert.deepEqual(
    attached.storageProfile?.dataDisks?.map(({ name, lun }) => [name, lun]),
    [
      ['Data0', 0],
      ['Extra', 1],
    ],
  );
  assert.deepEqual(attached.tags, { team: 'a' });
  await assert.rejects(compute.disks.delete(group, 'Extra'), refusedAs('OperationNotAllowed'));
  const detached = await compute.virtualMachines.update(group, 'Vm1', { storageProfile: { dataDisks } });
  assert.deepEqual(
    detached.storageProfile?.dataDisks?.map(({ name }) => name),
    ['Data0'],
  );
  assert.equal((await compute.disks.get(group, 'Extra')).diskState, 'Unattached');
  const storage = await compute.virtualMachines.attachDetachDataDisks(group, 'Vm1', {
    dataDisksToAttach: [{ diskId: id }],
  });
  assert.deepEqual(
    storage.dataDisks?.map(({ name, lun }) => [name, lun]),
    [
      ['Data0', 0],
      ['Extra', 1],
    ],
  );
  await assert.rejects(
    compute.virtualMachines.createOrUpdate(group, 'Vm2', {
      location,
      storageProfile: { osDisk: { createOption: 'Attach', managedDisk: { id } } },
    }),
    refusedAs('ConflictingUserInput', /already owned by VM/),
  );
  await compute.virtualMachines.attachDetachDataDisks(group, 'Vm1', { dataDisksToDetach: [{ diskId: id }] });
});

test('VM-19: exchanges the OS disk of a deallocated machine; a refused exchange leaves the old one', async () => {
  const { compute, group, location } = world;
  const encryption = { diskEncryptionSetId: set.id };
  const creationData = { createOption: 'Empty' } as const;
  await compute.disks.createOrUpdate(group, 'os-next', { location, creationData, diskSizeGB: 1, encryption });
  const osDisk = (name: string) => ({
    createOption: 'Attach',
    name,
    managedDisk: { id: world.id('Microsoft.Compute/disks', name) },
  });
  const exchange = (name: string) =>
    compute.virtualMachines.createOrUpdate(group, 'exchanged', { location, storageProfile: { osDisk: osDisk(name) } });
  await compute.virtualMachines.createOrUpdate(group, 'exchanged', {
    location,
    storageProfile: { osDisk: { createOption: 'Empty', name: 'os-first', diskSizeGB: 1 } },
  });
  await assert.rejects(exchange('os-next'), refusedAs('OperationNotAllowed', /not deallocated/));
  await compute.virtualMachines.deallocate(group, 'exchanged');
  await assert.rejects(exchange('Os1'), refusedAs('ConflictingUserInput'));
  await assert.rejects(exchange('os-missing'), { statusCode: 404 });
  const before = await compute.virtualMachines.get(group, 'exchanged');
  assert.equal(before.storageProfile?.osDisk?.name, 'os-first');
  const { storageProfile } = await exchange('os-next');
  assert.equal(storageProfile?.osDisk?.name, 'os-next');
  assert.equal((await compute.disks.get(group, 'os-first')).diskState, 'Unattached');
  await compute.virtualMachines.start(group, 'exchanged');
  assert.ok((await statuses('exchanged')).includes('PowerState/running'));
  await compute.virtualMachines.delete(group, 'exchanged');
  for (const disk of ['os-first', 'os-next']) await compute.disks.delete(group, disk);
});

test('lists machines, with instance views if requested', async () => {
  const { compute, group } = world;
  const all = await listed(compute.virtualMachines.listAll({ statusOnly: 'true' }));
  assert.deepEqual(
    all.map(({ name, instanceView }) => [name, instanceView?.statuses?.[1]?.code]),
    [['Vm1', 'PowerState/running']],
  );
  const [vm] = await listed(compute.virtualMachines.list(group));
  assert.deepEqual([vm?.name, vm?.instanceView], ['Vm1', undefined]);
});

test('lists resources by type, name, tag and group, and shows a provider with its types', async () => {
  const { url, subscription, credential } = cloud;
  const resources = new ResourceManagementClient(credential, subscription, { endpoint: url });
  const find = async (filter: string) => (await listed(resources.resources.list({ filter }))).map(({ name }) => name);
  assert.deepEqual(await find("resourceType eq 'Microsoft.KeyVault/vaults' and name eq 'KV-VMS'"), ['kv-vms']);
  assert.deepEqual(await find("resourceType eq 'microsoft.compute/virtualmachines'"), ['Vm1']);
  assert.deepEqual(await find("tagName eq 'team' and tagValue eq 'a'"), ['Vm1']);
  const inGroup = await listed(resources.resources.listByResourceGroup(world.group.toLowerCase()));
  assert.deepEqual(inGroup.map(({ name }) => name).toSorted(), ['Data0', 'Extra', 'Os1', 'Vm1', 'des1', 'kv-vms']);
  await assert.rejects(find("size eq '1'"), { statusCode: 400 });
  const provider = await resources.providers.get('microsoft.compute');
  assert.equal(provider.registrationState, 'Registered');
  assert.ok(provider.resourceTypes?.some(({ resourceType }) => resourceType === 'diskEncryptionSets'));
});

test('VM-44: the activity log has the operations of users on a machine, newest first', async () => {
  const { url, subscription, credential } = cloud;
  const { token } = await credential.getToken(`${url}/.default`);
  const path = `/subscriptions/${subscription}/providers/Microsoft.Insights/eventtypes/management/values`;
  const read = async (filter: string) => {
    const query = new URLSearchParams({ 'api-version': '2015-04-01', $filter: filter });
    const reply = await fetch(`${url}${path}?${query}`, { headers: { authorization: `Bearer ${token}` } });
    const { value = [] } = (await reply.json()) as { value?: Readonly<Record<string, { value: string }>>[] };
    return { status: reply.status, value };
  };
  const since = "eventTimestamp ge '2020-01-01T00:00:00Z'";
  const { value } = await read(`${since} and resourceUri eq '${world.id('Microsoft.Compute/virtualMachines', 'Vm1')}'`);
  const actions = value.map(({ operationName }) => operationName?.value);
  assert.ok(actions.includes('Microsoft.Compute/virtualMachines/deallocate/action'), actions.join());
  assert.equal(actions.at(-1), 'Microsoft.Compute/virtualMachines/write');
  assert.equal(value[0]?.category?.value, 'Administrative');
  assert.equal((await read(`${since} and resourceGroupName eq 'none'`)).value.length, 0);
  assert.equal((await read("color eq 'red'")).status, 400);
});

test('CMK-102: ultra disks need ultraSSDEnabled, and cannot be OS disks', async () => {
  const { compute, group, location } = world;
  const managedDisk = { storageAccountType: 'UltraSSD_LRS' };
  const os = { createOption: 'Empty', diskSizeGB: 1, name: 'os-u' } as const;
  const data = { lun: 0, createOption: 'Empty', diskSizeGB: 4, name: 'ultra-u', managedDisk } as const;
  const put = (ultraSSDEnabled: boolean, osDisk: object = os) =>
    compute.virtualMachines.createOrUpdate(group, 'ultra', {
      location,
      additionalCapabilities: { ultraSSDEnabled },
      storageProfile: { osDisk: { ...os, ...osDisk }, dataDisks: [data] },
    });
  await assert.rejects(put(false), refusedAs('InvalidParameter'));
  await assert.rejects(put(true, { managedDisk }), refusedAs('InvalidParameter'));
  const vm = await put(true);
  assert.equal(vm.additionalCapabilities?.ultraSSDEnabled, true);
  assert.equal(vm.storageProfile?.dataDisks?.[0]?.managedDisk?.storageAccountType, 'UltraSSD_LRS');
  await compute.virtualMachines.delete(group, 'ultra');
});

test('an update with an old If-Match gets 412, one with the current ETag succeeds', async () => {
  const { compute, group } = world;
  const { etag = '' } = await compute.virtualMachines.get(group, 'Vm1');
  const changed = { tags: { team: 'b' } };
  await assert.rejects(compute.virtualMachines.update(group, 'Vm1', changed, { ifMatch: '"0"' }), {
    statusCode: 412,
    code: 'PreconditionFailed',
  });
  const vm = await compute.virtualMachines.update(group, 'Vm1', changed, { ifMatch: etag });
  assert.deepEqual(vm.tags, { team: 'b' });
});

test('VM-17, CMK-131: a deleted machine leaves its disks, except those with deleteOption Delete', async () => {
  const { compute, group } = world;
  await compute.virtualMachines.delete(group, 'Vm1', { forceDeletion: true });
  await assert.rejects(compute.virtualMachines.get(group, 'Vm1'), refusedAs('ResourceNotFound'));
  await compute.virtualMachines.delete(group, 'Vm1');
  await assert.rejects(compute.disks.get(group, 'Os1'), { statusCode: 404 });
  assert.equal((await compute.disks.get(group, 'Data0')).diskState, 'Unattached');
});
