import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { StoreUnavailable, table } from '@interlock/event-store';
import { newVault, startVaultCloud, type VaultCloud } from '../testing/test-vault-cloud.ts';
import { auditTable, entriesOf } from './entry.ts';

let world: VaultCloud;
const store = { failsAppends: false, failsAudit: false };
before(async () => {
  world = await startVaultCloud({
    store: (real) => ({
      ...real,
      commit: async (commit, cause) => {
        const isAudit = commit.rows?.some(({ table }) => table.startsWith('audit')) === true;
        const isEvent = (commit.appends ?? []).some(({ stream }) => stream.startsWith('key-'));
        if ((store.failsAudit && isAudit) || (store.failsAppends && isEvent)) throw new StoreUnavailable('unplugged');
        return real.commit(commit, cause);
      },
    }),
  });
});
after(() => world.close());

const algorithm = 'RSA_OAEP_256';
const vaultWithKey = async () => {
  const name = await newVault(world);
  const { name: version, keyUrl } = await world
    .vault()
    .createKey({ parent: name, keyId: 'k1', requestId: randomUUID() });
  return { name, version, keyUrl };
};

test('KV-112, CMK-144: the audit entry of a key use has caller, versioned URL, status, correlation and duration', async () => {
  const { name, version, keyUrl } = await vaultWithKey();
  const identity = await world.newManagedIdentity();
  const keyPermissions = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;
  await world
    .vault()
    .setAccessPolicy({ name, accessPolicy: { principal: identity.name, keyPermissions: [...keyPermissions] } });
  const request = { name: `${name}/keys/k1`, algorithm, plaintextKey: randomBytes(32), resource: 'disks/d1' } as const;
  const { wrappedKey } = await identity.vault.wrapKey(request, { cause: { correlationId: 'the-beginning' } });
  await identity.vault.unwrapKey({ name: version, algorithm, wrappedKey });
  await identity.vault.getKeyVersion({ name: version });
  const { auditEntries } = await world.vault().listAuditEntries({ parent: name, principal: identity.name });
  assert.deepEqual(
    auditEntries.map((entry) => [
      entry.operation,
      entry.httpStatusCode,
      entry.result,
      entry.keyVersion,
      entry.requestUri,
    ]),
    ['KeyWrap', 'KeyUnwrap', 'KeyGet'].map((operation) => [operation, 200, 'SUCCESS', version, keyUrl]),
  );
  const [wrap] = auditEntries;
  assert.ok(wrap);
  assert.deepEqual(
    [wrap.resource, wrap.correlationId, wrap.tenant, wrap.occurrenceCount],
    ['disks/d1', 'the-beginning', 'tenants/main', 1],
  );
  assert.ok(wrap.durationUs > 0 && wrap.callerAddress !== '');
  assert.match(wrap.name, new RegExp(`^${name}/auditEntries/`));
});

test('CMK-01, KV-113: the audit log of a vault begins with its creation', async () => {
  const name = await newVault(world);
  const { auditEntries } = await world.vault().listAuditEntries({ parent: name });
  const [first] = auditEntries;
  assert.deepEqual([first?.operation, first?.result, first?.caller], ['VaultPut', 'SUCCESS', world.administrator.name]);
});

