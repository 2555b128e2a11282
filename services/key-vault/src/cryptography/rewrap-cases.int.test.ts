import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { newVault, startVaultCloud, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
before(async () => {
  world = await startVaultCloud();
});
after(() => world.close());

const vault = () => world.vault();
const algorithm = 'RSA_OAEP_256';
const group = 'subscriptions/s1/resourceGroups/g';
const diskEncryptionSet = `${group}/diskEncryptionSets/d`;
const all = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;
const keyOf = (version: string) => version.split('/versions/')[0] ?? '';

/** A set's identity with a DEK under an old key, and a new key; each in a vault of its own. */
const setUp = async () => {
  const identity = await world.newManagedIdentity();
  const allow = (name: string, principal = identity.name) =>
    vault().setAccessPolicy({ name, accessPolicy: { principal, keyPermissions: [...all] } });
  const newKey = async () => {
    const parent = await newVault(world);
    await allow(parent);
    const { name } = await vault().createKey({ parent, keyId: 'k', requestId: randomUUID() });
    return { parent, name };
  };
  const [old, next] = [await newKey(), await newKey()];
  const dek = randomBytes(32);
  const { wrappedKey } = await identity.vault.wrapKey({
    name: old.name,
    algorithm,
    plaintextKey: Buffer.from(dek),
  });
  const moved = { targetKeyVersion: next.name, algorithm, diskEncryptionSet, resource: 'disks/d1' } as const;
  const rewrap = (client = identity.vault, set: string = diskEncryptionSet, target = next.name) =>
    client.rewrap({
      ...moved,
      sourceKeyVersion: old.name,
      wrappedKey,
      diskEncryptionSet: set,
      targetKeyVersion: target,
    });
  const authorize = (client = vault()) =>
    client.authorizeRewrap({
      sourceKeyVersion: old.name,
      targetKeyVersion: next.name,
      principal: identity.name,
      diskEncryptionSet,
    });
  const isWhole = async (made: { wrappedKey: Uint8Array }, client = identity.vault) => {
    const { plaintextKey } = await client.unwrapKey({ name: next.name, algorithm, wrappedKey: made.wrappedKey });
    assert.deepEqual(Buffer.from(plaintextKey), dek);
  };
  const remove = () => vault().deleteKey({ name: keyOf(old.name), confirmName: keyOf(old.name) });
  const purge = () => vault().purgeKey({ name: keyOf(old.name), confirmName: keyOf(old.name) });
  return { identity, old, next, allow, rewrap, authorize, isWhole, remove, purge };
};

test('CMK-83, CMK-123: with the old key enabled, a new grant or a new identity with a grant moves the DEK', async () => {
  const { identity, old, next, allow, rewrap, isWhole } = await setUp();
  await vault().removeAccessPolicy({ name: old.parent, principal: identity.name });
  await assert.rejects(rewrap(), { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' });
  await allow(old.parent);
  await isWhole(await rewrap());
  await world.identity.deletePrincipal({ name: identity.name, confirmName: identity.name });
  await assert.rejects(rewrap(), { reason: 'IDENTITY_DELETED' });
  const successor = await world.newManagedIdentity();
  await assert.rejects(rewrap(successor.vault), { reason: 'ACCESS_DENIED' });
  for (const name of [old.parent, next.parent]) await allow(name, successor.name);
  await isWhole(await rewrap(successor.vault), successor.vault);
});

test("CMK-124: the DEK moves from an expired or not yet valid key without the owner's authorization", async () => {
  const { old, rewrap, isWhole } = await setUp();
  await vault().setKeyVersionDates({ name: old.name, expireTime: new Date(1_000) });
  await isWhole(await rewrap());
  await vault().setKeyVersionDates({ name: old.name, notBefore: new Date(Date.now() + 3_600_000) });
  await isWhole(await rewrap());
});

test("CMK-121, CMK-124: an expired key that is deleted too is left only with its owner's authorization", async () => {
  const { old, rewrap, authorize, isWhole, remove } = await setUp();
  await vault().setKeyVersionDates({ name: old.name, expireTime: new Date(1_000) });
  await remove();
  await assert.rejects(rewrap(), { reason: 'KEY_DELETED' });
  await authorize();
  await isWhole(await rewrap());
});

for (const [how, reason] of [
  ['disabled', 'KEY_DISABLED'],
  ['deleted', 'KEY_DELETED'],
] as const) {
  test(`CMK-121: a rewrap from a ${how} key is refused without an authorization and succeeds once the key is back`, async () => {
    const { old, rewrap, isWhole, remove } = await setUp();
    if (how === 'disabled') await vault().disableKeyVersion({ name: old.name });
    else await remove();
    await assert.rejects(rewrap(), { reason });
    if (how === 'disabled') await vault().enableKeyVersion({ name: old.name });
    else await vault().recoverKey({ name: keyOf(old.name) });
    await isWhole(await rewrap());
  });
}

test('CMK-10: an authorization ends when the vault is deleted, although the vault is recovered', async () => {
  const { old, rewrap, authorize, isWhole } = await setUp();
  await vault().disableKeyVersion({ name: old.name });
  await authorize();
  await isWhole(await rewrap());
  await vault().deleteVault({ name: old.parent, confirmName: old.parent });
  await vault().recoverVault({ name: old.parent });
  await assert.rejects(rewrap(), { reason: 'KEY_DISABLED' });
  await authorize();
  await isWhole(await rewrap());
});

test('CMK-10: a caller that controls the set but not the key cannot undo a revocation', async () => {
  const { identity, old, next, rewrap, authorize } = await setUp();
  const attacker = await world.newPrincipal();
  // Owns the set and may do everything with the new key, but nothing with the old one.
  await world.assignRole(attacker.name, 'roles/owner', `${group}/diskEncryptionSets/d`);
  await vault().setAccessPolicy({
    name: next.parent,
    accessPolicy: { principal: attacker.name, keyPermissions: ['ALL'] },
  });
  await vault().disableKeyVersion({ name: old.name });
  const client = world.vault(attacker);
  const denied = { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' };
  await assert.rejects(authorize(client), denied);
  await assert.rejects(client.enableKeyVersion({ name: old.name }), denied);
  await assert.rejects(rewrap(client), denied);
  await assert.rejects(authorize(identity.vault), denied);
  // An authorization for the attacker's own key does not count for the old key.
  await client.authorizeRewrap({
    sourceKeyVersion: next.name,
    targetKeyVersion: next.name,
    principal: identity.name,
    diskEncryptionSet,
  });
  await assert.rejects(rewrap(), { reason: 'KEY_DISABLED' });
  // The owner's authorization for one target and one set permits no other.
  await authorize();
  await assert.rejects(rewrap(identity.vault, `${diskEncryptionSet}2`), { reason: 'KEY_DISABLED' });
  const { name: theirs } = await client.createKey({ parent: next.parent, keyId: 'theirs', requestId: randomUUID() });
  await assert.rejects(rewrap(identity.vault, diskEncryptionSet, theirs), { reason: 'KEY_DISABLED' });
  await rewrap();
});

test('CMK-108: after the old key is purged, neither an authorization nor a new grant allows a rewrap', async () => {
  const { old, rewrap, authorize, allow, remove, purge } = await setUp();
  await remove();
  await authorize();
  await purge();
  await allow(old.parent);
  for (let time = 0; time < 2; time += 1) {
    await assert.rejects(rewrap(), { code: 'FAILED_PRECONDITION', reason: 'KEY_PURGED' });
    await assert.rejects(authorize(), { code: 'FAILED_PRECONDITION', reason: 'KEY_PURGED' });
    // The name is free, and its new key is another key.
    await vault().createKey({ parent: old.parent, keyId: 'k', requestId: randomUUID() });
  }
});

test('G9, CMK-108: a rewrap from a version that was purged with its vault is recorded in the target vault', async () => {
  const { old, next, rewrap } = await setUp();
  await vault().deleteVault({ name: old.parent, confirmName: old.parent });
  await vault().purgeVault({ name: old.parent, confirmName: old.parent });
  await assert.rejects(rewrap(), { reason: 'KEY_PURGED' });
  const { auditEntries } = await vault().listAuditEntries({ parent: next.parent, operation: 'KeyRewrap' });
  assert.deepEqual(
    auditEntries.map(({ keyVersion, result, reason }) => [keyVersion, result, reason]),
    [[next.name, 'REFUSED', 'KEY_PURGED']],
  );
});
