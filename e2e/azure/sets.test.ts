import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../cloud/until.ts';
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

test('CMK-03, CMK-04: arm-compute creates, updates and lists a set that has an identity of its own', async () => {
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

test('CMK-80, CMK-35: an update with another key version rotates the set and its disk, and no previous key remains', async () => {
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

test('CMK-130: a set in use cannot be deleted; CMK-39: a later set of the same name has another identity', async () => {
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

test("CMK-38: identity None removes a set's principal; SystemAssigned gives it another one", async () => {
  const { compute, group } = world;
  const before = await compute.diskEncryptionSets.get(group, 'Des-1');
  const none = await compute.diskEncryptionSets.update(group, 'Des-1', { identity: { type: 'None' } });
  assert.equal(none.identity?.principalId, undefined);
  const after = await compute.diskEncryptionSets.update(group, 'Des-1', { identity: { type: 'SystemAssigned' } });
  assert.match(after.identity?.principalId ?? '', /^[0-9a-f-]{36}$/);
  assert.notEqual(after.identity?.principalId, before.identity?.principalId);
});

test('CMK-40: a set uses a user-assigned identity only if it has access, and deleting a set keeps the identity', async () => {
  const { compute, group, location } = world;
  const identities = await identityClient();
  const { id, principalId } = await identities.create('id-1');
  const identity = { type: 'UserAssigned', userAssignedIdentities: { [id]: {} } };
  const create = (name: string) =>
    compute.diskEncryptionSets.createOrUpdate(group, name, {
      location,
      identity,
      activeKey: { keyUrl: key.keyUrl, sourceVault: { id: key.vaultId } },
    });
  await assert.rejects(create('Des-2'), refusedAs('KeyVaultAccessForbidden'));
  await assert.rejects(compute.diskEncryptionSets.get(group, 'Des-2'), { statusCode: 404 });
  await world.grant(key.vaultId, principalId);
  const made = await until('the set can be made', () => create('Des-2'));
  assert.deepEqual(made.identity?.userAssignedIdentities?.[id]?.principalId, principalId);
  // An update as the command line sends it.
  const again = await compute.diskEncryptionSets.createOrUpdate(group, 'Des-2', { ...made, tags: { a: '1' } });
  assert.equal(again.identity?.type, 'UserAssigned');
  await create('Des-3');
  const disk = (name: string, set: string) =>
    compute.disks.createOrUpdate(group, name, {
      location,
      creationData: { createOption: 'Empty' },
      diskSizeGB: 1,
      encryption: { diskEncryptionSetId: world.id('Microsoft.Compute/diskEncryptionSets', set) },
    });
  await disk('of-user', 'Des-2');
  await assert.rejects(
    compute.diskEncryptionSets.update(group, 'Des-2', { identity: { type: 'SystemAssigned' } }),
    refusedAs('OperationNotAllowed', /remove it first/),
  );
  await compute.diskEncryptionSets.delete(group, 'Des-3');
  await disk('of-user-still', 'Des-2');
  await compute.diskEncryptionSets.update(group, 'Des-2', { identity: { type: 'None' } });
  await assert.rejects(disk('without', 'Des-2'), refusedAs('KeyVaultAccessTokenCannotBeAcquired'));
  await assert.rejects(
    compute.diskEncryptionSets.update(group, 'Des-2', { identity }),
    refusedAs('OperationNotAllowed', /had .* before/),
  );
  const next = await identities.create('id-2');
  await world.grant(key.vaultId, next.principalId);
  const other = { type: 'UserAssigned', userAssignedIdentities: { [next.id]: {} } };
  await until('the set gets another identity', () =>
    compute.diskEncryptionSets.update(group, 'Des-2', { identity: other }),
  );
  await until('a disk can be made', () => disk('of-another', 'Des-2'));
  await identities.delete('id-2');
  await assert.rejects(disk('lost', 'Des-2'), refusedAs('KeyVaultAccessTokenCannotBeAcquired'));
});

/** User-assigned identities by REST: their SDK is not installed. */
const identityClient = async () => {
  const { token } = await cloud.credential.getToken('https://management.azure.com/.default');
  const path = (name: string) => world.id('Microsoft.ManagedIdentity/userAssignedIdentities', name);
  const send = async (method: string, name: string, body?: object) => {
    const reply = await fetch(`${cloud.url}${path(name)}?api-version=2023-01-31`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await reply.text();
    assert.ok(reply.ok, text);
    return text === '' ? undefined : JSON.parse(text);
  };
  return {
    async create(name: string): Promise<{ id: string; principalId: string }> {
      const { id, properties } = await send('PUT', name, { location: 'West Europe', tags: {} });
      assert.deepEqual(await send('GET', name), await send('PUT', name, { location: 'westeurope' }));
      return { id, principalId: properties.principalId };
    },
    delete: (name: string) => send('DELETE', name),
  };
};

test('CMK-05: without the role the first disk is refused with KeyVaultAccessForbidden, which names the set and the key', async () => {
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

test("CMK-30, CMK-31: refuses a set with invalid properties, with Azure's code", async () => {
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
