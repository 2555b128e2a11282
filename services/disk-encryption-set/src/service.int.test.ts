import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import {
  grant,
  isAvailable,
  isLost,
  newDisk,
  newKey,
  newVault,
  principalOf,
  publishedOf,
  readySet,
  requestFor,
} from './testing/test-ready-sets.ts';
import { resourceGroup, type SetCloud, setsPerRegionMax, startSetCloud } from './testing/test-set-cloud.ts';

let world: SetCloud;
before(async () => {
  world = await startSetCloud();
});
after(() => world.close());

test('CMK-03, CMK-05: a set without grants is created, and shows that they are missing', async () => {
  const { name: keyVersion, keyUrl } = await newKey(world, await newVault(world));
  const request = requestFor(keyUrl);
  const made = await world.sets.createDiskEncryptionSet(request);
  assert.equal(made.provisioningState, 'SUCCEEDED', 'CMK-43');
  assert.equal(made.encryptionType, 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', 'CMK-31');
  assert.deepEqual([made.previousKeys, made.lastKeyRotationTime], [[], undefined], 'CMK-35');
  const identity = await world.identity.getPrincipal({ name: principalOf(made) });
  assert.deepEqual([identity.type, identity.owner], ['MANAGED_IDENTITY', made.name], 'CMK-04');
  assert.ok(isLost(keyVersion, 'ACCESS_DENIED')(made), 'the answer to the creation says so already');
  assert.deepEqual(
    (await publishedOf(world, made.name)).map((event) => event?.$case),
    ['setCreated', 'setOptionsChanged', 'keyAccessLost'],
  );
  const again = await world.sets.createDiskEncryptionSet(request);
  assert.equal(principalOf(again), principalOf(made), 'requested twice, created once');
});

test('CMK-23, CMK-24, CMK-30, CMK-31, CMK-42: a request that breaks a rule is refused with its reason', async () => {
  const vault = await newVault(world);
  const { keyUrl, name } = await newKey(world, vault);
  const request = requestFor(keyUrl);
  const refused = (change: object, reason: string) =>
    assert.rejects(world.sets.createDiskEncryptionSet({ ...request, ...change }), { reason });
  await refused({ location: 'northeurope' }, 'LOCATION_MISMATCH');
  await refused({ location: '' }, 'LOCATION_MISSING');
  await refused({ keyUrl: keyUrl.slice(0, -33) }, 'KEY_URL_WITHOUT_VERSION');
  await refused({ keyUrl: 'somewhere' }, 'KEY_URL_INVALID');
  await refused({ sourceVault: 'vaults/other' }, 'SOURCE_VAULT_MISMATCH');
  await refused({ encryptionType: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY' }, 'ENCRYPTION_TYPE_NOT_ALLOWED');
  await refused({ diskEncryptionSetId: 'with space' }, 'ID_INVALID');
  const elsewhere = await newVault(world, { resourceGroup: 'subscriptions/s2/resourceGroups/g' });
  const other = await newKey(world, elsewhere);
  await refused({ keyUrl: other.keyUrl, sourceVault: elsewhere }, 'SOURCE_VAULT_NOT_ALLOWED');
  const made = await world.sets.createDiskEncryptionSet({ ...request, keyUrl: other.keyUrl });
  assert.equal(made.activeKey?.sourceVault, '', 'CMK-24');
  await world.keyVault.disableKeyVersion({ name });
  await refused({ diskEncryptionSetId: 'fresh' }, 'KEY_DISABLED');
});

test('REST-17: a set in a missing subscription is refused before the vault is called', async () => {
  const { keyUrl } = await newKey(world, await newVault(world));
  const request = { ...requestFor(keyUrl), parent: 'subscriptions/nowhere/resourceGroups/g' };
  await assert.rejects(world.sets.createDiskEncryptionSet(request), { reason: 'SUBSCRIPTION_NOT_FOUND' });
});

test('CMK-105, CMK-120: each way to remove access publishes a loss at once, and restored access is published too', async () => {
  const { set, vault, key } = await readySet(world);
  await world.keyVault.disableKeyVersion({ name: key.name });
  const lost = await world.until(set.name, isLost(key.name, 'KEY_DISABLED'));
  assert.deepEqual(await world.sets.getDiskEncryptionSet({ name: set.name }), lost, 'CMK-109');
  await world.keyVault.enableKeyVersion({ name: key.name });
  await world.until(set.name, isAvailable(key.name));

  const keyName = key.name.slice(0, key.name.indexOf('/versions/'));
  await world.keyVault.deleteKey({ name: keyName, confirmName: keyName });
  await world.until(set.name, isLost(key.name, 'KEY_DELETED'));
  await world.keyVault.recoverKey({ name: keyName });
  await world.until(set.name, isAvailable(key.name));

  await world.keyVault.removeAccessPolicy({ name: vault, principal: principalOf(set) });
  await world.until(set.name, isLost(key.name, 'ACCESS_DENIED'));
  await grant(world, set, vault);
  await world.until(set.name, isAvailable(key.name));

  await world.keyVault.setKeyOperations({ name: key.name, keyOperations: ['WRAP_KEY', 'SIGN'] });
  await world.until(set.name, isLost(key.name, 'ACCESS_DENIED'));
  await world.keyVault.setKeyOperations({ name: key.name, keyOperations: ['UNWRAP_KEY', 'WRAP_KEY'] });
  await world.until(set.name, isAvailable(key.name));

  const lose = 'keyAccessLost';
  const restore = 'keyAccessRestored';
  const all = await publishedOf(world, set.name);
  const told = all.slice(all.findIndex((event) => event?.$case === restore));
  assert.deepEqual(
    told.map((event) => event?.$case),
    [restore, lose, restore, lose, restore, lose, restore, lose, restore],
  );
  const epochs = told.map((event) =>
    event?.$case === 'keyAccessLost' || event?.$case === 'keyAccessRestored' ? event.value.accessEpoch : 0,
  );
  assert.deepEqual(
    epochs,
    [...epochs].sort((one, other) => one - other),
    'losses are numbered',
  );
});

test('CMK-39: a set whose identity another caller deletes has lost its key for good', async () => {
  const { set, key, vault } = await readySet(world);
  await world.identity.deletePrincipal({ name: principalOf(set), confirmName: principalOf(set) });
  await world.until(set.name, isLost(key.name, 'IDENTITY_DELETED'));
  const { keyUrl } = await newKey(world, vault);
  await assert.rejects(world.sets.assignKey({ name: set.name, keyUrl }), { reason: 'IDENTITY_DELETED' });
});

test('CMK-130, CMK-39: a set in use is not deleted; an unused one is, with its identity, and its name is free', async () => {
  const { set, key } = await readySet(world);
  const disk = await newDisk(world, set);
  const { name } = set;
  await assert.rejects(world.sets.deleteDiskEncryptionSet({ name }), (error: Error & { metadata: object }) => {
    assert.deepEqual(error.metadata, { name, resources: disk });
    return true;
  });
  assert.equal((await world.sets.getDiskEncryptionSet({ name })).provisioningState, 'SUCCEEDED');
  world.disks.stock.delete(disk);
  assert.equal((await world.sets.deleteDiskEncryptionSet({ name })).provisioningState, 'DELETING');
  await world.sets.deleteDiskEncryptionSet({ name });
  await assert.rejects(world.sets.getDiskEncryptionSet({ name }), { reason: 'DISK_ENCRYPTION_SET_NOT_FOUND' });
  assert.equal((await world.identity.getPrincipal({ name: principalOf(set) })).state, 'DELETED');
  const again = { ...requestFor(key.keyUrl), diskEncryptionSetId: name.slice(name.lastIndexOf('/') + 1) };
  assert.notEqual(principalOf(await world.sets.createDiskEncryptionSet(again)), principalOf(set));
  await assert.rejects(world.sets.deleteDiskEncryptionSet({ name: `${name}x` }), {
    reason: 'DISK_ENCRYPTION_SET_NOT_FOUND',
  });
});

test('CMK-140: the sets of a subscription in one region are limited in number, and lists are paged', async () => {
  const { keyUrl } = await newKey(world, await newVault(world, { location: 'farnorth' }));
  const parent = 'subscriptions/s1/resourceGroups/many';
  const create = (n: number) =>
    world.sets.createDiskEncryptionSet({
      parent,
      diskEncryptionSetId: `d${String(n).padStart(3, '0')}`,
      location: 'Far North',
      keyUrl,
    });
  for (let n = 0; n < setsPerRegionMax; n++) await create(n);
  await assert.rejects(create(setsPerRegionMax), { reason: 'TOO_MANY_DISK_ENCRYPTION_SETS' });
  const seen: string[] = [];
  let pageToken = '';
  do {
    const page = await world.sets.listDiskEncryptionSets({ parent, pageSize: 7, pageToken });
    seen.push(...page.diskEncryptionSets.map(({ name }) => name));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  assert.equal(new Set(seen).size, setsPerRegionMax);
  assert.deepEqual(seen, [...seen].sort());
  await assert.rejects(world.sets.listDiskEncryptionSets({ parent: 'nowhere' }), { reason: 'NAME_INVALID' });
});

test('without a role on a set a caller neither sees nor changes it; a role allows what it lists', async () => {
  const { set, key } = await readySet(world);
  const user = await world.newPrincipal();
  const { name } = set;
  const theirs = world.setsAs(user);
  await assert.rejects(theirs.getDiskEncryptionSet({ name }), { reason: 'ACCESS_DENIED' });
  await assert.rejects(theirs.createDiskEncryptionSet(requestFor(key.keyUrl)), { reason: 'ACCESS_DENIED' });
  const request = { roleAssignmentId: randomUUID(), principal: user.name, role: 'roles/reader', scope: resourceGroup };
  await world.identity.createRoleAssignment(request);
  assert.equal((await theirs.getDiskEncryptionSet({ name })).name, name);
  await assert.rejects(theirs.deleteDiskEncryptionSet({ name }), { reason: 'ACCESS_DENIED' });
});
