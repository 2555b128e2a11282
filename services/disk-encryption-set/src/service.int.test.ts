import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { DiskEncryptionSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import { toFact } from './published.ts';
import { resourceGroup, type SetCloud, setsPerRegionMax, startSetCloud } from './test-set-cloud.ts';

let world: SetCloud;
before(async () => {
  world = await startSetCloud();
});
after(() => world.close());

const newVault = async (differences: { location?: string; resourceGroup?: string } = {}) => {
  const { name } = await world.keyVault.createVault({
    vaultId: `v${randomUUID().slice(0, 12)}`,
    resourceGroup,
    location: 'westeurope',
    permissionModel: 'ACCESS_POLICY',
    accessPolicies: [{ principal: world.administrator.name, keyPermissions: ['ALL'] }],
    purgeProtectionEnabled: true,
    ...differences,
  });
  return name;
};
const newKey = async (parent: string) => {
  const keyId = `k${randomUUID().slice(0, 8)}`;
  const { name, keyUrl } = await world.keyVault.createKey({ parent, keyId, requestId: randomUUID() });
  return { name, keyUrl };
};
const wishFor = (keyUrl: string) => ({
  parent: resourceGroup,
  diskEncryptionSetId: `d-${randomUUID().slice(0, 8)}`,
  location: 'West Europe',
  keyUrl,
});
const principalOf = (set: DiskEncryptionSet): string => set.identity?.principal ?? '';
const grant = (set: DiskEncryptionSet, vault: string) =>
  world.keyVault.setAccessPolicy({
    name: vault,
    accessPolicy: { principal: principalOf(set), keyPermissions: ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] },
  });
const accessOf = (set: DiskEncryptionSet, keyVersion: string) =>
  set.keyAccess.find((access) => access.keyVersion === keyVersion);
const isAvailable = (keyVersion: string) => (set: DiskEncryptionSet) =>
  accessOf(set, keyVersion)?.state === 'AVAILABLE';
const isLost = (keyVersion: string, reason: string) => (set: DiskEncryptionSet) =>
  accessOf(set, keyVersion)?.state === 'LOST' && accessOf(set, keyVersion)?.reason === reason;
const isDone = ({ rotation }: DiskEncryptionSet) => rotation?.state === 'SUCCEEDED';
const isWaiting = ({ rotation }: DiskEncryptionSet) => rotation?.state === 'WAITING';

/** A set whose identity may use its key, and the vault and key it has. */
const readySet = async () => {
  const vault = await newVault();
  const key = await newKey(vault);
  const made = await world.sets.createDiskEncryptionSet(wishFor(key.keyUrl));
  await grant(made, vault);
  const set = await world.until(made.name, isAvailable(key.name));
  return { set, vault, key };
};
const newDisk = async (set: DiskEncryptionSet): Promise<string> => {
  const name = `${resourceGroup}/disks/${randomUUID().slice(0, 8)}`;
  const keyVersion = set.activeKey?.keyVersion ?? '';
  await world.disks.create(name, { set: set.name, principal: principalOf(set), keyVersion });
  return name;
};
const toldOf = async (set: string) =>
  (await world.store.feed(0, 10_000))
    .filter(({ stream }) => stream === `set-${set}`)
    .flatMap((recorded) => toFact(recorded) ?? [])
    .map(({ payload }) => DiskEncryptionSetEvent.decode(payload).event);
const ownerToken = async () => {
  const { id: clientId, secret: clientSecret } = world.administrator;
  return (await world.identity.issueToken({ clientId, clientSecret, audience: 'interlock:key-vault' })).accessToken;
};

