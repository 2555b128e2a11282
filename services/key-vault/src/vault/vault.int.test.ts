import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { newVault, startVaultCloud, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
/** Runs once, while the next private key is made. */
let whileMaking: (() => Promise<unknown>) | undefined;
/** Runs once, before the next event of this type is stored. */
let beforeStored: { readonly type: string; readonly happens: () => Promise<unknown> } | undefined;
before(async () => {
  world = await startVaultCloud({
    store: (store) => ({
      ...store,
      async commit(commit, cause) {
        const isIt = commit.appends?.some(({ events }) => events.some(({ type }) => type === beforeStored?.type));
        const happens = isIt ? beforeStored?.happens : undefined;
        if (happens) beforeStored = undefined;
        await happens?.();
        return store.commit(commit, cause);
      },
    }),
    engine: (engine) => ({
      ...engine,
      async generate(...request) {
        const happens = whileMaking;
        whileMaking = undefined;
        const made = await engine.generate(...request);
        await happens?.();
        return made;
      },
    }),
  });
});
after(() => world.close());

const vault = () => world.vault();
const newKey = (parent: string, request: { keyId?: string; requestId?: string; keySizeBits?: number } = {}) =>
  vault().createKey({ parent, keyId: 'k1', requestId: randomUUID(), ...request });

/** Purges a vault, and creates another with its name in another subscription. */
const makeAgain = async (name: string) => {
  await vault().deleteVault({ name });
  await vault().purgeVault({ name });
  await vault().createVault({
    vaultId: name.split('/')[1] ?? '',
    resourceGroup: 'subscriptions/s2/resourceGroups/g',
    location: 'westeurope',
    accessPolicies: [{ principal: world.administrator.name, keyPermissions: ['ALL'] }],
  });
};

test('CMK-01, KV-60, KV-71: a new vault has soft delete, 90 days, access policies and no purge protection', async () => {
  const name = await newVault(world);
  const found = await vault().getVault({ name });
  assert.deepEqual(
    [found.softDeleteRetentionDays, found.purgeProtectionEnabled, found.permissionModel, found.tenant, found.state],
    [90, false, 'ACCESS_POLICY', 'tenants/main', 'ACTIVE'],
  );
  assert.equal(found.vaultUri, `https://${name.split('/')[1]}.vault.interlock.localhost`);
});

test('KV-02: names of vaults are checked, global and not case-sensitive', async () => {
  const request = {
    vaultId: `Case-${randomUUID().slice(0, 8)}`,
    resourceGroup: 'subscriptions/s1/resourceGroups/g',
    location: 'westeurope',
  };
  const made = await vault().createVault(request);
  assert.equal(made.name, `vaults/${request.vaultId.toLowerCase()}`);
  assert.deepEqual(await vault().createVault({ ...request, vaultId: request.vaultId.toUpperCase() }), made);
  assert.equal((await vault().getVault({ name: `vaults/${request.vaultId}` })).name, made.name);
  await assert.rejects(vault().createVault({ ...request, resourceGroup: 'subscriptions/s2/resourceGroups/g' }), {
    code: 'ALREADY_EXISTS',
    reason: 'VAULT_ALREADY_EXISTS',
  });
  await assert.rejects(vault().createVault({ ...request, vaultId: '1abc' }), { reason: 'ID_INVALID' });
  await assert.rejects(
    vault().createVault({ ...request, vaultId: 'abc', resourceGroup: 'subscriptions/nope/resourceGroups/g' }),
    {
      reason: 'SUBSCRIPTION_NOT_FOUND',
    },
  );
});

test('KV-02: only a caller who may read the vault of a taken name learns how it differs', async () => {
  const group = (subscription: string) => `subscriptions/${subscription}/resourceGroups/g`;
  const request = { vaultId: `v${randomUUID().slice(0, 12)}`, resourceGroup: group('s1'), location: 'westeurope' };
  await vault().createVault({ ...request, purgeProtectionEnabled: true });
  await assert.rejects(vault().createVault({ ...request, location: 'eastus' }), {
    reason: 'VAULT_ALREADY_EXISTS',
    message: /created with location westeurope, not eastus; purge_protection_enabled true, not false$/,
  });
  const stranger = await world.newPrincipal();
  await world.assignRole(stranger.name, 'roles/contributor', group('s2'));
  await assert.rejects(world.vault(stranger).createVault({ ...request, resourceGroup: group('s2') }), {
    reason: 'VAULT_ALREADY_EXISTS',
    message: 'vault_id is taken: choose another, because vault names are unique in the whole cloud',
  });
});

test('vaults are listed by resource group and subscription, page by page, deleted ones on request', async () => {
  const resourceGroup = `subscriptions/s2/resourceGroups/list-${randomUUID().slice(0, 8)}`;
  const made = [
    await newVault(world, { resourceGroup }),
    await newVault(world, { resourceGroup }),
    await newVault(world, { resourceGroup }),
  ].sort();
  const first = await vault().listVaults({ parent: resourceGroup, pageSize: 2 });
  const second = await vault().listVaults({ parent: resourceGroup, pageSize: 2, pageToken: first.nextPageToken });
  assert.deepEqual(
    [...first.vaults, ...second.vaults].map(({ name }) => name),
    made,
  );
  assert.equal(second.nextPageToken, '');
  await vault().deleteVault({ name: made[0] ?? '' });
  assert.equal((await vault().listVaults({ parent: resourceGroup })).vaults.length, 2);
  assert.equal((await vault().listVaults({ parent: resourceGroup, showDeleted: true })).vaults.length, 3);
  assert.equal(
    (await vault().listVaults({ parent: 'subscriptions/s2' })).vaults.filter(({ name }) => made.includes(name)).length,
    2,
  );
  for (const parent of ['', 'nowhere', 'subscriptions/s2\0', `${resourceGroup}/vaults/v1`]) {
    await assert.rejects(vault().listVaults({ parent }), { code: 'INVALID_ARGUMENT', reason: 'NAME_INVALID' });
  }
});

test('KV-62, KV-63, KV-94, CMK-134: under purge protection neither a key nor the vault can be purged', async () => {
  const parent = await newVault(world);
  await newKey(parent);
  await vault().enablePurgeProtection({ name: parent });
  const name = `${parent}/keys/k1`;
  await vault().deleteKey({ name });
  await assert.rejects(vault().purgeKey({ name }), { code: 'FAILED_PRECONDITION', reason: 'PURGE_PROTECTED' });
  await vault().deleteVault({ name: parent });
  await assert.rejects(vault().purgeVault({ name: parent }), { reason: 'PURGE_PROTECTED' });
});

test('KV-66, CMK-133: a deleted vault has no usable keys; recovering it brings them back as they were', async () => {
  const parent = await newVault(world);
  const version = await newKey(parent);
  await vault().deleteVault({ name: parent });
  await assert.rejects(vault().getKey({ name: `${parent}/keys/k1` }), {
    code: 'FAILED_PRECONDITION',
    reason: 'VAULT_DELETED',
  });
  await assert.rejects(vault().checkAccess({ keyVersion: version.name }), { reason: 'VAULT_DELETED' });
  await assert.rejects(newKey(parent, { keyId: 'k2' }), { reason: 'VAULT_DELETED' });
  assert.equal((await vault().getVault({ name: parent })).state, 'DELETED');
  await vault().recoverVault({ name: parent });
  assert.equal((await vault().checkAccess({ keyVersion: version.name })).enabled, true);
});

test('a purge of a vault destroys its keys and frees its name; the new vault does not list the purge', async () => {
  const parent = await newVault(world);
  const version = await newKey(parent);
  await newKey(parent, { keyId: 'k2' });
  await vault().deleteKey({ name: `${parent}/keys/k2` });
  await vault().deleteVault({ name: parent });
  await vault().purgeVault({ name: parent });
  await vault().purgeVault({ name: parent });
  await assert.rejects(vault().getVault({ name: parent }), { code: 'NOT_FOUND', reason: 'VAULT_NOT_FOUND' });
  await assert.rejects(vault().checkAccess({ keyVersion: version.name }), { reason: 'KEY_PURGED' });
  const left = await world.database
    .sql`select key from rows where table_name = 'key_material_v1' and key like ${`${parent}/%`}`;
  assert.equal(left.length, 0);
  const id = parent.split('/')[1] ?? '';
  await vault().createVault({
    vaultId: id,
    resourceGroup: 'subscriptions/s1/resourceGroups/g',
    location: 'westeurope',
    accessPolicies: [{ principal: world.administrator.name, keyPermissions: ['ALL'] }],
  });
  assert.deepEqual((await vault().listKeys({ parent })).keys, []);
  await assert.rejects(vault().checkAccess({ keyVersion: version.name }), { reason: 'KEY_PURGED' });
  const { auditEntries } = await vault().listAuditEntries({ parent });
  assert.ok(auditEntries.every(({ operation }) => operation !== 'VaultPurge'));
});

test('KV-15, KV-66: a key that is being created while its vault is purged and created again is not in the new vault', async () => {
  const parent = await newVault(world);
  const happens = () => makeAgain(parent);
  whileMaking = happens;
  await assert.rejects(newKey(parent), { code: 'NOT_FOUND', reason: 'VAULT_NOT_FOUND' });
  assert.deepEqual((await vault().listKeys({ parent })).keys, []);
  // Also if the old vault still existed at the last check.
  beforeStored = { type: 'KeyVersionCreated', happens };
  await assert.rejects(newKey(parent), { code: 'NOT_FOUND', reason: 'VAULT_NOT_FOUND' });
  assert.deepEqual((await vault().listKeys({ parent })).keys, []);
  await newKey(parent);
});

test('KV-62, KV-63, CMK-134: a key purge in progress is refused if purge protection is enabled before it is stored', async () => {
  const parent = await newVault(world);
  await newKey(parent);
  const name = `${parent}/keys/k1`;
  await vault().deleteKey({ name });
  beforeStored = { type: 'KeyPurged', happens: () => vault().enablePurgeProtection({ name: parent }) };
  await assert.rejects(vault().purgeKey({ name }), { code: 'FAILED_PRECONDITION', reason: 'PURGE_PROTECTED' });
  assert.equal((await vault().recoverKey({ name })).state, 'ACTIVE');
});

test('KV-33: a rotation has the size of the current version; a version that is made meanwhile aborts it', async () => {
  const parent = await newVault(world);
  await newKey(parent);
  const rotate = () => vault().rotateKey({ name: `${parent}/keys/k1`, requestId });
  const requestId = randomUUID();
  whileMaking = () => newKey(parent, { keySizeBits: 3072 });
  await assert.rejects(rotate(), { code: 'ABORTED', reason: 'CONTENTION' });
  assert.equal((await rotate()).keySizeBits, 3072);
});

test('KV-15, G3: an authorization to delete a key does not count for the next vault of that name', async () => {
  const parent = await newVault(world);
  await newKey(parent);
  const name = `${parent}/keys/k1`;
  const former = await world.newPrincipal();
  const accessPolicy = { principal: former.name, keyPermissions: ['DELETE' as const] };
  await vault().setAccessPolicy({ name: parent, accessPolicy });
  const happens = async () => {
    await makeAgain(parent);
    await newKey(parent);
  };
  beforeStored = { type: 'KeyDeleted', happens };
  await assert.rejects(world.vault(former).deleteKey({ name }), { reason: 'ACCESS_DENIED' });
  assert.equal((await vault().getKey({ name })).state, 'ACTIVE');
});
