import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import {
  grant,
  isDone,
  isLost,
  isWaiting,
  newDisk,
  newKey,
  newVault,
  ownerToken,
  readySet,
  toldOf,
  wishFor,
} from './test-ready-sets.ts';
import { resourceGroup, type SetCloud, startSetCloud } from './test-set-cloud.ts';

let world: SetCloud;
before(async () => {
  world = await startSetCloud({ isPurgeProtected: false });
});
after(() => world?.close());

const keyOf = (keyVersion: string): string => keyVersion.slice(0, keyVersion.indexOf('/versions/'));

/** A token of somebody for the vault. */
const tokenOf = async ({ id: clientId, secret: clientSecret }: Awaited<ReturnType<SetCloud['newPrincipal']>>) =>
  (await world.identity.issueToken({ clientId, clientSecret, audience: 'interlock:key-vault' })).accessToken;

/** A set with a standby key in another vault and a disk under both, whose first key was purged then. */
const purgedSet = async () => {
  const { set, vault, key } = await readySet(world, { isPurgeable: true });
  const { name } = set;
  const elsewhere = await newVault(world);
  await grant(world, set, elsewhere);
  const standby = await newKey(world, elsewhere);
  const keyOwnerToken = await ownerToken(world);
  const named = await world.sets.updateDiskEncryptionSet({ name, standbyKeyUrl: standby.keyUrl, keyOwnerToken });
  const disk = await newDisk(world, named);
  const content = await world.disks.open(disk);
  await world.keyVault.deleteKey({ name: keyOf(key.name), confirmName: keyOf(key.name) });
  await world.keyVault.purgeKey({ name: keyOf(key.name), confirmName: keyOf(key.name) });
  await world.until(name, isLost(key.name, 'KEY_PURGED'));
  return { name, vault, elsewhere, standby, disk, content };
};

test('CMK-108: a set with a standby key survives the purge of its key, by the word of the owner of the standby key', async () => {
  const { name, standby, disk, content } = await purgedSet();
  await world.sets.assignKey({ name, keyUrl: standby.keyUrl });
  const waiting = await world.until(name, isWaiting);
  assert.equal(waiting.rotation?.waitingReason, 'KEY_PURGED', 'without a word nothing moves');
  const stranger = await world.newPrincipal();
  await assert.rejects(world.sets.resumeRotation({ name, keyOwnerToken: await tokenOf(stranger) }), {
    reason: 'ACCESS_DENIED',
  });
  await world.sets.resumeRotation({ name, keyOwnerToken: await ownerToken(world) });
  const moved = await world.until(name, isDone);
  assert.deepEqual([moved.previousKeys, moved.activeKey?.keyVersion], [[], standby.name]);
  assert.equal(moved.standbyKey, undefined, 'the active key is its own standby no more');
  assert.deepEqual(await world.disks.open(disk), content);
});

test('CMK-108: the standby wraps move to any key that is assigned, and the standby stays one', async () => {
  const { name, elsewhere, standby, disk, content } = await purgedSet();
  const third = await newKey(world, elsewhere);
  await world.sets.assignKey({ name, keyUrl: third.keyUrl, keyOwnerToken: await ownerToken(world) });
  const moved = await world.until(name, isDone);
  assert.deepEqual([moved.activeKey?.keyVersion, moved.standbyKey?.keyVersion], [third.name, standby.name]);
  assert.deepEqual(await world.disks.open(disk), content);
});

/** Somebody who may change every set here, and owns a key in a vault of their own; no other key. */
const setAdministrator = async () => {
  const somebody = await world.newPrincipal();
  const role = 'roles/contributor';
  await world.identity.createRoleAssignment({
    roleAssignmentId: randomUUID(),
    principal: somebody.name,
    role,
    scope: resourceGroup,
  });
  const vault = await newVault(world);
  await world.keyVault.setAccessPolicy({
    name: vault,
    accessPolicy: { principal: somebody.name, keyPermissions: ['ALL'] },
  });
  return { somebody, vault, key: await newKey(world, vault), sets: world.setsAs(somebody) };
};

test('CMK-10: who controls the set but not its key cannot name a standby key, neither later nor at its creation', async () => {
  const { set, vault, key } = await readySet(world);
  const { name } = set;
  const attacker = await setAdministrator();
  await grant(world, set, attacker.vault);
  const keyOwnerToken = await tokenOf(attacker.somebody);
  const { etag } = await world.sets.getDiskEncryptionSet({ name });
  const standbyKeyUrl = attacker.key.keyUrl;
  await assert.rejects(attacker.sets.updateDiskEncryptionSet({ name, standbyKeyUrl }), {
    reason: 'KEY_OWNER_TOKEN_MISSING',
  });
  await assert.rejects(attacker.sets.updateDiskEncryptionSet({ name, standbyKeyUrl, keyOwnerToken }), {
    code: 'PERMISSION_DENIED',
    reason: 'ACCESS_DENIED',
  });
  assert.equal((await world.sets.getDiskEncryptionSet({ name })).etag, etag);
  const wish = { ...wishFor(key.keyUrl), standbyKeyUrl, keyOwnerToken };
  await assert.rejects(attacker.sets.createDiskEncryptionSet(wish), { reason: 'ACCESS_DENIED' });
  const created = `${wish.parent}/diskEncryptionSets/${wish.diskEncryptionSetId}`;
  await assert.rejects(world.sets.getDiskEncryptionSet({ name: created }), { reason: 'DISK_ENCRYPTION_SET_NOT_FOUND' });
  const refused = await world.keyVault.listAuditEntries({ parent: vault });
  const words = refused.auditEntries.filter(({ operation }) => operation === 'KeyRewrapAuthorize');
  assert.deepEqual(
    words.map(({ reason, caller }) => [reason, caller]),
    [0, 1].map(() => ['ACCESS_DENIED', attacker.somebody.name]),
    'G9: both tries are on the record of the vault whose key it was about',
  );
});

test('CMK-10: a standby named under one key does not follow to another whose owner was not asked', async () => {
  const attacker = await setAdministrator();
  const own = await newKey(world, attacker.vault);
  const { set, key } = await readySet(world);
  const { name } = set;
  await grant(world, set, attacker.vault);
  const keyOwnerToken = await tokenOf(attacker.somebody);
  // To a key of their own, where they are the owner who is asked, and back again.
  await attacker.sets.assignKey({ name, keyUrl: own.keyUrl });
  await world.until(name, isDone);
  const named = await attacker.sets.updateDiskEncryptionSet({
    name,
    standbyKeyUrl: attacker.key.keyUrl,
    keyOwnerToken,
  });
  assert.equal(named.standbyKey?.keyVersion, attacker.key.name);
  const back = await attacker.sets.assignKey({ name, keyUrl: key.keyUrl, keyOwnerToken });
  assert.equal(back.activeKey?.keyVersion, key.name);
  assert.equal(back.standbyKey, undefined);
  const told = await toldOf(world, name);
  const last = told.findLast((event) => event?.$case === 'setOptionsChanged');
  assert.equal(
    last?.$case === 'setOptionsChanged' && last.value.standbyKeyVersion,
    '',
    'and the disk service hears so',
  );
});