test('CMK-03, CMK-05: a set without grants is created, and shows that they are missing', async () => {
  const { name: keyVersion, keyUrl } = await newKey(await newVault());
  const wish = wishFor(keyUrl);
  const made = await world.sets.createDiskEncryptionSet(wish);
  assert.equal(made.provisioningState, 'SUCCEEDED', 'CMK-43');
  assert.equal(made.encryptionType, 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', 'CMK-31');
  assert.deepEqual([made.previousKeys, made.lastKeyRotationTime], [[], undefined], 'CMK-35');
  const identity = await world.identity.getPrincipal({ name: principalOf(made) });
  assert.deepEqual([identity.type, identity.owner], ['MANAGED_IDENTITY', made.name], 'CMK-04');
  await world.until(made.name, isLost(keyVersion, 'ACCESS_DENIED'));
  assert.deepEqual(
    (await toldOf(made.name)).map((event) => event?.$case),
    ['setCreated'],
  );
  const again = await world.sets.createDiskEncryptionSet(wish);
  assert.equal(principalOf(again), principalOf(made), 'asked twice, made once');
});

test('CMK-20, CMK-22, CMK-23, CMK-24, CMK-30, CMK-31, CMK-42: a set that breaks a rule is refused by name', async () => {
  const vault = await newVault();
  const { keyUrl, name } = await newKey(vault);
  const wish = wishFor(keyUrl);
  const refused = (change: object, reason: string) =>
    assert.rejects(world.sets.createDiskEncryptionSet({ ...wish, ...change }), { reason });
  await refused({ location: 'northeurope' }, 'LOCATION_MISMATCH');
  await refused({ location: '' }, 'LOCATION_MISSING');
  await refused({ keyUrl: keyUrl.slice(0, -33) }, 'KEY_URL_WITHOUT_VERSION');
  await refused({ keyUrl: 'somewhere' }, 'KEY_URL_INVALID');
  await refused({ sourceVault: 'vaults/other' }, 'SOURCE_VAULT_MISMATCH');
  await refused({ encryptionType: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY' }, 'ENCRYPTION_TYPE_NOT_ALLOWED');
  await refused({ diskEncryptionSetId: 'with space' }, 'ID_INVALID');
  const elsewhere = await newVault({ resourceGroup: 'subscriptions/s2/resourceGroups/g' });
  const other = await newKey(elsewhere);
  await refused({ keyUrl: other.keyUrl, sourceVault: elsewhere }, 'SOURCE_VAULT_NOT_ALLOWED');
  const made = await world.sets.createDiskEncryptionSet({ ...wish, keyUrl: other.keyUrl });
  assert.equal(made.activeKey?.sourceVault, '', 'CMK-24');
  await world.keyVault.disableKeyVersion({ name });
  await refused({ diskEncryptionSetId: 'fresh' }, 'KEY_DISABLED');
});

test('CMK-105, CMK-120: disabling, deleting and withdrawing are told at once, and what comes back is told', async () => {
  const { set, vault, key } = await readySet();
  await world.keyVault.disableKeyVersion({ name: key.name });
  const lost = await world.until(set.name, isLost(key.name, 'KEY_DISABLED'));
  assert.deepEqual(await world.sets.getDiskEncryptionSet({ name: set.name }), lost, 'CMK-109');
  await world.keyVault.enableKeyVersion({ name: key.name });
  await world.until(set.name, isAvailable(key.name));

  const keyName = key.name.slice(0, key.name.indexOf('/versions/'));
  await world.keyVault.deleteKey({ name: keyName });
  await world.until(set.name, isLost(key.name, 'KEY_DELETED'));
  await world.keyVault.recoverKey({ name: keyName });
  await world.until(set.name, isAvailable(key.name));

  await world.keyVault.removeAccessPolicy({ name: vault, principal: principalOf(set) });
  await world.until(set.name, isLost(key.name, 'ACCESS_DENIED'));
  await grant(set, vault);
  await world.until(set.name, isAvailable(key.name));

  const told = (await toldOf(set.name)).slice(1);
  const lose = 'keyAccessLost';
  const restore = 'keyAccessRestored';
  assert.deepEqual(
    told.map((event) => event?.$case),
    [restore, lose, restore, lose, restore, lose, restore],
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

test('CMK-39: a set whose identity is deleted behind its back has lost its key for good', async () => {
  const { set, key, vault } = await readySet();
  await world.identity.deletePrincipal({ name: principalOf(set) });
  await world.until(set.name, isLost(key.name, 'IDENTITY_DELETED'));
  const { keyUrl } = await newKey(vault);
  await assert.rejects(world.sets.assignKey({ name: set.name, keyUrl }), { reason: 'IDENTITY_DELETED' });
});

test('CMK-80, CMK-82, CMK-89: every disk moves to the new key, and the old one is not needed any more', async () => {
  const { set, vault, key } = await readySet();
  const disks = [await newDisk(set), await newDisk(set), await newDisk(set)];
  const before = await Promise.all(disks.map((disk) => world.disks.open(disk)));
  const next = await newKey(vault);
  const assigned = await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl });
  assert.equal(assigned.generation, 2);
  assert.ok(assigned.lastKeyRotationTime, 'CMK-35');
  assert.equal(accessOf(assigned, next.name)?.state, 'AVAILABLE');
  const done = await world.until(set.name, isDone);
  assert.deepEqual([done.previousKeys, done.provisioningState], [[], 'SUCCEEDED'], 'CMK-34');
  assert.deepEqual([done.rotation?.resourcesCount, done.rotation?.doneCount], [3, 3]);

  await world.keyVault.disableKeyVersion({ name: key.name });
  const { resources } = await world.sets.listAssociatedResources({ name: set.name });
  assert.deepEqual(
    resources.map(({ keyVersion }) => keyVersion),
    [next.name, next.name, next.name],
    'CMK-44',
  );
  assert.deepEqual(await Promise.all(disks.map((disk) => world.disks.open(disk))), before, 'CMK-15');
  const { etag } = await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl });
  assert.equal(
    etag,
    (await world.sets.getDiskEncryptionSet({ name: set.name })).etag,
    'the active key again does nothing',
  );
});

test('CMK-87: a key the identity cannot use is refused and changes nothing', async () => {
  const { set } = await readySet();
  const stranger = await newKey(await newVault());
  const before = await world.sets.getDiskEncryptionSet({ name: set.name });
  await assert.rejects(world.sets.assignKey({ name: set.name, keyUrl: stranger.keyUrl }), { reason: 'ACCESS_DENIED' });
  const far = await newKey(await newVault({ location: 'northeurope' }));
  await assert.rejects(world.sets.assignKey({ name: set.name, keyUrl: far.keyUrl }), { reason: 'LOCATION_MISMATCH' });
  await assert.rejects(world.sets.assignKey({ name: set.name, keyUrl: far.keyUrl, etag: '1' }), {
    reason: 'ETAG_MISMATCH',
  });
  assert.deepEqual(await world.sets.getDiskEncryptionSet({ name: set.name }), before);
});

test('CMK-83, CMK-121: under a disabled key a move waits, and the key owner’s word lets it go on', async () => {
  const { set, vault, key } = await readySet();
  const disk = await newDisk(set);
  const next = await newKey(vault);
  await world.keyVault.disableKeyVersion({ name: key.name });
  await world.until(set.name, isLost(key.name, 'KEY_DISABLED'));
  await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl });
  const waiting = await world.until(set.name, isWaiting);
  assert.equal(waiting.rotation?.waitingReason, 'KEY_DISABLED');
  assert.equal(waiting.rotation?.waitingForKeyVersion, key.name);
  assert.deepEqual(
    waiting.previousKeys.map(({ keyVersion }) => keyVersion),
    [key.name],
    'CMK-34',
  );

  const name = set.name;
  await assert.rejects(world.sets.resumeRotation({ name, keyOwnerToken: 'none of ours' }), {
    reason: 'KEY_OWNER_TOKEN_INVALID',
  });
  const { id: clientId, secret: clientSecret } = await world.newPrincipal();
  const stranger = await world.identity.issueToken({ clientId, clientSecret, audience: 'interlock:key-vault' });
  await assert.rejects(world.sets.resumeRotation({ name, keyOwnerToken: stranger.accessToken }), {
    code: 'PERMISSION_DENIED',
    reason: 'ACCESS_DENIED',
  });
  await world.sets.resumeRotation({ name, keyOwnerToken: await ownerToken() });
  await world.until(name, isDone);
  await world.disks.open(disk);
});