test('KV-114: every refusal is on record with its reason and status', async () => {
  const { name, version } = await vaultWithKey();
  const stranger = await world.newPrincipal();
  const vault = world.vault();
  const bytes = randomBytes(32);
  const refused = [
    [
      'KeyWrap',
      403,
      'ACCESS_DENIED',
      () => world.vault(stranger).wrapKey({ name: version, algorithm, plaintextKey: bytes }),
    ],
    ['VaultPatch', 403, 'ACCESS_DENIED', () => world.vault(stranger).enablePurgeProtection({ name })],
    ['KeyGet', 404, 'KEY_NOT_FOUND', () => vault.getKey({ name: `${name}/keys/none` })],
    ['KeyPurge', 409, 'KEY_NOT_DELETED', () => vault.purgeKey({ name: `${name}/keys/k1` })],
    [
      'KeyCreate',
      400,
      'KEY_SIZE_UNSUPPORTED',
      () => vault.createKey({ parent: name, keyId: 'k', requestId: randomUUID(), keySizeBits: 5 }),
    ],
    ['KeyUnwrap', 400, 'BAD_CIPHERTEXT_LENGTH', () => vault.unwrapKey({ name: version, algorithm, wrappedKey: bytes })],
    ['KeyUpdate', 409, 'ETAG_MISMATCH', () => vault.disableKeyVersion({ name: version, etag: '77' })],
    [
      'KeyWrap',
      403,
      'KEY_DISABLED',
      async () => {
        await vault.disableKeyVersion({ name: version });
        await vault.wrapKey({ name: version, algorithm, plaintextKey: bytes });
      },
    ],
    ['KeyCheckAccess', 403, 'KEY_DISABLED', () => vault.checkAccess({ keyVersion: version })],
  ] as const;
  for (const [, , reason, call] of refused) await assert.rejects(async () => call(), { reason });
  const { auditEntries } = await vault.listAuditEntries({ parent: name });
  assert.deepEqual(
    auditEntries
      .filter(({ result }) => result === 'REFUSED')
      .map((entry) => [entry.operation, entry.httpStatusCode, entry.reason]),
    refused.map(([operation, status, reason]) => [operation, status, reason]),
  );
});

test('KV-113, CMK-145: the audit entry of an update says what it was to change and whether it did, also if refused', async () => {
  const { name, version } = await vaultWithKey();
  const vault = world.vault();
  const [key = ''] = version.split('/versions/');
  const { name: principal } = world.administrator;
  await vault.disableKeyVersion({ name: version });
  await vault.disableKey({ name: key });
  await vault.enableKeyVersion({ name: version });
  await vault.setKeyVersionDates({ name: version, expireTime: new Date('2031-01-02T03:04:05Z') });
  await vault.setKeyOperations({ name: version, keyOperations: ['WRAP_KEY', 'UNWRAP_KEY'] });
  await vault.setKeyTags({ name: version, tags: { owner: 'a secret of theirs' } });
  await assert.rejects(vault.disableKeyVersion({ name: version, etag: '1' }), { reason: 'ETAG_MISMATCH' });
  await vault.setAccessPolicy({ name, accessPolicy: { principal, keyPermissions: ['GET', 'WRAP_KEY', 'UPDATE'] } });
  await vault.removeAccessPolicy({ name, principal });
  await vault.enablePurgeProtection({ name });
  await vault.setPermissionModel({ name, permissionModel: 'ROLE_ASSIGNMENT', confirmName: name });
  const { auditEntries } = await vault.listAuditEntries({ parent: name });
  assert.deepEqual(
    auditEntries.filter(({ operation }) => /Update|Patch/.test(operation)).map(({ change }) => change),
    [
      'disable',
      'disable every version: was so already',
      'enable',
      'not before: none; expires: 2031-01-02T03:04:05.000Z',
      'operations: WRAP_KEY, UNWRAP_KEY',
      'tags: owner',
      'disable',
      `access policy of ${principal}: get, update, wrapKey`,
      `access policy of ${principal}: none`,
      'purge protection: on',
      'permission model: role_assignment',
    ],
  );
});

test('G9, CMK-108: a request for a version purged with its vault has an entry', async () => {
  const { name, version } = await vaultWithKey();
  const vault = world.vault();
  await vault.deleteVault({ name, confirmName: name });
  await vault.purgeVault({ name, confirmName: name });
  await assert.rejects(vault.checkAccess({ keyVersion: version, resource: 'disks/d1' }), { reason: 'KEY_PURGED' });
  // The name is free, so the record cannot be listed any more, but it is kept.
  const rows = table(world.store, auditTable);
  const { items } = await rows.list({ prefix: `${name.slice('vaults/'.length)}/`, limit: 100 });
  const last = items.flatMap(({ row }) => entriesOf(row)).at(-1);
  assert.deepEqual(
    [last?.operation, last?.key, last?.result, last?.reason, last?.resource],
    ['KeyCheckAccess', version, 'refused', 'KEY_PURGED', 'disks/d1'],
  );
});

