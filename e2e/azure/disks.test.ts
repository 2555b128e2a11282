import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
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
  key = await world.vaultWithKey('kv-disks');
  set = await world.grantedSet('des1', key);
});
after(() => cloud?.close());

const empty = { createOption: 'Empty' } as const;

test('CMK-06: arm-compute creates a disk under a set, reads, lists, grows and tags it', async () => {
  const { compute, group, location } = world;
  const made = await compute.disks.createOrUpdate(group, 'Data1', {
    location: 'West Europe',
    sku: { name: 'Premium_LRS' },
    creationData: empty,
    diskSizeGB: 1,
    osType: 'Linux',
    zones: ['1'],
    encryption: { diskEncryptionSetId: set.id },
  });
  assert.equal(made.provisioningState, 'Succeeded');
  const disk = await compute.disks.get(group, 'data1');
  assert.deepEqual(
    [disk.name, disk.location, disk.sku?.name, disk.diskState],
    ['Data1', location, 'Premium_LRS', 'Unattached'],
  );
  assert.equal(disk.encryption?.type, 'EncryptionAtRestWithCustomerKey');
  assert.equal(disk.encryption?.diskEncryptionSetId, set.id);
  assert.deepEqual([disk.diskSizeGB, disk.diskSizeBytes], [1, 1024 ** 3]);
  assert.deepEqual([disk.osType, disk.zones, disk.networkAccessPolicy, disk.tier], ['Linux', ['1'], 'AllowAll', 'P1']);
  assert.match(disk.uniqueId ?? '', /^[0-9a-f-]{36}$/);
  assert.ok(disk.timeCreated instanceof Date);
  const grown = await compute.disks.update(group, 'Data1', { diskSizeGB: 2, tags: { use: 'data' } });
  assert.deepEqual([grown.diskSizeGB, grown.tags, grown.uniqueId], [2, { use: 'data' }, disk.uniqueId]);
  // As `az disk update` sends it: the whole disk as it was read.
  const same = await compute.disks.createOrUpdate(group, 'Data1', await compute.disks.get(group, 'Data1'));
  assert.deepEqual([same.diskSizeGB, same.tags, same.osType], [2, { use: 'data' }, 'Linux']);
  assert.deepEqual(
    (await listed(compute.disks.listByResourceGroup(group))).map(({ name }) => name),
    ['Data1'],
  );
  assert.deepEqual(
    (await listed(compute.disks.list())).map(({ name }) => name),
    ['Data1'],
  );
});

test('CMK-53, CMK-57: the encryption of a disk changes to a platform key and back', async () => {
  const { compute, group } = world;
  const platform = await compute.disks.update(group, 'Data1', {
    encryption: { type: 'EncryptionAtRestWithPlatformKey' },
  });
  assert.deepEqual(
    [platform.encryption?.type, platform.encryption?.diskEncryptionSetId],
    ['EncryptionAtRestWithPlatformKey', undefined],
  );
  const back = await compute.disks.update(group, 'Data1', { encryption: { diskEncryptionSetId: set.id } });
  assert.equal(back.encryption?.type, 'EncryptionAtRestWithCustomerKey');
});

test('CMK-58: a snapshot and a disk from it keep the set of their source', async () => {
  const { compute, group, location } = world;
  // A copy reads the whole disk, unwritten parts too, so this disk is small.
  const encryption = { diskEncryptionSetId: set.id };
  await compute.disks.createOrUpdate(group, 'Small', { location, creationData: empty, diskSizeGB: 1, encryption });
  const sourceResourceId = world.id('Microsoft.Compute/disks', 'Small');
  const snapshot = await compute.snapshots.createOrUpdate(group, 'Snap1', {
    location,
    tags: { day: '1' },
    creationData: { createOption: 'Copy', sourceResourceId },
    incremental: true,
  });
  assert.deepEqual(
    [snapshot.name, snapshot.incremental, snapshot.diskSizeGB, snapshot.snapshotAccessState, snapshot.tags],
    ['Snap1', true, 1, 'Available', { day: '1' }],
  );
  assert.equal(snapshot.encryption?.diskEncryptionSetId, set.id);
  const copy = await compute.disks.createOrUpdate(group, 'copy1', {
    location,
    creationData: { createOption: 'Copy', sourceResourceId: snapshot.id ?? '' },
  });
  assert.equal(copy.encryption?.diskEncryptionSetId, set.id);
  assert.equal(copy.diskSizeGB, 1);
  assert.equal(copy.creationData?.sourceResourceId, snapshot.id);
  const tagged = await compute.snapshots.update(group, 'Snap1', { tags: {} });
  assert.deepEqual(tagged.tags, {});
  assert.deepEqual(
    (await listed(compute.snapshots.list())).map(({ name }) => name),
    ['Snap1'],
  );
  assert.deepEqual(
    (await listed(compute.snapshots.listByResourceGroup(group))).map(({ name }) => name),
    ['Snap1'],
  );
  await assert.rejects(
    compute.disks.update(group, 'Small', { encryption: { type: 'EncryptionAtRestWithPlatformKey' } }),
    refusedAs('OperationNotAllowed'),
  );
  await compute.snapshots.delete(group, 'Snap1');
  await assert.rejects(compute.snapshots.get(group, 'Snap1'), refusedAs('ResourceNotFound'));
  await compute.disks.delete(group, 'copy1');
  await compute.disks.delete(group, 'copy1');
  await assert.rejects(compute.disks.get(group, 'copy1'), refusedAs('ResourceNotFound'));
});

