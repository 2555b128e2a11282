import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { KeyVaultManagementClient } from '@azure/arm-keyvault';
import { CryptographyClient, KeyClient } from '@azure/keyvault-keys';
import { type AzurePlace, azurePlace } from './test-azure-place.ts';

/** The error of a REST client: code and inner code of the body. */
interface RestFailure {
  readonly statusCode: number;
  readonly code: string;
  /** The body as the SDK reads it. */
  readonly details?: { readonly error?: { readonly innerError?: { readonly code: string } } };
}

/** Events of a vault. */
interface EventsBody {
  readonly value: readonly {
    readonly eventType?: string;
    readonly type?: string;
    readonly subject: string;
    readonly data: { readonly Version: string };
  }[];
  readonly position: number;
  readonly headPosition: number;
}

const group = 'g1';
const vault = 'kv-azure';
let cloud: AzurePlace;
let management: KeyVaultManagementClient;
let keys: KeyClient;

before(async () => {
  cloud = await azurePlace();
  const { credential, subscription, url: endpoint } = cloud;
  management = new KeyVaultManagementClient(credential, subscription, { endpoint });
  // Without options for the challenge: the SDK verifies that its resource matches the host.
  keys = new KeyClient(cloud.vaultUrl(vault), credential);
});
after(() => cloud?.close());

const refusedWith = async (call: Promise<unknown>, statusCode: number, code: string, innerCode?: string) => {
  const error = await call.then(
    () => assert.fail('the call was not refused'),
    (failure: RestFailure) => failure,
  );
  const inner = error.details?.error?.innerError?.code;
  assert.deepEqual([error.statusCode, error.code, inner], [statusCode, code, innerCode], String(error));
};

