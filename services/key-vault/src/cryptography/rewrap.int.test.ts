import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { newVault, startVaultCloud, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
/** Runs once, before the next authorization is stored. */
let beforeWord: (() => Promise<unknown>) | undefined;
before(async () => {
  world = await startVaultCloud({
    store: (store) => ({
      ...store,
      async commit(commit, cause) {
        const isWord = commit.appends?.some(({ events }) => events.some(({ type }) => type === 'RewrapAuthorized'));
        const happens = isWord ? beforeWord : undefined;
        if (happens) beforeWord = undefined;
        await happens?.();
        return store.commit(commit, cause);
      },
    }),
  });
});
after(() => world.close());

const vault = () => world.vault();
const algorithm = 'RSA_OAEP_256';
const diskEncryptionSet = 'subscriptions/s1/resourceGroups/g/diskEncryptionSets/d';
const keyOf = (version: string) => version.split('/versions/')[0] ?? '';
const deleteKey = (version: string) => vault().deleteKey({ name: keyOf(version), confirmName: keyOf(version) });
const newKey = async (parent: string, keyId: string) =>
  (await vault().createKey({ parent, keyId, requestId: randomUUID() })).name;

/** A set's identity with its grants on a source and a target, and a DEK under the source. */
const setUp = async (request: { sourceProtected?: boolean; targetProtected?: boolean } = {}) => {
  const identity = await world.newManagedIdentity();
  const sourceVault = await newVault(world, { purgeProtected: request.sourceProtected ?? false });
  const targetVault = await newVault(world, { purgeProtected: request.targetProtected ?? false });
  for (const name of [sourceVault, targetVault]) {
    await vault().setAccessPolicy({
      name,
      accessPolicy: { principal: identity.name, keyPermissions: ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] },
    });
  }
  const source = await newKey(sourceVault, 'source');
  const target = await newKey(targetVault, 'target');
  const dek = randomBytes(32);
  const { wrappedKey } = await identity.vault.wrapKey({ name: source, algorithm, plaintextKey: Buffer.from(dek) });
  const rewrap = (set = diskEncryptionSet) =>
    identity.vault.rewrap({
      sourceKeyVersion: source,
      targetKeyVersion: target,
      wrappedKey,
      algorithm,
      diskEncryptionSet: set,
      resource: 'disks/d1',
    });
  const authorize = (client = vault()) =>
    client.authorizeRewrap({
      sourceKeyVersion: source,
      targetKeyVersion: target,
      principal: identity.name,
      diskEncryptionSet,
    });
  const opensUnderTarget = async (moved: { wrappedKey: Uint8Array }) => {
    const { plaintextKey } = await identity.vault.unwrapKey({ name: target, algorithm, wrappedKey: moved.wrappedKey });
    assert.deepEqual(Buffer.from(plaintextKey), dek);
  };
  return { identity, sourceVault, targetVault, source, target, rewrap, authorize, opensUnderTarget };
};

test('CMK-15: a rewrap changes the key a DEK is under, and not the DEK', async () => {
  const { rewrap, target, opensUnderTarget } = await setUp();
  const moved = await rewrap();
  assert.equal(moved.keyVersion, target);
  await opensUnderTarget(moved);
});

test('CMK-124: a rewrap from an expired source succeeds', async () => {
  const { rewrap, source, opensUnderTarget } = await setUp();
  await vault().setKeyVersionDates({ name: source, expireTime: new Date(1_000) });
  await opensUnderTarget(await rewrap());
});

test('CMK-10, CMK-121: a rewrap from a disabled source needs an authorization for this set; another disable cancels it', async () => {
  const { rewrap, authorize, source, target, identity, opensUnderTarget } = await setUp();
  await vault().disableKeyVersion({ name: source });
  await assert.rejects(rewrap(), (error: { reason?: string; metadata?: Record<string, string> }) => {
    assert.deepEqual([error.reason, error.metadata?.key_version], ['KEY_DISABLED', source]);
    return true;
  });
  const given = await authorize();
  assert.deepEqual(
    [given.sourceKeyVersion, given.targetKeyVersion, given.principal, given.authorizedBy],
    [source, target, identity.name, world.administrator.name],
  );
  assert.deepEqual((await authorize()).authorizeTime, given.authorizeTime);
  await assert.rejects(rewrap(`${diskEncryptionSet}2`), { reason: 'KEY_DISABLED' });
  await opensUnderTarget(await rewrap());
  await vault().disableKeyVersion({ name: source });
  await assert.rejects(rewrap(), { reason: 'KEY_DISABLED' });
});

