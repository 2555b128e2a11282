import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { DiskEncryptionSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import {
  accessOf,
  grant,
  isDone,
  isLost,
  isWaiting,
  newDisk,
  newKey,
  newVault,
  ownerToken,
  principalOf,
  readySet,
} from '../testing/test-ready-sets.ts';
import { type SetCloud, startSetCloud } from '../testing/test-set-cloud.ts';

let world: SetCloud;
before(async () => {
  world = await startSetCloud();
});
after(() => world.close());

test('CMK-44, CMK-80, CMK-82, CMK-89: every disk moves to the new key and no longer needs the old one', async () => {
  const { set, vault, key } = await readySet(world);
  const disks = [await newDisk(world, set), await newDisk(world, set), await newDisk(world, set)];
  const before = await Promise.all(disks.map((disk) => world.disks.open(disk)));
  const next = await newKey(world, vault);
  const assigned = await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl });
  assert.equal(assigned.generation, 2);
  assert.ok(assigned.lastKeyRotationTime, 'CMK-35');
  assert.equal(accessOf(assigned, next.name)?.state, 'AVAILABLE');
  const done = await world.until(set.name, isDone);
  assert.deepEqual([done.previousKeys, done.provisioningState], [[], 'SUCCEEDED'], 'CMK-34');
  assert.deepEqual([done.rotation?.resourcesCount, done.rotation?.doneCount], [3, 3]);

  await world.keyVault.disableKeyVersion({ name: key.name });
  const associated = [];
  for (let pageToken = '', isFirst = true; isFirst || pageToken !== ''; isFirst = false) {
    const page = await world.sets.listAssociatedResources({ name: set.name, pageSize: 2, pageToken });
    associated.push(...page.resources.map(({ name, keyVersion }) => [name, keyVersion]));
    pageToken = page.nextPageToken;
  }
  assert.deepEqual(
    associated.toSorted(),
    disks.toSorted().map((disk) => [disk, next.name]),
  );
  assert.deepEqual(await Promise.all(disks.map((disk) => world.disks.open(disk))), before, 'CMK-15');
  const { etag } = await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl });
  assert.equal(
    etag,
    (await world.sets.getDiskEncryptionSet({ name: set.name })).etag,
    'the active key again does nothing',
  );
});

test('CMK-33: assigning the active key under another spelling of its URL has no effect', async () => {
  const { set, vault, key } = await readySet(world);
  await world.keyVault.removeAccessPolicy({ name: vault, principal: principalOf(set) });
  const lost = await world.until(set.name, isLost(key.name, 'ACCESS_DENIED'));
  const keyUrl = key.keyUrl.replace(/^https:\/\/[^/]+/, (place) => `https://${place.slice(8).toUpperCase()}`);
  assert.notEqual(keyUrl, key.keyUrl);
  assert.deepEqual(await world.sets.assignKey({ name: set.name, keyUrl }), lost);
});

test('CMK-87: a key the identity cannot use is refused and changes nothing', async () => {
  const { set, vault } = await readySet(world);
  const stranger = await newKey(world, await newVault(world));
  const before = await world.sets.getDiskEncryptionSet({ name: set.name });
  await assert.rejects(world.sets.assignKey({ name: set.name, keyUrl: stranger.keyUrl }), { reason: 'ACCESS_DENIED' });
  const far = await newKey(world, await newVault(world, { location: 'northeurope' }));
  const unlike = async (attributes: { enabled?: boolean; notBefore?: Date; expireTime?: Date }) => {
    const request = { parent: vault, keyId: `k${randomUUID().slice(0, 8)}`, requestId: randomUUID(), attributes };
    return (await world.keyVault.createKey(request)).keyUrl;
  };
  const hour = (n: number) => new Date(Date.now() + n * 3_600_000);
  const onlySigning = await newKey(world, vault);
  await world.keyVault.setKeyOperations({ name: onlySigning.name, keyOperations: ['SIGN', 'VERIFY'] });
  const deleted = await newKey(world, vault);
  await world.keyVault.deleteKey({ name: deleted.name.slice(0, deleted.name.indexOf('/versions/')) });
  const fine = await newKey(world, vault);
  const refusals: readonly (readonly [string, string, string?])[] = [
    ['LOCATION_MISMATCH', far.keyUrl],
    ['KEY_DISABLED', await unlike({ enabled: false })],
    ['KEY_EXPIRED', await unlike({ notBefore: hour(-2), expireTime: hour(-1) })],
    ['KEY_NOT_YET_VALID', await unlike({ notBefore: hour(1) })],
    ['KEY_OPERATION_NOT_ALLOWED', onlySigning.keyUrl],
    ['KEY_DELETED', deleted.keyUrl],
    ['KEY_VERSION_NOT_FOUND', `${fine.keyUrl.slice(0, -32)}${'0'.repeat(32)}`],
    ['KEY_URL_WITHOUT_VERSION', fine.keyUrl.slice(0, -33)],
    ['KEY_URL_INVALID', 'k1'],
    ['SOURCE_VAULT_MISMATCH', fine.keyUrl, 'vaults/another'],
  ];
  for (const [reason, keyUrl, sourceVault = ''] of refusals) {
    await assert.rejects(world.sets.assignKey({ name: set.name, keyUrl, sourceVault }), { reason }, reason);
  }
  await assert.rejects(world.sets.assignKey({ name: set.name, keyUrl: far.keyUrl, etag: '1' }), {
    reason: 'ETAG_MISMATCH',
  });
  assert.deepEqual(await world.sets.getDiskEncryptionSet({ name: set.name }), before);
});

