import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { AccessPolicy_KeyPermission } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import type { Rejection } from '@interlock/event-store';
import { newVault, startVaultCloud, until, type VaultClient, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
before(async () => {
  world = await startVaultCloud();
});
after(() => world.close());

const algorithm = 'RSA_OAEP_256';
const vaultWithKey = async (role = false) => {
  const name = await newVault(world, { role });
  const key = await world.vault().createKey({ parent: name, keyId: 'k1', requestId: randomUUID() });
  return { name, version: key.name, id: name.split('/')[1] ?? '' };
};
const denied = { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' };

/** Every use of a vault's keys, by the permission it needs. */
const uses = ({ name, version }: { name: string; version: string }, vault: VaultClient) => {
  const key = `${name}/keys/k1`;
  const requestId = randomUUID();
  const bytes = randomBytes(256);
  return {
    GET: [
      () => vault.getKey({ name: key }),
      () => vault.getKeyVersion({ name: version }),
      () => vault.getDeletedKey({ name: key }),
    ],
    LIST: [
      () => vault.listKeys({ parent: name }),
      () => vault.listKeyVersions({ parent: key }),
      () => vault.listDeletedKeys({ parent: name }),
    ],
    CREATE: [() => vault.createKey({ parent: name, keyId: 'k1', requestId })],
    IMPORT: [
      () => vault.importKey({ parent: name, keyId: 'k1', requestId, keyMaterial: { $case: 'pem', value: 'x' } }),
    ],
    UPDATE: [
      () => vault.enableKeyVersion({ name: version }),
      () => vault.disableKeyVersion({ name: version }),
      () => vault.setKeyVersionDates({ name: version }),
      () => vault.setKeyOperations({ name: version }),
      () => vault.setKeyTags({ name: version }),
    ],
    ROTATE: [() => vault.rotateKey({ name: key, requestId })],
    DELETE: [() => vault.deleteKey({ name: key })],
    RECOVER: [() => vault.recoverKey({ name: key })],
    PURGE: [() => vault.purgeKey({ name: key })],
    BACKUP: [() => vault.backupKey({ name: key })],
    RESTORE: [() => vault.restoreKey({ parent: name, requestId, backup: bytes })],
    ENCRYPT: [() => vault.encrypt({ name: version, algorithm, plaintext: randomBytes(8) })],
    DECRYPT: [() => vault.decrypt({ name: version, algorithm, ciphertext: bytes })],
    WRAP_KEY: [() => vault.wrapKey({ name: version, algorithm, plaintextKey: randomBytes(8) })],
    UNWRAP_KEY: [() => vault.unwrapKey({ name: version, algorithm, wrappedKey: bytes })],
    SIGN: [() => vault.sign({ name: version, algorithm: 'RS256', digest: randomBytes(32) })],
    VERIFY: [() => vault.verify({ name: version, algorithm: 'RS256', digest: randomBytes(32), signature: bytes })],
  } satisfies Partial<Record<AccessPolicy_KeyPermission, (() => Promise<unknown>)[]>>;
};
/** The reason a call is refused for; undefined when it succeeds. */
const reasonOf = (call: Promise<unknown>): Promise<string | undefined> =>
  call.then(
    () => undefined,
    (error: { reason?: string }) => error.reason ?? 'no reason',
  );

test('KV-72, KV-75, KV-82: a use without its permission is refused although all others are granted, from the next call on', async () => {
  const subject = await vaultWithKey();
  const grantee = await world.newPrincipal();
  const calls = uses(subject, world.vault(grantee));
  const everything = Object.keys(calls) as (keyof typeof calls)[];
  for (const permission of everything) {
    const others = everything.filter((other) => other !== permission);
    const accessPolicy = { principal: grantee.name, keyPermissions: others };
    await world.vault().setAccessPolicy({ name: subject.name, accessPolicy });
    for (const call of calls[permission]) assert.equal(await reasonOf(call()), 'ACCESS_DENIED', permission);
    await world
      .vault()
      .setAccessPolicy({ name: subject.name, accessPolicy: { ...accessPolicy, keyPermissions: [permission] } });
    const [first] = calls[permission];
    // The call may fail for another reason: only the permission matters here.
    if (first) assert.notEqual(await reasonOf(first()), 'ACCESS_DENIED', permission);
    if (permission === 'DELETE') await world.vault().recoverKey({ name: `${subject.name}/keys/k1` });
  }
});

test('KV-82: the refusal names principal, permission and vault', async () => {
  const { name, version, id } = await vaultWithKey();
  const grantee = await world.newPrincipal();
  const wrap = world.vault(grantee).wrapKey({ name: version, algorithm, plaintextKey: randomBytes(8) });
  await assert.rejects(wrap, (error: Rejection) => {
    const { access_epoch: epoch, ...metadata } = error.metadata;
    assert.match(epoch ?? '', /^[0-9]+$/);
    assert.deepEqual(metadata, {
      principal: grantee.name,
      permission: 'wrapKey',
      vault: name,
      key_version: version,
    });
    assert.equal(
      error.message,
      `The user, group or application '${grantee.name}' does not have keys wrapKey permission on key vault '${id};location=westeurope'.`,
    );
    return error.code === denied.code && error.reason === denied.reason;
  });
});

test('a caller without permission does not learn whether a key exists', async () => {
  const { name, version } = await vaultWithKey();
  const client = world.vault(await world.newPrincipal());
  const ask = (key: string) =>
    client.getKey({ name: `${name}/keys/${key}` }).then(
      () => 'found',
      (error: Error) => error.message,
    );
  assert.equal(await ask('k1'), await ask('none'));
  await world.vault().disableKeyVersion({ name: version });
  await assert.rejects(client.checkAccess({ keyVersion: version }), denied);
});

test('KV-70, KV-75, CMK-27: grants of the inactive model have no effect; a change of model applies from the next call', async () => {
  const subject = await vaultWithKey();
  const grantee = await world.newPrincipal();
  const scope = `subscriptions/s1/resourceGroups/g/${subject.name}`;
  await world.assignRole(grantee.name, 'roles/keyVaultCryptoUser', scope);
  const named = { name: `${subject.name}/keys/k1`, confirmName: `${subject.name}/keys/k1` };
  const wrap = () => world.vault(grantee).wrapKey({ name: subject.version, algorithm, plaintextKey: randomBytes(8) });
  await assert.rejects(wrap(), denied);
  await world.vault().setPermissionModel({ name: subject.name, permissionModel: 'ROLE_ASSIGNMENT' });
  await wrap();
  const accessPolicy = { principal: grantee.name, keyPermissions: ['ALL' as const] };
  await world.vault().setAccessPolicy({ name: subject.name, accessPolicy });
  await assert.rejects(world.vault(grantee).deleteKey(named), {
    ...denied,
    message: /Action: 'keyVault\/keys\/delete'/,
  });
  const policies = { name: subject.name, permissionModel: 'ACCESS_POLICY', confirmName: subject.name } as const;
  await world.vault().setPermissionModel(policies);
  await world.vault(grantee).deleteKey(named);
});

test('KV-73, CMK-26: a role on one key permits its own operations on that key, and nothing on other keys of the vault', async () => {
  const subject = await vaultWithKey(true);
  const other = await world.vault().createKey({ parent: subject.name, keyId: 'k2', requestId: randomUUID() });
  const grantee = await world.newPrincipal();
  const scope = `subscriptions/s1/resourceGroups/g/${subject.name}/keys/k1`;
  await world.assignRole(grantee.name, 'roles/keyVaultCryptoServiceEncryptionUser', scope);
  const client = world.vault(grantee);
  await client.checkAccess({ keyVersion: subject.version });
  await assert.rejects(client.checkAccess({ keyVersion: other.name }), denied);
  await assert.rejects(client.sign({ name: subject.version, algorithm: 'RS256', digest: randomBytes(32) }), denied);
});

test('KV-74: a contributor can set access policies, but cannot read keys or change the permission model', async () => {
  const subject = await vaultWithKey(true);
  const grantee = await world.newPrincipal();
  await world.assignRole(grantee.name, 'roles/contributor', `subscriptions/s1/resourceGroups/g/${subject.name}`);
  const client = world.vault(grantee);
  const accessPolicy = { principal: grantee.name, keyPermissions: ['ALL' as const] };
  await client.setAccessPolicy({ name: subject.name, accessPolicy });
  await assert.rejects(client.getKey({ name: `${subject.name}/keys/k1` }), denied);
  await assert.rejects(client.setPermissionModel({ name: subject.name, permissionModel: 'ACCESS_POLICY' }), denied);
});

test('management needs a role on the vault', async () => {
  const { name } = await vaultWithKey();
  const client = world.vault(await world.newPrincipal());
  const principal = world.administrator.name;
  const calls = [
    () => client.getVault({ name }),
    () => client.enablePurgeProtection({ name }),
    () => client.setAccessPolicy({ name, accessPolicy: { principal, keyPermissions: ['GET'] } }),
    () => client.removeAccessPolicy({ name, principal }),
    () => client.setPermissionModel({ name, permissionModel: 'ROLE_ASSIGNMENT' }),
    () => client.deleteVault({ name }),
    () => client.recoverVault({ name }),
    () => client.purgeVault({ name }),
    () => client.listAuditEntries({ parent: name }),
    () => client.listVaults({ parent: 'subscriptions/s1' }),
    () => client.createVault({ vaultId: 'other', resourceGroup: 'subscriptions/s1/resourceGroups/g', location: 'x1' }),
  ];
  for (const call of calls) await assert.rejects(call(), denied);
  assert.equal((await world.vault().getVault({ name })).state, 'ACTIVE');
});

test('CMK-25: CheckAccess needs get, wrapKey and unwrapKey; a refusal names the missing one and the access epoch', async () => {
  const { name, version } = await vaultWithKey();
  const identity = await world.newManagedIdentity();
  const all = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;
  const names = { GET: 'get', WRAP_KEY: 'wrapKey', UNWRAP_KEY: 'unwrapKey' };
  for (const missing of all) {
    const keyPermissions = all.filter((one) => one !== missing);
    await world.vault().setAccessPolicy({ name, accessPolicy: { principal: identity.name, keyPermissions } });
    await assert.rejects(
      identity.vault.checkAccess({ keyVersion: version }),
      (error: { reason?: string; metadata?: Record<string, string> }) => {
        assert.deepEqual([error.reason, error.metadata?.permission], ['ACCESS_DENIED', names[missing]]);
        assert.match(error.metadata?.access_epoch ?? '', /^[0-9]+$/);
        return true;
      },
    );
  }
  await world.vault().setAccessPolicy({ name, accessPolicy: { principal: identity.name, keyPermissions: [...all] } });
  await identity.vault.checkAccess({ keyVersion: version });
  await world.vault().removeAccessPolicy({ name, principal: identity.name });
  await assert.rejects(identity.vault.checkAccess({ keyVersion: version }), denied);
});

test('a deleted identity is refused with IDENTITY_DELETED although its token has not expired', async () => {
  const { name, version } = await vaultWithKey();
  const identity = await world.newManagedIdentity();
  const keyPermissions = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;
  await world
    .vault()
    .setAccessPolicy({ name, accessPolicy: { principal: identity.name, keyPermissions: [...keyPermissions] } });
  await identity.vault.checkAccess({ keyVersion: version });
  await world.identity.deletePrincipal({ name: identity.name, confirmName: identity.name });
  await assert.rejects(identity.vault.checkAccess({ keyVersion: version }), {
    code: 'PERMISSION_DENIED',
    reason: 'IDENTITY_DELETED',
  });
});

test('only the disk encryption set service can resolve key URLs, and it needs no grant', async () => {
  const { name, version } = await vaultWithKey();
  const resource = 'subscriptions/s1/resourceGroups/g/diskEncryptionSets/d';
  const { keyUrl } = await world.vault().getKeyVersion({ name: version });
  await assert.rejects(world.vault().resolveKeyForEncryption({ resource, keyUrl }), { reason: 'WORKLOAD_REQUIRED' });
  const client = world.vault(world.diskEncryptionSet);
  const found = await client.resolveKeyForEncryption({ resource, keyUrl: keyUrl.toUpperCase() });
  assert.deepEqual(
    [
      found.keyVersion,
      found.keyUrl,
      found.vault,
      found.subscription,
      found.tenant,
      found.keyType,
      found.keySizeBits,
      found.enabled,
    ],
    [version, keyUrl, name, 'subscriptions/s1', 'tenants/main', 'RSA', 2048, true],
  );
  await world.vault().disableKeyVersion({ name: version });
  assert.equal((await client.resolveKeyForEncryption({ resource, keyUrl })).enabled, false);
  await assert.rejects(client.resolveKeyForEncryption({ resource, keyUrl: keyUrl.slice(0, -33) }), {
    reason: 'KEY_URL_WITHOUT_VERSION',
  });
  await world.vault().deleteKey({ name: `${name}/keys/k1` });
  await world
    .vault()
    .enableKeyVersion({ name: version })
    .catch(() => undefined);
  await assert.rejects(client.resolveKeyForEncryption({ resource, keyUrl }), { reason: 'KEY_DISABLED' });
});

test('CMK-27: role changes are recorded on the role-based vaults in scope, and not on vaults with access policies', async () => {
  const inScope = await vaultWithKey(true);
  const byPolicies = await vaultWithKey(false);
  const grantee = await world.newPrincipal();
  const notes = async (id: string) =>
    (await world.store.read(`vault-${id}`)).filter(({ type }) => type === 'GrantsChanged').map(({ data }) => data);
  const assignment = await world.assignRole(grantee.name, 'roles/keyVaultCryptoUser', 'subscriptions/s1');
  await until(async () => (await notes(inScope.id)).some(({ source }) => source === assignment));
  await world.identity.deleteRoleAssignment({ name: assignment });
  await until(async () =>
    (await notes(inScope.id)).some(({ removed, source }) => removed === true && source === assignment),
  );
  const forKey = await world.assignRole(
    grantee.name,
    'roles/keyVaultReader',
    `subscriptions/s1/resourceGroups/g/${inScope.name}/keys/k1`,
  );
  await until(async () => (await notes(inScope.id)).some(({ source }) => source === forKey));
  assert.equal((await notes(inScope.id)).find(({ source }) => source === forKey)?.key, `${inScope.name}/keys/k1`);
  assert.deepEqual(await notes(byPolicies.id), []);
});

test('the deletion of a principal is recorded on the vaults whose policies name it', async () => {
  const subject = await vaultWithKey();
  const grantee = await world.newPrincipal();
  const accessPolicy = { principal: grantee.name, keyPermissions: ['GET' as const] };
  await world.vault().setAccessPolicy({ name: subject.name, accessPolicy });
  await world.identity.deletePrincipal({ name: grantee.name });
  await until(async () =>
    (await world.store.read(`vault-${subject.id}`)).some(
      ({ type, data }) => type === 'GrantsChanged' && data.principal === grantee.name,
    ),
  );
});