/** Uses a key without the SDK, which checks the state of a key before it calls. @returns status, inner code of the error, result */
const use = async (keyId: string, operation: string, body: object): Promise<readonly unknown[]> => {
  const { token } = await cloud.credential.getToken(`${cloud.vaultUrl('').replace('//.', '//')}/.default`);
  const reply = await fetch(`${keyId}/${operation}?api-version=7.6`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const { error, value } = (await reply.json()) as { error?: { innererror?: { code: string } }; value?: string };
  return [reply.status, error?.innererror?.code, value];
};
const value = randomBytes(32).toString('base64url');
/** Uses that make something new with a key. */
const newUses = [
  ['wrapkey', { alg: 'RSA-OAEP-256', value }],
  ['encrypt', { alg: 'RSA-OAEP-256', value }],
  ['sign', { alg: 'RS256', value }],
] as const;

test('KV-70: arm-keyvault creates, reads, lists and updates a vault with access policies', async () => {
  const { tenant, url } = cloud;
  const { id: clientId } = cloud.place.credentials;
  const properties = {
    tenantId: tenant,
    sku: { family: 'A', name: 'standard' } as const,
    accessPolicies: [{ tenantId: tenant, objectId: clientId, permissions: { keys: ['all'], secrets: ['get'] } }],
    softDeleteRetentionInDays: 7,
  };
  const made = await management.vaults.createOrUpdate(group, vault, {
    location: 'West Europe',
    tags: { team: 'disks' },
    properties,
  });
  assert.equal(made.name, vault);
  assert.equal(made.location, 'westeurope');
  assert.equal(made.properties.vaultUri, `${cloud.vaultUrl(vault)}/`);
  assert.deepEqual(made.properties.accessPolicies?.[0]?.permissions.keys, ['all']);
  const read = await management.vaults.get(group, vault);
  assert.deepEqual(read.tags, { team: 'disks' });
  const listed = [];
  for await (const one of management.vaults.listByResourceGroup(group)) listed.push(one.name);
  assert.deepEqual(listed, [vault]);
  await refusedWith(management.vaults.get(group, 'kv-missing'), 404, 'ResourceNotFound');
  await refusedWith(
    management.vaults.update(group, vault, { properties: { enablePurgeProtection: false } }),
    400,
    'BadRequest',
  );
  assert.ok(url.startsWith('https://localhost:'));
});

test('KV-87: a disabled key refuses every use with 403 KeyDisabled, and unwraps again once it is enabled', async () => {
  const key = await keys.createRsaKey('k1', { keySize: 2048, tags: { use: 'disks' } });
  assert.match(key.id ?? '', new RegExp(`^${cloud.vaultUrl(vault)}/keys/k1/[0-9a-f]{32}$`));
  assert.deepEqual(key.properties.tags, { use: 'disks' });
  const crypto = new CryptographyClient(key, cloud.credential);
  const dek = randomBytes(32);
  // The SDK wraps locally with the public key where it can. With a key id it calls the vault.
  const remote = new CryptographyClient(key.id ?? '', cloud.credential);
  const { result: wrapped } = await crypto.wrapKey('RSA-OAEP-256', dek);
  assert.deepEqual(Buffer.from((await remote.unwrapKey('RSA-OAEP-256', wrapped)).result), dek);

  await keys.updateKeyProperties('k1', { enabled: false });
  assert.equal((await keys.getKey('k1')).properties.enabled, false);
  await refusedWith(remote.unwrapKey('RSA-OAEP-256', wrapped), 403, 'Forbidden', 'KeyDisabled');
  const ciphertext = { alg: 'RSA-OAEP-256', value: Buffer.from(wrapped).toString('base64url') };
  const signed = { alg: 'RS256', digest: value, value: randomBytes(256).toString('base64url') };
  for (const [operation, body] of [...newUses, ['decrypt', ciphertext], ['verify', signed]] as const) {
    assert.deepEqual(await use(key.id ?? '', operation, body), [403, 'KeyDisabled', undefined], operation);
  }

  await keys.updateKeyProperties('k1', { enabled: true });
  assert.deepEqual(Buffer.from((await remote.unwrapKey('RSA-OAEP-256', wrapped)).result), dek);
});

test('KV-33: rotate adds a version; versions and keys are listed in pages', async () => {
  await keys.rotateKey('k1');
  await keys.rotateKey('k1');
  await keys.createRsaKey('k2');
  const pages = [];
  for await (const page of keys.listPropertiesOfKeyVersions('k1').byPage({ maxPageSize: 2 })) pages.push(page.length);
  assert.deepEqual(pages, [2, 1]);
  const names = [];
  for await (const { name } of keys.listPropertiesOfKeys()) names.push(name);
  assert.deepEqual(names, ['k1', 'k2']);
});

test("KV-111: a subscriber reads the events of a vault in Event Grid's format, and continues from a position", async () => {
  const { token } = await cloud.credential.getToken(`${cloud.url}/.default`);
  const ask = async (query: string) => {
    const url = `${cloud.url}/interlock/v1/vaults/${vault}/events${query}`;
    const reply = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    return { status: reply.status, body: (await reply.json()) as EventsBody };
  };
  const { body } = await ask('');
  const types = body.value.map(
    ({ eventType, subject }) => `${eventType?.replace('Microsoft.KeyVault.', '')} ${subject}`,
  );
  assert.deepEqual(
    types.filter((one) => one.endsWith(' k1')),
    Array(3).fill('KeyNewVersionCreated k1'),
  );
  assert.equal(body.position, body.headPosition);
  const { properties } = await keys.rotateKey('k2');
  const { body: next } = await ask(`?after=${body.position}&form=cloudevents`);
  assert.deepEqual(
    next.value.map(({ type, data }) => [type, data.Version]),
    [['Microsoft.KeyVault.KeyNewVersionCreated', properties.version]],
  );
  assert.deepEqual([(await ask('?after=x')).status, (await ask('?form=xml')).status], [400, 400]);
});

test('KV-13: an expired key wraps, encrypts and signs no more but still unwraps and decrypts; new tags keep its expiry', async () => {
  const key = await keys.createRsaKey('dated');
  const id = key.id ?? '';
  const wrapped = { alg: 'RSA-OAEP-256', value: (await use(id, ...newUses[0])).at(2) };
  const expiresOn = new Date('2020-01-01T00:00:00Z');
  await keys.updateKeyProperties('dated', { expiresOn });
  await keys.updateKeyProperties('dated', { tags: { a: '1' } });
  const { properties } = await keys.getKey('dated');
  assert.deepEqual([properties.expiresOn, properties.tags], [expiresOn, { a: '1' }]);
  for (const [operation, body] of newUses) {
    assert.deepEqual(await use(id, operation, body), [403, 'KeyExpired', undefined], operation);
  }
  for (const operation of ['unwrapkey', 'decrypt']) {
    assert.deepEqual(await use(id, operation, wrapped), [200, undefined, value], operation);
  }
});

test('KV-32: sign and verify; import of a JWK; encrypt and decrypt', async () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = privateKey.export({ format: 'jwk' });
  const bytes = Object.fromEntries(
    Object.entries(jwk).map(([name, value]) => [
      name,
      name === 'kty' ? value : Buffer.from(String(value), 'base64url'),
    ]),
  );
  const imported = await keys.importKey('imported', { ...bytes, kty: 'RSA' });
  const crypto = new CryptographyClient(imported.id ?? '', cloud.credential);
  const digest = randomBytes(32);
  const { result } = await crypto.sign('PS256', digest);
  assert.equal((await crypto.verify('PS256', digest, result)).result, true);
  assert.equal((await crypto.verify('PS256', randomBytes(32), result)).result, false);
  const encrypted = await crypto.encrypt('RSA-OAEP', Buffer.from('short'));
  assert.equal(Buffer.from((await crypto.decrypt('RSA-OAEP', encrypted.result)).result).toString(), 'short');
});

