import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { newVault, startVaultCloud, until, type VaultCloud } from './test-vault-cloud.ts';

let world: VaultCloud;
before(async () => {
  // A day of retention lasts 2 ms: what is deleted is due for its purge a moment later.
  world = await startVaultCloud({ settings: { retentionDayMs: 2 } });
});
after(() => world.close());

const isGone = (asked: Promise<unknown>, reason: string): Promise<boolean> =>
  asked.then(
    () => false,
    (error: { reason?: string }) => error.reason === reason,
  );

test('KV-63: the service purges a deleted key when its time has come, also under protection', async () => {
  const vault = world.vault();
  const parent = await newVault(world, { purgeProtected: true, retentionDays: 7 });
  const { name } = await vault.createKey({ parent, keyId: 'k', requestId: randomUUID() });
  await vault.deleteKey({ name: `${parent}/keys/k` });
  await until(() => isGone(vault.checkAccess({ keyVersion: name }), 'KEY_PURGED'));
  await until(async () => {
    const left = await world.database.sql`select key from rows where table_name = 'key_material_v1' and key = ${name}`;
    return left.length === 0;
  });
  const again = await vault.createKey({ parent, keyId: 'k', requestId: randomUUID() });
  assert.notEqual(again.name, name);
});

test('KV-63, KV-66: the service purges a deleted vault with its keys when its time has come', async () => {
  const vault = world.vault();
  const parent = await newVault(world, { purgeProtected: true, retentionDays: 7 });
  const { name } = await vault.createKey({ parent, keyId: 'k', requestId: randomUUID() });
  await vault.deleteVault({ name: parent });
  await until(() => isGone(vault.getVault({ name: parent }), 'VAULT_NOT_FOUND'));
  assert.ok(await isGone(vault.checkAccess({ keyVersion: name }), 'KEY_PURGED'));
});