test("CMK-121, CMK-126: a rewrap from a deleted source needs the owner's authorization; a later delete cancels it", async () => {
  const { rewrap, authorize, source, opensUnderTarget } = await setUp();
  await deleteKey(source);
  await assert.rejects(rewrap(), { reason: 'KEY_DELETED' });
  await authorize();
  await opensUnderTarget(await rewrap());
  await vault().recoverKey({ name: keyOf(source) });
  await deleteKey(source);
  await assert.rejects(rewrap(), { reason: 'KEY_DELETED' });
});

test('CMK-10: an authorization needs update if the source is disabled, and recover if it is deleted', async () => {
  const { authorize, source, sourceVault, identity } = await setUp();
  const owner = await world.newPrincipal();
  const allow = (...keyPermissions: ('UPDATE' | 'RECOVER')[]) =>
    vault().setAccessPolicy({ name: sourceVault, accessPolicy: { principal: owner.name, keyPermissions } });
  await vault().disableKeyVersion({ name: source });
  await allow('RECOVER');
  await assert.rejects(authorize(world.vault(owner)), { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' });
  await assert.rejects(authorize(identity.vault), { reason: 'ACCESS_DENIED' });
  await allow('UPDATE');
  await authorize(world.vault(owner));
  await deleteKey(source);
  await assert.rejects(authorize(world.vault(owner)), { reason: 'ACCESS_DENIED' });
  await allow('RECOVER', 'UPDATE');
  await authorize(world.vault(owner));
});

test('CMK-10: an authorization needs recover if the source is deleted before the authorization is stored', async () => {
  const { authorize, rewrap, source, sourceVault } = await setUp();
  const owner = await world.newPrincipal();
  const allow = (...keyPermissions: ('UPDATE' | 'RECOVER')[]) =>
    vault().setAccessPolicy({ name: sourceVault, accessPolicy: { principal: owner.name, keyPermissions } });
  await allow('UPDATE');
  beforeWord = () => deleteKey(source);
  await assert.rejects(authorize(world.vault(owner)), { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' });
  await assert.rejects(rewrap(), { reason: 'KEY_DELETED' });
  await vault().recoverKey({ name: keyOf(source) });
  await allow('UPDATE', 'RECOVER');
  beforeWord = () => deleteKey(source);
  await authorize(world.vault(owner));
  await rewrap();
});

test('CMK-108: after a purge, an authorization and a rewrap are refused', async () => {
  const { rewrap, authorize, source } = await setUp();
  await deleteKey(source);
  await authorize();
  await vault().purgeKey({ name: keyOf(source), confirmName: keyOf(source) });
  await assert.rejects(rewrap(), { code: 'FAILED_PRECONDITION', reason: 'KEY_PURGED' });
  await assert.rejects(authorize(), { code: 'FAILED_PRECONDITION', reason: 'KEY_PURGED' });
});

test('a rewrap into an unusable target is refused, and the refusal names the target version', async () => {
  const { rewrap, target } = await setUp();
  for (const [change, reason] of [
    [() => vault().setKeyVersionDates({ name: target, expireTime: new Date(1_000) }), 'KEY_EXPIRED'],
    [() => vault().disableKeyVersion({ name: target }), 'KEY_DISABLED'],
  ] as const) {
    await change();
    await assert.rejects(rewrap(), (error: { reason?: string; metadata?: Record<string, string> }) => {
      assert.deepEqual([error.reason, error.metadata?.key_version], [reason, target]);
      return true;
    });
  }
});

const needed = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;
const neededOperations = ['WRAP_KEY', 'UNWRAP_KEY'] as const;

for (const end of ['source', 'target'] as const) {
  test(`CMK-10, CMK-25: a rewrap is refused if a permission or operation that it needs is missing on the ${end}`, async () => {
    const { rewrap, identity, opensUnderTarget, ...of } = await setUp();
    const [name, keyVersion] = end === 'source' ? [of.sourceVault, of.source] : [of.targetVault, of.target];
    const allow = (keyPermissions: readonly (typeof needed)[number][]) =>
      vault().setAccessPolicy({
        name,
        accessPolicy: { principal: identity.name, keyPermissions: [...keyPermissions] },
      });
    const use = (keyOperations: readonly (typeof neededOperations)[number][]) =>
      vault().setKeyOperations({ name: keyVersion, keyOperations: [...keyOperations] });
    const isDenied = (error: { code?: string; reason?: string; metadata?: Record<string, string> }) => {
      assert.deepEqual(
        [error.code, error.reason, error.metadata?.key_version],
        ['PERMISSION_DENIED', 'ACCESS_DENIED', keyVersion],
      );
      return true;
    };
    for (const missing of needed) {
      await allow(needed.filter((one) => one !== missing));
      await assert.rejects(rewrap(), isDenied, `without ${missing}`);
    }
    await allow(needed);
    for (const missing of neededOperations) {
      await use(neededOperations.filter((one) => one !== missing));
      await assert.rejects(rewrap(), isDenied, `not for ${missing}`);
    }
    await use(neededOperations);
    await opensUnderTarget(await rewrap());
  });
}

test('G9: a rewrap after a role was lost and restored is recorded once', async () => {
  const identity = await world.newManagedIdentity();
  const role = 'roles/keyVaultCryptoServiceEncryptionUser';
  const allow = (name: string) => world.assignRole(identity.name, role, `subscriptions/s1/resourceGroups/g/${name}`);
  const [sourceVault, targetVault] = [await newVault(world, { role: true }), await newVault(world, { role: true })];
  const [ofSource] = [await allow(sourceVault), await allow(targetVault)];
  const [source, target] = [await newKey(sourceVault, 'source'), await newKey(targetVault, 'target')];
  const { wrappedKey } = await identity.vault.wrapKey({ name: source, algorithm, plaintextKey: randomBytes(32) });
  const rewrap = () =>
    identity.vault.rewrap({
      sourceKeyVersion: source,
      targetKeyVersion: target,
      wrappedKey,
      algorithm,
      diskEncryptionSet,
      resource: 'disks/d1',
    });
  await world.identity.deleteRoleAssignment({ name: ofSource });
  await assert.rejects(rewrap(), { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' });
  await allow(sourceVault);
  await rewrap();
  for (const parent of [sourceVault, targetVault]) {
    const { auditEntries } = await vault().listAuditEntries({ parent, operation: 'KeyRewrap' });
    assert.deepEqual(auditEntries.map(({ result }) => result).toSorted(), ['REFUSED', 'SUCCESS'], parent);
  }
});

test('a rewrap from a purge-protected vault into an unprotected one is refused', async () => {
  const { rewrap, target, targetVault } = await setUp({ sourceProtected: true });
  await assert.rejects(rewrap(), (error: { code?: string; reason?: string; metadata?: Record<string, string> }) => {
    assert.deepEqual(
      [error.code, error.reason, error.metadata?.key_version],
      ['FAILED_PRECONDITION', 'TARGET_WEAKER_PROTECTED', target],
    );
    return true;
  });
  await vault().enablePurgeProtection({ name: targetVault });
  await rewrap();
});

test('CMK-11: a rewrap is recorded in both vaults with the resource that it was for', async () => {
  const { rewrap, identity, source, sourceVault, target, targetVault } = await setUp();
  await rewrap();
  for (const [parent, version] of [
    [sourceVault, source],
    [targetVault, target],
  ] as const) {
    const { auditEntries } = await vault().listAuditEntries({ parent, operation: 'KeyRewrap' });
    assert.deepEqual(
      auditEntries.map(({ keyVersion, caller, resource, result }) => [keyVersion, caller, resource, result]),
      [[version, identity.name, 'disks/d1', 'SUCCESS']],
    );
  }
});