test('KV-80, KV-81, KV-114: a call without a valid token is recorded in the audit log of the vault that it named', async () => {
  const { name, version } = await vaultWithKey();
  const { cloud, administrator } = world;
  const withToken = (token: string) =>
    cloud.as(administrator).client('key-vault', KeyVaultServiceDefinition, {
      credentials: { token: async () => token, refused: () => {} },
    });
  const request = { name: version, algorithm, plaintextKey: randomBytes(32) } as const;
  await assert.rejects(withToken('no.such.token').wrapKey(request), {
    code: 'UNAUTHENTICATED',
    reason: 'TOKEN_MALFORMED',
  });
  await assert.rejects(withToken('').getVault({ name }), { code: 'UNAUTHENTICATED' });
  const { auditEntries } = await world.vault().listAuditEntries({ parent: name, operation: 'Authentication' });
  assert.deepEqual(
    auditEntries.map((entry) => [entry.httpStatusCode, entry.result, entry.caller]),
    [
      [401, 'REFUSED', 'system:anonymous'],
      [401, 'REFUSED', 'system:anonymous'],
    ],
  );
  assert.equal(auditEntries[0]?.reason, 'TOKEN_MALFORMED');
});

test('the audit log is filtered by key, principal, operation and time, and paged oldest first', async () => {
  const { name, version } = await vaultWithKey();
  const vault = world.vault();
  await vault.createKey({ parent: name, keyId: 'k2', requestId: randomUUID() });
  for (let use = 0; use < 5; use += 1) await vault.wrapKey({ name: version, algorithm, plaintextKey: randomBytes(8) });
  const list = async (filter: Parameters<typeof vault.listAuditEntries>[0]) =>
    (await vault.listAuditEntries({ parent: name, ...filter })).auditEntries;
  assert.equal((await list({ operation: 'KeyWrap' })).length, 5);
  assert.equal((await list({ key: version, operation: 'KeyCreate' })).length, 1);
  assert.equal((await list({ key: `${name}/keys/k2` })).length, 1);
  assert.equal((await list({ principal: `principals/${randomUUID()}` })).length, 0);
  const wraps = await list({ operation: 'KeyWrap' });
  const third = wraps[2]?.time;
  assert.ok(third);
  assert.ok((await list({ operation: 'KeyWrap', startTime: third })).every(({ time }) => time && time >= third));
  const paged: string[] = [];
  let pageToken = '';
  do {
    const page = await vault.listAuditEntries({ parent: name, operation: 'KeyWrap', pageSize: 2, pageToken });
    paged.push(...page.auditEntries.map((entry) => entry.name));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  assert.deepEqual(
    paged,
    wraps.map((entry) => entry.name),
  );
  await assert.rejects(list({ key: 'vaults/another/keys/k' }), { reason: 'KEY_FILTER_INVALID' });
  for (const operation of ['Fly', 'keywrap'])
    await assert.rejects(list({ operation }), { reason: 'OPERATION_FILTER_INVALID', message: /one of .*KeyWrap/ });
  assert.deepEqual(await list({ operation: 'KeyRestore' }), [], 'an operation that was never called');
});

test('an unwrap fails if its audit entry cannot be stored', async () => {
  const { version } = await vaultWithKey();
  const { wrappedKey } = await world.vault().wrapKey({ name: version, algorithm, plaintextKey: randomBytes(32) });
  store.failsAudit = true;
  try {
    const asked = world.vault().unwrapKey({ name: version, algorithm, wrappedKey });
    await assert.rejects(asked, { code: 'UNAVAILABLE', reason: 'STORE_UNAVAILABLE' });
  } finally {
    store.failsAudit = false;
  }
  await world.vault().unwrapKey({ name: version, algorithm, wrappedKey });
});

test('a key creation that failed before its event was stored can be retried with the same request id', async () => {
  const parent = await newVault(world);
  const request = { parent, keyId: 'k1', requestId: randomUUID() };
  store.failsAppends = true;
  try {
    await assert.rejects(world.vault().createKey(request), { reason: 'STORE_UNAVAILABLE' });
  } finally {
    store.failsAppends = false;
  }
  await assert.rejects(world.vault().getKey({ name: `${parent}/keys/k1` }), { reason: 'KEY_NOT_FOUND' });
  const { name } = await world.vault().createKey(request);
  assert.equal((await world.vault().listKeyVersions({ parent: `${parent}/keys/k1` })).keyVersions.length, 1);
  await world.vault().wrapKey({ name, algorithm, plaintextKey: randomBytes(32) });
});