test('VM-07: an upload: the disk is ReadyToUpload, takes pages and the VHD footer, and is Unattached after access is revoked', async () => {
  const { compute, group, location } = world;
  const uploadSizeBytes = 1024 ** 3 + 512;
  const stateOf = async () => (await compute.disks.get(group, 'up1')).diskState;
  const disk = await compute.disks.createOrUpdate(group, 'up1', {
    location,
    creationData: { createOption: 'Upload', uploadSizeBytes },
    encryption: { diskEncryptionSetId: set.id },
  });
  assert.deepEqual([disk.diskSizeGB, disk.diskState], [1, 'ReadyToUpload']);
  const { accessSAS = '' } = await compute.disks.grantAccess(group, 'up1', { access: 'Write', durationInSeconds: 60 });
  assert.equal(await stateOf(), 'ActiveUpload');
  // The last page of the disk, and the footer after it.
  const page = Buffer.concat([Buffer.alloc(512, 'last page'), Buffer.alloc(512, 'footer')]);
  const put = (headers: Readonly<Record<string, string>>, body?: Uint8Array<ArrayBuffer>) =>
    fetch(`${accessSAS}&comp=page`, {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream', ...headers },
      ...(body && { body }),
    });
  const range = { 'x-ms-range': `bytes=${uploadSizeBytes - 1024}-${uploadSizeBytes - 1}` };
  assert.equal((await put(range, page)).status, 201);
  assert.equal((await put({}, page)).status, 400, 'without a range');
  assert.equal((await put({ 'x-ms-range': 'bytes=0-511' }, page)).status, 400, 'the range is shorter than the body');
  assert.equal((await put({ 'x-ms-range': 'bytes=0-511', 'x-ms-page-write': 'clear' })).status, 201);
  const written = Buffer.from(await (await fetch(accessSAS, { headers: range })).arrayBuffer());
  assert.ok(written.subarray(0, 512).equals(page.subarray(0, 512)));
  assert.equal(written.toString('latin1', 512, 520), 'conectix', 'the footer is made of the disk');
  await compute.disks.revokeAccess(group, 'up1');
  assert.equal(await stateOf(), 'Unattached');
  await compute.disks.delete(group, 'up1');
});

test("CMK-51: refuses invalid properties of a disk with Azure's code", async () => {
  const { compute, group, location } = world;
  const put = (body: object) =>
    compute.disks.createOrUpdate(group, 'bad', { location, creationData: empty, diskSizeGB: 1, ...body });
  const invalid = refusedAs('InvalidParameter');
  await assert.rejects(put({ encryption: { type: 'EncryptionAtRestWithCustomerKey' } }), invalid);
  await assert.rejects(
    put({ encryption: { type: 'EncryptionAtRestWithPlatformKey', diskEncryptionSetId: set.id } }),
    refusedAs('InvalidParameter', /encrypted with platform key has disk encryption set id specified/),
  );
  await assert.rejects(put({ diskSizeGB: 0 }), invalid);
  await assert.rejects(put({ sku: { name: 'Floppy_LRS' } }), invalid);
  await assert.rejects(put({ creationData: { createOption: 'Copy' } }), invalid);
  await assert.rejects(put({ creationData: { createOption: 'Import', sourceUri: 'https://x' } }), {
    code: 'NotSupported',
  });
  await assert.rejects(put({ encryption: { diskEncryptionSetId: 'des1' } }), refusedAs('LinkedInvalidPropertyId'));
  const missing = world.id('Microsoft.Compute/diskEncryptionSets', 'none');
  await assert.rejects(put({ encryption: { diskEncryptionSetId: missing } }), refusedAs('ResourceNotFound'));
  await assert.rejects(compute.disks.update(group, 'Data1', { diskSizeGB: 1 }), refusedAs('InvalidParameter'));
  await assert.rejects(
    compute.disks.createOrUpdate(group, 'Data1', { location: 'eastus', creationData: empty }),
    refusedAs('InvalidResourceLocation'),
  );
  await assert.rejects(compute.disks.get(group, 'bad'), { statusCode: 404 });
});