test('create, import, rotate, update, recover, restore and get reply with the same members of a key, and lists with the same attributes', async () => {
  const { n, e, d, p, q, dp, dq, qi } = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
    format: 'jwk',
  });
  const { token } = await cloud.credential.getToken('https://vault.azure.net/.default');
  const call = async (method: string, path: string, body?: unknown) => {
    const reply = await fetch(`${cloud.vaultUrl(vault)}${path}?api-version=7.4`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    assert.equal(reply.status, 200, `${method} ${path}`);
    // biome-ignore lint/suspicious/noExplicitAny: bodies of several kinds
    return (await reply.json()) as any;
  };
  const membersOf = ({ key, attributes }: { key: object; attributes: object }) =>
    [Object.keys(key), Object.keys(attributes)].map((names) => names.sort());
  const created = await call('POST', '/keys/same/create', { kty: 'RSA', attributes: { enabled: true } });
  const wanted = membersOf(await call('GET', '/keys/same'));
  assert.ok(wanted[1]?.includes('recoveryLevel'));
  assert.deepEqual(membersOf(created), wanted, 'create');
  const jwk = { kty: 'RSA', n, e, d, p, q, dp, dq, qi };
  assert.deepEqual(membersOf(await call('PUT', '/keys/same-imported', { key: jwk })), wanted, 'import');
  assert.deepEqual(membersOf(await call('POST', '/keys/same/rotate')), wanted, 'rotate');
  assert.deepEqual(membersOf(await call('PATCH', '/keys/same', { attributes: { enabled: true } })), wanted, 'update');
  const { value: versions } = await call('GET', '/keys/same/versions');
  for (const { attributes } of versions) assert.deepEqual(Object.keys(attributes).sort(), wanted[1], 'versions');
  const { value } = await call('POST', '/keys/same/backup');
  await call('DELETE', '/keys/same');
  assert.deepEqual(membersOf(await call('POST', '/deletedkeys/same/recover')), wanted, 'recover');
  await keys.beginDeleteKey('same').then((poller) => poller.pollUntilDone());
  await keys.purgeDeletedKey('same');
  assert.deepEqual(membersOf(await call('POST', '/keys/restore', { value })), wanted, 'restore');
  for (const name of ['same', 'same-imported']) {
    await keys.beginDeleteKey(name).then((poller) => poller.pollUntilDone());
    await keys.purgeDeletedKey(name);
  }
});

test('KV-14, KV-29: a deleted key is recovered, deleted again and purged; a backup restores it', async () => {
  const backup = await keys.backupKey('k2');
  assert.ok(backup);
  const deleting = await keys.beginDeleteKey('k2', { intervalInMs: 50 });
  const deleted = await deleting.pollUntilDone();
  assert.equal(deleted.properties.recoveryId, `${cloud.vaultUrl(vault)}/deletedkeys/k2`);
  await refusedWith(keys.getKey('k2'), 404, 'KeyNotFound');
  await refusedWith(keys.createRsaKey('k2'), 409, 'Conflict', 'ObjectIsDeletedButRecoverable');
  const recovering = await keys.beginRecoverDeletedKey('k2', { intervalInMs: 50 });
  assert.equal((await recovering.pollUntilDone()).name, 'k2');
  await (await keys.beginDeleteKey('k2', { intervalInMs: 50 })).pollUntilDone();
  const names = [];
  for await (const { name } of keys.listDeletedKeys()) names.push(name);
  assert.deepEqual(names, ['k2']);
  await keys.purgeDeletedKey('k2');
  assert.equal((await keys.restoreKeyBackup(backup)).name, 'k2');
});

test('KV-66: a deleted vault is listed, recovered, deleted again and purged', async () => {
  await management.vaults.delete(group, vault);
  await refusedWith(management.vaults.get(group, vault), 404, 'ResourceNotFound');
  const listed = [];
  for await (const one of management.vaults.listDeleted()) listed.push(one.name);
  assert.deepEqual(listed, [vault]);
  const location = 'westeurope';
  const recover = {
    location,
    properties: { createMode: 'recover', tenantId: cloud.tenant, sku: { family: 'A', name: 'standard' } },
  } as const;
  assert.equal((await management.vaults.createOrUpdate(group, vault, recover)).name, vault);
  assert.equal((await keys.getKey('k1')).name, 'k1');
  await management.vaults.delete(group, vault);
  await management.vaults.purgeDeleted(vault, location);
  await refusedWith(management.vaults.getDeleted(vault, location), 404, 'DeletedVaultNotFound');
});
