import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type AzurePlace, azurePlace } from './test-azure-place.ts';
import { type ComputeWorld, computeWorld, listed, refusedAs, type VaultWithKey } from './test-compute.ts';

let cloud: AzurePlace;
let world: ComputeWorld;
let key: VaultWithKey;

before(async () => {
  cloud = await azurePlace();
  world = computeWorld(cloud);
  key = await world.vaultWithKey('kv-sets');
});
after(() => cloud?.close());

test('CMK-03, CMK-04: arm-compute creates a set; a role for its identity lets it use the key', async () => {
  const { compute, group, location } = world;
  const { principalId } = await world.grantedSet('Des-1', key);
  assert.match(principalId, /^[0-9a-f-]{36}$/);
  const set = await compute.diskEncryptionSets.get(group.toLowerCase(), 'DES-1');
  assert.equal(set.name, 'Des-1', 'returned in the case that the client wrote (REST-02)');
  assert.equal(set.id, world.id('Microsoft.Compute/diskEncryptionSets', 'Des-1'));
  assert.equal(set.activeKey?.keyUrl, key.keyUrl);
  assert.equal(set.activeKey?.sourceVault?.id, key.vaultId);
  assert.equal(set.encryptionType, 'EncryptionAtRestWithCustomerKey');
  assert.equal(set.provisioningState, 'Succeeded');
  assert.deepEqual(set.previousKeys, []);
  // As `az disk-encryption-set update` sends it: without principal, previous keys, tags.
  const again = await compute.diskEncryptionSets.createOrUpdate(group, 'Des-1', {
    location: 'West Europe',
    tags: { team: 'disks' },
    identity: { type: 'SystemAssigned' },
    rotationToLatestKeyVersionEnabled: true,
  });
  assert.equal(again.identity?.principalId, principalId);
  assert.equal(again.rotationToLatestKeyVersionEnabled, true);
  assert.equal(again.activeKey?.keyUrl, key.keyUrl);
  const patched = await compute.diskEncryptionSets.update(group, 'Des-1', { tags: { a: '1' } });
  assert.deepEqual([patched.tags, patched.rotationToLatestKeyVersionEnabled], [{ a: '1' }, true]);
  await compute.diskEncryptionSets.update(group, 'Des-1', { rotationToLatestKeyVersionEnabled: false });
  assert.deepEqual(
    (await listed(compute.diskEncryptionSets.list())).map(({ name }) => name),
    ['Des-1'],
  );
  assert.deepEqual(
    (await listed(compute.diskEncryptionSets.listByResourceGroup(group))).map(({ name }) => name),
    ['Des-1'],
  );
  assert.equal(location, set.location);
});

test('CMK-80, CMK-35: a PUT with another key version rotates; disks of the set follow', async () => {
  const { compute, group, location } = world;
  const diskEncryptionSetId = world.id('Microsoft.Compute/diskEncryptionSets', 'Des-1');
  const disk = await compute.disks.createOrUpdate(group, 'under-set', {
    location,
    creationData: { createOption: 'Empty' },
    diskSizeGB: 1,
    encryption: { diskEncryptionSetId },
  });
  assert.equal(disk.encryption?.type, 'EncryptionAtRestWithCustomerKey', 'the type of the set (REST-41)');
  const { id: keyUrl = '' } = await key.keys.rotateKey(key.key);
  const set = await compute.diskEncryptionSets.update(group, 'Des-1', { activeKey: { keyUrl } });
  assert.equal(set.activeKey?.keyUrl, keyUrl);
  assert.deepEqual(set.previousKeys, []);
  assert.ok(set.lastKeyRotationTimestamp instanceof Date);
  const associated = await listed(compute.diskEncryptionSets.listAssociatedResources(group, 'Des-1'));
  assert.deepEqual(associated, [world.id('Microsoft.Compute/disks', 'under-set')]);
});

test('CMK-130: a set in use is not deleted; CMK-39: a later set of the name has another identity', async () => {
  const { compute, group, location } = world;
  await assert.rejects(compute.diskEncryptionSets.delete(group, 'Des-1'), refusedAs('OperationNotAllowed'));
  await compute.disks.delete(group, 'under-set');
  const { identity } = await compute.diskEncryptionSets.get(group, 'Des-1');
  await compute.diskEncryptionSets.delete(group, 'Des-1');
  await assert.rejects(compute.diskEncryptionSets.get(group, 'Des-1'), refusedAs('ResourceNotFound'));
  await compute.diskEncryptionSets.delete(group, 'Des-1');
  const later = await compute.diskEncryptionSets.createOrUpdate(group, 'Des-1', {
    location,
    activeKey: { keyUrl: key.keyUrl },
  });
  assert.notEqual(later.identity?.principalId, identity?.principalId);
  assert.deepEqual(later.tags, {}, 'tags of the earlier set are gone');
});

test('CMK-38: identity None cuts a set off; SystemAssigned gives it another principal', async () => {
  const { compute, group } = world;
  const before = await compute.diskEncryptionSets.get(group, 'Des-1');
  const none = await compute.diskEncryptionSets.update(group, 'Des-1', { identity: { type: 'None' } });
  assert.equal(none.identity?.principalId, undefined);
  const after = await compute.diskEncryptionSets.update(group, 'Des-1', { identity: { type: 'SystemAssigned' } });
  assert.match(after.identity?.principalId ?? '', /^[0-9a-f-]{36}$/);
  assert.notEqual(after.identity?.principalId, before.identity?.principalId);
});

test('CMK-05: without the role the first disk is refused with KeyVaultAccessForbidden, and names set and key', async () => {
  const { compute, group, location } = world;
  const diskEncryptionSetId = world.id('Microsoft.Compute/diskEncryptionSets', 'Des-1');
  const create = compute.disks.createOrUpdate(group, 'refused', {
    location,
    creationData: { createOption: 'Empty' },
    diskSizeGB: 1,
    encryption: { diskEncryptionSetId },
  });
  const words = /Please grant get, wrap and unwrap key permissions to disk encryption set '\/subscriptions\//;
  await assert.rejects(create, refusedAs('KeyVaultAccessForbidden', words));
  await assert.rejects(create, refusedAs('KeyVaultAccessForbidden', new RegExp(key.keyUrl)));
});

test('CMK-30, CMK-31: what no set can have is refused with a 400 that names the member', async () => {
  const { compute, group, location } = world;
  const activeKey = { keyUrl: key.keyUrl };
  const put = (body: object) =>
    compute.diskEncryptionSets.createOrUpdate(group, 'bad', { location, activeKey, ...body });
  const versionless = key.keyUrl.replace(/\/[0-9a-f]{32}$/, '');
  await assert.rejects(put({ activeKey: { keyUrl: versionless } }), refusedAs('InvalidParameter'));
  await assert.rejects(put({ activeKey: { keyUrl: 'https://example.com' } }), refusedAs('InvalidParameter'));
  await assert.rejects(put({ encryptionType: 'EncryptionAtRestWithPlatformKey' }), refusedAs('InvalidParameter'));
  await assert.rejects(put({ encryptionType: 'Rot13' }), refusedAs('InvalidParameter'));
  await assert.rejects(put({ identity: { type: 'UserAssigned' } }), refusedAs('NotSupported'));
  await assert.rejects(put({ location: '' }), refusedAs('LocationRequired'));
  await assert.rejects(compute.diskEncryptionSets.get(group, 'bad'), { statusCode: 404 });
});
