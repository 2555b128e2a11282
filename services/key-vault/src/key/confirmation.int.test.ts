import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { newVault, startVaultCloud, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
let rowCommits = 0;
before(async () => {
  world = await startVaultCloud({
    store: (store) => ({
      ...store,
      commit(commit, cause) {
        if (commit.rows?.some(({ table }) => table === 'key_use_v1')) rowCommits += 1;
        return store.commit(commit, cause);
      },
    }),
  });
});
after(() => world.close());

const algorithm = 'RSA_OAEP_256';
const vault = () => world.vault();
const newKey = async (parent: string, keyId = 'k') => {
  const { name: version } = await vault().createKey({ parent, keyId, requestId: randomUUID() });
  return { version, name: `${parent}/keys/${keyId}` };
};
const wrap = (name: string) => vault().wrapKey({ name, algorithm, plaintextKey: Buffer.alloc(32, 1) });

test('a key that never wrapped anything is deleted and purged without confirmation', async () => {
  const { name } = await newKey(await newVault(world));
  const digest = randomBytes(32);
  await vault().sign({ name, algorithm: 'RS256', digest });
  await vault().deleteKey({ name });
  await vault().purgeKey({ name });
});

test('CMK-130: a key that has wrapped something is deleted and purged only with its name; a refusal gives the command', async () => {
  const { name, version } = await newKey(await newVault(world));
  await wrap(name);
  // A newer version does not hide what the older one wrapped.
  await vault().rotateKey({ name, requestId: randomUUID() });
  const { etag } = await vault().getKey({ name });
  for (const confirmName of [undefined, '']) {
    await assert.rejects(vault().deleteKey({ name, ...(confirmName === undefined ? {} : { confirmName }) }), {
      code: 'FAILED_PRECONDITION',
      reason: 'KEY_IN_USE',
      message: /interlock impact .* --action delete.*--confirm/,
      metadata: { key: name, confirm_name: name, action: 'delete' },
    });
  }
  await assert.rejects(vault().deleteKey({ name, confirmName: `${name}2` }), {
    code: 'INVALID_ARGUMENT',
    reason: 'CONFIRM_NAME_MISMATCH',
  });
  assert.equal((await vault().getKey({ name })).etag, etag);
  await vault().deleteKey({ name, confirmName: name.toUpperCase() });
  // A key that is already deleted needs no confirmation.
  await vault().deleteKey({ name });
  await assert.rejects(vault().purgeKey({ name }), {
    reason: 'KEY_IN_USE',
    message: /--action purge/,
    metadata: { key: name, confirm_name: name, action: 'purge' },
  });
  await vault().recoverKey({ name });
  await vault().getKeyVersion({ name: version });
  await assert.rejects(vault().purgeKey({ name }), { reason: 'KEY_NOT_DELETED' });
  await vault().deleteKey({ name, confirmName: name });
  await vault().purgeKey({ name, confirmName: name });
  await vault().purgeKey({ name });
  // The name is free and its new key has wrapped nothing.
  await newKey(name.split('/keys/')[0] ?? '');
  await vault().deleteKey({ name });
});

test('a key is in use after a rewrap into it, and after a restore of it from a backup', async () => {
  const parent = await newVault(world);
  const source = await newKey(parent, 'source');
  const target = await newKey(parent, 'target');
  const { wrappedKey } = await wrap(source.name);
  await vault().rewrap({
    sourceKeyVersion: source.version,
    targetKeyVersion: target.version,
    wrappedKey,
    algorithm,
    diskEncryptionSet: 'subscriptions/s1/resourceGroups/g/diskEncryptionSets/d',
  });
  await assert.rejects(vault().deleteKey({ name: target.name }), { reason: 'KEY_IN_USE' });
  const { backup } = await vault().backupKey({ name: target.name });
  await vault().deleteKey({ name: target.name, confirmName: target.name });
  await vault().purgeKey({ name: target.name, confirmName: target.name });
  await vault().restoreKey({ parent, backup, requestId: randomUUID() });
  await assert.rejects(vault().deleteKey({ name: target.name }), { reason: 'KEY_IN_USE' });
});

test('a vault is deleted and purged only with its name while a key in it has wrapped something', async () => {
  const name = await newVault(world);
  const used = await newKey(name, 'used');
  await newKey(name, 'unused');
  await wrap(used.name);
  await assert.rejects(vault().deleteVault({ name }), {
    code: 'FAILED_PRECONDITION',
    reason: 'VAULT_IN_USE',
    message: new RegExp(`^a key in ${name} has wrapped data keys of disks, or other data, which cannot be`),
  });
  await assert.rejects(vault().deleteVault({ name, confirmName: used.name }), { reason: 'CONFIRM_NAME_MISMATCH' });
  await vault().deleteVault({ name, confirmName: name });
  await assert.rejects(vault().purgeVault({ name }), { reason: 'VAULT_IN_USE' });
  await vault().recoverVault({ name });
  await vault().deleteKey({ name: used.name, confirmName: used.name });
  await vault().purgeKey({ name: used.name, confirmName: used.name });
  // A purged key is lost already: nothing is left to confirm.
  await vault().deleteVault({ name });
  await vault().purgeVault({ name });
});

test('CMK-27: the permission model of a vault is changed only with its name once a key in it has wrapped something', async () => {
  const name = await newVault(world);
  const { name: key } = await newKey(name);
  await vault().setPermissionModel({ name, permissionModel: 'ROLE_ASSIGNMENT' });
  await vault().setPermissionModel({ name, permissionModel: 'ACCESS_POLICY' });
  await wrap(key);
  const model = async () => (await vault().getVault({ name })).permissionModel;
  const roles = { name, permissionModel: 'ROLE_ASSIGNMENT' } as const;
  await assert.rejects(vault().setPermissionModel(roles), {
    code: 'FAILED_PRECONDITION',
    reason: 'VAULT_IN_USE',
    message: new RegExp(
      `cannot be read by a set that has no grant of the other model. .interlock impact ${name} --action revoke`,
    ),
    metadata: { vault: name, confirm_name: name, action: 'revoke' },
  });
  await assert.rejects(vault().setPermissionModel({ ...roles, confirmName: key }), { reason: 'CONFIRM_NAME_MISMATCH' });
  assert.equal(await model(), 'ACCESS_POLICY');
  await vault().setPermissionModel({ name, permissionModel: 'ACCESS_POLICY' });
  await vault().setPermissionModel({ ...roles, confirmName: name });
  assert.equal(await model(), 'ROLE_ASSIGNMENT');
  await vault().setPermissionModel(roles);
  const policies = { name, permissionModel: 'ACCESS_POLICY' } as const;
  await assert.rejects(vault().setPermissionModel(policies), { reason: 'VAULT_IN_USE' });
  await vault().setPermissionModel({ ...policies, confirmName: name });
});

test('the use of a key is stored with its first wrap only, and survives a restart', async () => {
  const { name } = await newKey(await newVault(world));
  const before = rowCommits;
  for (let turn = 0; turn < 5; turn += 1) await wrap(name);
  assert.equal(rowCommits, before + 1);
  await world.cloud.stop('key-vault');
  await world.cloud.start('key-vault');
  const again = world.cloud.as(world.administrator).client('key-vault', KeyVaultServiceDefinition);
  await assert.rejects(again.deleteKey({ name }), { reason: 'KEY_IN_USE' });
});