test('CMK-83, CMK-121: a rotation away from a disabled key waits until the owner of that key authorizes it', async () => {
  const { set, vault, key } = await readySet(world);
  const disk = await newDisk(world, set);
  const next = await newKey(world, vault);
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
  const statesOf = async () =>
    (await world.sets.listAssociatedResources({ name: set.name })).resources.map(({ rotationState }) => rotationState);
  assert.deepEqual(await statesOf(), ['BLOCKED']);

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
  await world.sets.resumeRotation({ name, keyOwnerToken: await ownerToken(world) });
  await world.until(name, isDone);
  assert.deepEqual(await statesOf(), ['CURRENT']);
  await world.disks.open(disk);
});

test('CMK-121: assigning the same key again resumes a waiting rotation only with the owner’s authorization', async () => {
  const { set, vault, key } = await readySet(world);
  const disk = await newDisk(world, set);
  const next = await newKey(world, vault);
  const { name } = set;
  await world.keyVault.disableKeyVersion({ name: key.name });
  await world.until(name, isLost(key.name, 'KEY_DISABLED'));
  await world.sets.assignKey({ name, keyUrl: next.keyUrl });
  await world.until(name, isWaiting);
  assert.equal((await world.sets.assignKey({ name, keyUrl: next.keyUrl })).rotation?.state, 'WAITING');
  const { id: clientId, secret: clientSecret } = await world.newPrincipal();
  const stranger = await world.identity.issueToken({ clientId, clientSecret, audience: 'interlock:key-vault' });
  const again = { name, keyUrl: next.keyUrl };
  await assert.rejects(world.sets.assignKey({ ...again, keyOwnerToken: stranger.accessToken }), {
    reason: 'ACCESS_DENIED',
  });
  await world.sets.assignKey({ ...again, keyOwnerToken: await ownerToken(world) });
  await world.until(name, isDone);
  await world.disks.open(disk);
});

test('CMK-121, CMK-126: assigning a key with the owner’s authorization moves disks off a disabled or deleted key', async () => {
  for (const loss of ['disabled', 'deleted'] as const) {
    const { set, vault, key } = await readySet(world);
    const disk = await newDisk(world, set);
    const next = await newKey(world, vault);
    if (loss === 'disabled') await world.keyVault.disableKeyVersion({ name: key.name });
    else {
      const name = key.name.slice(0, key.name.indexOf('/versions/'));
      await world.keyVault.deleteKey({ name, confirmName: name });
    }
    await assert.rejects(world.disks.open(disk));
    // The fact of the loss may still be on its way: the owner need not wait for it.
    await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl, keyOwnerToken: await ownerToken(world) });
    await world.until(set.name, isDone);
    await world.disks.open(disk);
  }
});

test('CMK-121, CMK-10: with two disabled keys, each owner authorizes moves from their own key only', async () => {
  /** A vault with a key, and a principal that may enable that key and no other. */
  const owned = async (set: DiskEncryptionSet) => {
    const vault = await newVault(world);
    await grant(world, set, vault);
    const owner = await world.newPrincipal();
    const accessPolicy = { principal: owner.name, keyPermissions: ['UPDATE' as const] };
    await world.keyVault.setAccessPolicy({ name: vault, accessPolicy });
    const { id: clientId, secret: clientSecret } = owner;
    const token = async () =>
      (await world.identity.issueToken({ clientId, clientSecret, audience: 'interlock:key-vault' })).accessToken;
    return { key: await newKey(world, vault), token };
  };
  const { set, key } = await readySet(world);
  const { name } = set;
  const [one, other] = [await owned(set), await owned(set)];
  const disks: string[] = [];
  for (const { key: active } of [one, other]) {
    const now = await world.sets.assignKey({ name, keyUrl: active.keyUrl });
    disks.push(await newDisk(world, now));
    await world.keyVault.disableKeyVersion({ name: active.name });
    await world.until(name, isLost(active.name, 'KEY_DISABLED'));
  }
  await world.sets.assignKey({ name, keyUrl: key.keyUrl });
  await world.until(name, isWaiting);
  const { id: clientId, secret: clientSecret } = await world.newPrincipal();
  const stranger = await world.identity.issueToken({ clientId, clientSecret, audience: 'interlock:key-vault' });
  await assert.rejects(world.sets.resumeRotation({ name, keyOwnerToken: stranger.accessToken }), {
    reason: 'ACCESS_DENIED',
  });
  // The rotation waits first for the key that the set left last.
  await world.sets.resumeRotation({ name, keyOwnerToken: await other.token() });
  await world.until(name, (now) => isWaiting(now) && now.rotation?.waitingForKeyVersion === one.key.name);
  const versions = () => disks.map((disk) => world.disks.stock.get(disk)?.keyVersion);
  assert.deepEqual(versions(), [one.key.name, key.name]);
  await world.sets.resumeRotation({ name, keyOwnerToken: await one.token() });
  await world.until(name, isDone);
  assert.deepEqual(versions(), [key.name, key.name]);
});

test('CMK-120: a waiting rotation continues automatically once the old key is enabled', async () => {
  const { set, vault, key } = await readySet(world);
  const disk = await newDisk(world, set);
  const next = await newKey(world, vault);
  await world.keyVault.disableKeyVersion({ name: key.name });
  await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl });
  await world.until(set.name, isWaiting);
  await world.keyVault.enableKeyVersion({ name: key.name });
  await world.until(set.name, isDone);
  await world.disks.open(disk);
});

test('CMK-88: a rotation that a restart interrupts is finished afterwards', async () => {
  const { set, vault } = await readySet(world);
  const disk = await newDisk(world, set);
  const next = await newKey(world, vault);
  await world.sets.assignKey({ name: set.name, keyUrl: next.keyUrl });
  await world.restart('disk-encryption-set');
  await world.until(set.name, isDone);
  await world.disks.open(disk);
});
