import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import type { Account } from '../../../identity/src/testing/test-identity.ts';
import { newVault, startVaultCloud, until, type VaultClient, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
before(async () => {
  // Counts are written at the end of a window.
  world = await startVaultCloud({ settings: { rateLimits: { countWindowMs: 100 } } });
});
after(() => world.close());

/** A caller of another tenant, who owns that tenant and a subscription in it. */
const newStranger = async (): Promise<Account & { readonly subscription: string }> => {
  const id = randomUUID();
  const [tenantId, subscriptionId] = [`t${id.slice(0, 8)}`, `s${id.slice(0, 8)}`];
  const { name: tenant } = await world.identity.createTenant({ tenantId, displayName: 'stranger' });
  const { name: subscription } = await world.identity.createSubscription({ subscriptionId, tenant });
  const request = { principalId: id, tenant, type: 'APPLICATION', displayName: 'stranger' } as const;
  const { name } = await world.identity.createPrincipal(request);
  const { secretText: secret } = await world.identity.addSecret({ principal: name, secretId: 'one' });
  for (const scope of [tenant, subscription]) await world.assignRole(name, 'roles/owner', scope);
  return { id, name, secret, subscription };
};

/** The whole refusal that a caller receives, with the vault's name replaced. */
const answerTo = async (asked: Promise<unknown>, vault: string): Promise<unknown> => {
  const error = await asked.then(
    () => assert.fail('it was answered'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof Rejection, String(error));
  const { code, reason, message, metadata } = error;
  return JSON.parse(JSON.stringify({ code, reason, message, metadata }).replaceAll(vault, 'VAULT'));
};

const version = (n: number) => n.toString(16).padStart(32, '0');
const algorithm = 'RSA_OAEP_256';

/** A call for each way to name something in a vault. */
const questions: Readonly<
  Record<string, (client: VaultClient, vault: string, key: string, version: string) => Promise<unknown>>
> = {
  getVault: (client, name) => client.getVault({ name }),
  deleteVault: (client, name) => client.deleteVault({ name, confirmName: name }),
  listKeys: (client, parent) => client.listKeys({ parent }),
  createKey: (client, parent) => client.createKey({ parent, keyId: 'mine', requestId: randomUUID() }),
  getKey: (client, _vault, name) => client.getKey({ name }),
  getKeyVersion: (client, _vault, _key, name) => client.getKeyVersion({ name }),
  disableKeyVersion: (client, _vault, _key, name) => client.disableKeyVersion({ name }),
  unwrapKey: (client, _vault, _key, name) => client.unwrapKey({ name, algorithm, wrappedKey: randomBytes(256) }),
  checkAccess: (client, _vault, _key, keyVersion) => client.checkAccess({ keyVersion }),
  listAuditEntries: (client, parent) => client.listAuditEntries({ parent }),
};

test('KV-82: a caller of another tenant gets the same refusal whether or not vault, key and version exist', async () => {
  const vault = world.vault();
  const stranger = await newStranger();
  const client = world.vault(stranger);
  const missing = 'vaults/not-there';
  for (const role of [false, true]) {
    const name = await newVault(world, { role });
    const { name: live } = await vault.createKey({ parent: name, keyId: 'k', requestId: randomUUID() });
    const deleted = await newVault(world, { role });
    await vault.createKey({ parent: deleted, keyId: 'k', requestId: randomUUID() });
    await vault.deleteVault({ name: deleted, confirmName: deleted });
    for (const [what, ask] of Object.entries(questions)) {
      const ofMissing = await answerTo(
        ask(client, missing, `${missing}/keys/k`, `${missing}/keys/k/versions/${version(1)}`),
        missing,
      );
      assert.equal((ofMissing as { reason: string }).reason, 'ACCESS_DENIED', what);
      for (const [at, key, keyVersion] of [
        [name, `${name}/keys/k`, live],
        [name, `${name}/keys/none`, `${name}/keys/k/versions/${version(1)}`],
        [deleted, `${deleted}/keys/k`, `${deleted}/keys/k/versions/${version(1)}`],
      ] as const) {
        assert.deepEqual(await answerTo(ask(client, at, key, keyVersion), at), ofMissing, `${what} of ${key}`);
      }
    }
  }
  await assert.rejects(vault.getVault({ name: missing }), { reason: 'VAULT_NOT_FOUND' });
});

test('CMK-24, KV-82: a set of another tenant gets the same refusal whether or not the key exists', async () => {
  const name = await newVault(world);
  const { keyUrl } = await world.vault().createKey({ parent: name, keyId: 'k', requestId: randomUUID() });
  const { subscription } = await newStranger();
  const resource = `${subscription}/resourceGroups/g/diskEncryptionSets/d`;
  const client = world.vault(world.diskEncryptionSet);
  const resolve = (url: string) => client.resolveKeyForEncryption({ keyUrl: url, resource });
  const vaultId = name.replace('vaults/', '');
  const ofMissing = await answerTo(resolve(keyUrl.replace(vaultId, 'not-there')), 'not-there');
  for (const url of [keyUrl, keyUrl.replace('/keys/k/', '/keys/none/'), `${keyUrl.slice(0, -32)}${version(1)}`]) {
    assert.deepEqual(await answerTo(resolve(url), vaultId), ofMissing, url);
  }
});

test("KV-114, G9: refusals of strangers add a limited number of entries to a vault's audit log; the rest are counted", async () => {
  const name = await newVault(world);
  const client = world.vault(await newStranger());
  const vault = world.vault();
  const attempts = 150;
  for (let count = 0; count < attempts; count += 1) {
    await assert.rejects(client.getKey({ name: `${name}/keys/k${count}` }), { reason: 'ACCESS_DENIED' });
  }
  const entries = async () => {
    const { auditEntries } = await vault.listAuditEntries({ parent: name, operation: 'KeyGet', pageSize: 1_000 });
    return auditEntries.filter(({ reason }) => reason === 'ACCESS_DENIED');
  };
  const total = async () => (await entries()).reduce((sum, { occurrenceCount }) => sum + (occurrenceCount || 1), 0);
  await until(async () => (await total()) === attempts);
  // Slightly more than 100 entries are possible: one per second, and one per window.
  assert.ok((await entries()).length < attempts, `${(await entries()).length} entries`);
});