test('CMK-121, CMK-126: assigning a key with the owner’s word brings disks back from a disabled and a deleted key', async () => {
  for (const loss of ['disabled', 'deleted'] as const) {
    const { set, vault, key } = await readySet();
    const disk = await newDisk(set);
    const next = await newKey(vault);
    if (loss === 'disabled') await world.keyVault.disableKeyVersion({ name: key.name });
    else await world.keyVault.deleteKey({ name: key.name.slice(0, key.name.indexOf('/versions/')) });
    await assert.rejects(world.disks.open(disk));
    // The fact of the loss may still be on its way: the owner need not wait for it.
    await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl, keyOwnerToken: await ownerToken() });
    await world.until(set.name, isDone);
    await world.disks.open(disk);
  }
});

test('CMK-120: a waiting move goes on by itself when the old key is back', async () => {
  const { set, vault, key } = await readySet();
  const disk = await newDisk(set);
  const next = await newKey(vault);
  await world.keyVault.disableKeyVersion({ name: key.name });
  await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl });
  await world.until(set.name, isWaiting);
  await world.keyVault.enableKeyVersion({ name: key.name });
  await world.until(set.name, isDone);
  await world.disks.open(disk);
});

test('CMK-88: a restart in the middle of everything is made up for', async () => {
  const { set, vault } = await readySet();
  const disk = await newDisk(set);
  const next = await newKey(vault);
  await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl });
  await world.restart('disk-encryption-set');
  await world.until(set.name, isDone);
  await world.disks.open(disk);
});

test('CMK-130, CMK-39: a set in use stays; an unused one goes with its identity, and its name is free', async () => {
  const { set, key } = await readySet();
  const disk = await newDisk(set);
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
  const again = { ...wishFor(key.keyUrl), diskEncryptionSetId: name.slice(name.lastIndexOf('/') + 1) };
  assert.notEqual(principalOf(await world.sets.createDiskEncryptionSet(again)), principalOf(set));
  await assert.rejects(world.sets.deleteDiskEncryptionSet({ name: `${name}x` }), {
    reason: 'DISK_ENCRYPTION_SET_NOT_FOUND',
  });
});

test('CMK-140: a region holds so many sets of a subscription and no more; lists come in pages', async () => {
  const { keyUrl } = await newKey(await newVault({ location: 'farnorth' }));
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

test('who has no role on a set neither sees nor changes it; a role opens what it says', async () => {
  const { set, key } = await readySet();
  const somebody = await world.newPrincipal();
  const { name } = set;
  const theirs = world.setsAs(somebody);
  await assert.rejects(theirs.getDiskEncryptionSet({ name }), { reason: 'ACCESS_DENIED' });
  await assert.rejects(theirs.createDiskEncryptionSet(wishFor(key.keyUrl)), { reason: 'ACCESS_DENIED' });
  const wish = { roleAssignmentId: randomUUID(), principal: somebody.name, role: 'roles/reader', scope: resourceGroup };
  await world.identity.createRoleAssignment(wish);
  assert.equal((await theirs.getDiskEncryptionSet({ name })).name, name);
  await assert.rejects(theirs.deleteDiskEncryptionSet({ name }), { reason: 'ACCESS_DENIED' });
});
