import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { rsaThreads } from '../testing/test-key-vault.ts';
import { newVault, startVaultCloud, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
before(async () => {
  world = await startVaultCloud({ settings: { engine: rsaThreads } });
});
after(() => world.close());

const vault = () => world.vault();
const newKey = (parent: string, request: { keyId?: string; requestId?: string; keySizeBits?: number } = {}) =>
  vault().createKey({ parent, keyId: 'k1', requestId: randomUUID(), ...request });

test('KV-03, KV-20: concurrent equal requests make one version; another request makes the next', async () => {
  const parent = await newVault(world);
  const requestId = randomUUID();
  const [a, b] = await Promise.all([newKey(parent, { requestId }), newKey(parent, { requestId })]);
  assert.equal(a.name, b.name);
  assert.match(a.name, /^vaults\/[^/]+\/keys\/k1\/versions\/[0-9a-f]{32}$/);
  const next = await newKey(parent);
  const { keyVersions } = await vault().listKeyVersions({ parent: `${parent}/keys/k1` });
  assert.deepEqual(
    keyVersions.map(({ name }) => name),
    [a.name, next.name],
  );
  assert.equal((await vault().getKey({ name: `${parent}/keys/K1` })).currentVersion, next.name);
  await assert.rejects(newKey(parent, { requestId: '' }), { reason: 'REQUEST_ID_INVALID' });
});

test('a request id that made a key is refused for every other request', async () => {
  const parent = await newVault(world);
  const [requestId, importId] = [randomUUID(), randomUUID()];
  const first = await newKey(parent, { requestId, keySizeBits: 2048 });
  const name = `${parent}/keys/k1`;
  const pemOf = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const importing = (pem: string) =>
    vault().importKey({ parent, keyId: 'k2', requestId: importId, keyMaterial: { $case: 'pem', value: pem } });
  const [pem, other] = [pemOf(), pemOf()].map((key) => key.export({ format: 'pem', type: 'pkcs8' }).toString());
  const imported = await importing(pem ?? '');
  assert.equal((await importing(pem ?? '')).name, imported.name);
  const again = { parent, keyId: 'k1', requestId };
  for (const used of [
    () => vault().createKey({ ...again, keySizeBits: 3072 }),
    () => vault().createKey({ ...again, tags: { a: 'b' } }),
    () => vault().createKey({ ...again, attributes: { enabled: false } }),
    () => vault().rotateKey({ name, requestId }),
    () => importing(other ?? ''),
  ]) {
    await assert.rejects(used(), { code: 'ALREADY_EXISTS', reason: 'REQUEST_ID_USED' });
  }
  // A request is still a repeat if the version was changed meanwhile, or if it leaves out a default.
  await vault().setKeyTags({ name: first.name, tags: { later: 'on' } });
  assert.equal((await vault().createKey(again)).name, first.name);
  const { keyVersions } = await vault().listKeyVersions({ parent: name });
  assert.equal(keyVersions.length, 1);
});

test('KV-08, KV-09, KV-22: a key has the requested size and by default all operations, and shows its public half only', async () => {
  const parent = await newVault(world);
  const version = await newKey(parent, { keySizeBits: 3072 });
  assert.equal(version.keySizeBits, 3072);
  assert.deepEqual(version.keyOperations, ['ENCRYPT', 'DECRYPT', 'SIGN', 'VERIFY', 'WRAP_KEY', 'UNWRAP_KEY']);
  assert.deepEqual(Object.keys(JSON.parse(version.publicKey?.jwkJson ?? '')).sort(), [
    'e',
    'key_ops',
    'kid',
    'kty',
    'n',
  ]);
  assert.equal(Buffer.from(version.publicKey?.n ?? '', 'base64url').length, 384);
  await assert.rejects(newKey(parent, { keySizeBits: 1024 }), {
    code: 'INVALID_ARGUMENT',
    reason: 'KEY_SIZE_UNSUPPORTED',
  });
});

test('CMK-20, KV-07, KV-21: an RSA key is imported as JWK or PEM; other kinds of keys and malformed ones are refused', async () => {
  const parent = await newVault(world);
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwkJson = JSON.stringify(pair.privateKey.export({ format: 'jwk' }));
  const pem = pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  const importing = (keyMaterial: { $case: 'jwkJson' | 'pem'; value: string } | undefined) =>
    vault().importKey({ parent, keyId: 'imported', requestId: randomUUID(), ...(keyMaterial ? { keyMaterial } : {}) });
  const version = await importing({ $case: 'jwkJson', value: jwkJson });
  assert.equal(version.origin, 'IMPORTED');
  assert.equal(version.publicKey?.n, pair.publicKey.export({ format: 'jwk' }).n);
  assert.notEqual((await importing({ $case: 'pem', value: pem })).name, version.name);
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  const edwards = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  const symmetric = { kty: 'oct', k: randomBytes(32).toString('base64url') };
  for (const other of [
    { $case: 'jwkJson', value: JSON.stringify(ec) },
    { $case: 'jwkJson', value: JSON.stringify(symmetric) },
    { $case: 'pem', value: edwards },
  ] as const) {
    await assert.rejects(importing(other), { code: 'INVALID_ARGUMENT', reason: 'NOT_AN_RSA_KEY' });
  }
  await assert.rejects(
    importing({ $case: 'jwkJson', value: '{"d":"secret' }),
    (error: Error) => !error.message.includes('secret'),
  );
  await assert.rejects(importing(undefined), { reason: 'KEY_MATERIAL_MISSING' });
});

test('KV-10: 15 tags of 256 characters; one more or longer is refused', async () => {
  const parent = await newVault(world);
  const { name } = await newKey(parent);
  const tags = Object.fromEntries(Array.from({ length: 15 }, (_, n) => [`t${n}`, 'x'.repeat(256)]));
  assert.deepEqual((await vault().setKeyTags({ name, tags })).tags, tags);
  await assert.rejects(vault().setKeyTags({ name, tags: { ...tags, more: 'x' } }), { reason: 'TAGS_INVALID' });
  await assert.rejects(vault().setKeyTags({ name, tags: { a: 'x'.repeat(257) } }), { reason: 'TAGS_INVALID' });
});

test('KV-16, KV-24: a disabled and expired version can be read, listed, backed up, updated and deleted; its material stays', async () => {
  const [parent, other] = [await newVault(world), await newVault(world)];
  const made = await newKey(parent);
  const { name } = made;
  const key = `${parent}/keys/k1`;
  const algorithm = 'RSA_OAEP_256';
  const dek = randomBytes(32);
  const { wrappedKey } = await vault().wrapKey({ name, algorithm, plaintextKey: Buffer.from(dek) });
  const unwrapped = async () => Buffer.from((await vault().unwrapKey({ name, algorithm, wrappedKey })).plaintextKey);
  await vault().disableKeyVersion({ name });
  await vault().setKeyVersionDates({ name, expireTime: new Date(1_000) });
  const found = await vault().getKeyVersion({ name });
  assert.deepEqual([found.enabled, found.expireTime?.getTime()], [false, 1_000]);
  assert.deepEqual((await vault().listKeyVersions({ parent: key })).keyVersions, [found]);
  const { backup } = await vault().backupKey({ name: key });
  await vault().restoreKey({ parent: other, backup, requestId: randomUUID() });
  const copy = await vault().getKeyVersion({ name: name.replace(parent, other) });
  assert.deepEqual(
    [copy.enabled, copy.expireTime, copy.publicKey?.n],
    [false, found.expireTime, found.publicKey?.n],
    'it is in the backup',
  );
  await vault().setKeyOperations({ name, keyOperations: ['WRAP_KEY'] });
  await vault().setKeyTags({ name, tags: { a: 'b' } });
  const notBefore = new Date(2_000);
  const changed = await vault().setKeyVersionDates({ name, notBefore });
  assert.deepEqual(
    [changed.keyOperations, changed.tags, changed.notBefore, changed.expireTime],
    [['WRAP_KEY'], { a: 'b' }, notBefore, undefined],
  );
  assert.deepEqual([changed.publicKey?.n, changed.publicKey?.e], [made.publicKey?.n, made.publicKey?.e]);
  await assert.rejects(vault().setKeyVersionDates({ name, notBefore: new Date(5_000), expireTime: new Date(5_500) }), {
    reason: 'EXPIRE_TIME_INVALID',
  });
  assert.equal((await vault().enableKeyVersion({ name })).enabled, true);
  await vault().setKeyOperations({ name, keyOperations: ['UNWRAP_KEY'] });
  await vault().setKeyVersionDates({ name });
  assert.deepEqual(await unwrapped(), dek, 'the private half stays too');
  await vault().disableKeyVersion({ name });
  await vault().setKeyVersionDates({ name, expireTime: new Date(1_000) });
  await vault().deleteKey({ name: key, confirmName: key });
  await assert.rejects(vault().getKeyVersion({ name }), { code: 'NOT_FOUND' });
});

test('disabling a key disables its enabled versions; enabling it enables exactly those', async () => {
  const parent = await newVault(world);
  const versions = [await newKey(parent), await newKey(parent), await newKey(parent)].map(({ name }) => name);
  const [first = '', second = '', third = ''] = versions;
  const name = `${parent}/keys/k1`;
  await vault().disableKeyVersion({ name: first });
  const gone = await vault().disableKey({ name });
  assert.deepEqual(gone.disabled, [second, third]);
  assert.deepEqual(
    gone.keyVersions.map((version) => [version.name, version.enabled]),
    versions.map((version) => [version, false]),
  );
  assert.deepEqual((await vault().disableKey({ name })).disabled, []);
  const back = await vault().enableKey({ name });
  assert.deepEqual(back.enabled, [second, third]);
  assert.deepEqual(
    back.keyVersions.map(({ enabled }) => enabled),
    [false, true, true],
  );
  await assert.rejects(vault().disableKey({ name, etag: '99' }), { code: 'ABORTED', reason: 'ETAG_MISMATCH' });
  await assert.rejects(vault().disableKey({ name: first }), { reason: 'NAME_INVALID' });
  await assert.rejects(vault().enableKey({ name: `${parent}/keys/none` }), { reason: 'KEY_NOT_FOUND' });
});

test('a key shows why and since when its current version cannot be used', async () => {
  const parent = await newVault(world);
  const name = `${parent}/keys/k1`;
  await newKey(parent);
  const shown = async () => {
    const { keys } = await vault().listKeys({ parent });
    const key = await vault().getKey({ name });
    assert.deepEqual(keys, [key]);
    return [key.unavailableReason, key.unavailableSince] as const;
  };
  assert.deepEqual(await shown(), ['KEY_ACCESS_REASON_UNSPECIFIED', undefined]);
  await vault().disableKey({ name });
  const [reason, since] = await shown();
  assert.equal(reason, 'KEY_DISABLED');
  assert.ok(since instanceof Date);
  const { name: next } = await newKey(parent);
  assert.deepEqual(await shown(), ['KEY_ACCESS_REASON_UNSPECIFIED', undefined], 'the newest is the current one');
  const expireTime = new Date(Math.floor(Date.now() / 1_000) * 1_000 - 60_000);
  await vault().setKeyVersionDates({ name: next, expireTime });
  assert.deepEqual(await shown(), ['KEY_EXPIRED', expireTime]);
  await vault().setKeyVersionDates({ name: next, notBefore: new Date(Date.now() + 3_600_000) });
  assert.equal((await shown())[0], 'KEY_NOT_YET_VALID');
});

test('a request with an etag other than the current one is refused', async () => {
  const parent = await newVault(world);
  const { name, etag } = await newKey(parent);
  await assert.rejects(vault().disableKeyVersion({ name, etag: '99' }), { code: 'ABORTED', reason: 'ETAG_MISMATCH' });
  assert.equal((await vault().disableKeyVersion({ name, etag })).enabled, false);
});

test('a missing key or version is reported before a wrong etag', async () => {
  const parent = await newVault(world);
  const { name: version } = await newKey(parent);
  const name = `${parent}/keys/k1`;
  const etag = '99';
  const requestId = randomUUID();
  const missing = `${name}/versions/${'0'.repeat(32)}`;
  await assert.rejects(vault().disableKeyVersion({ name: missing, etag }), { reason: 'KEY_VERSION_NOT_FOUND' });
  await vault().deleteKey({ name, confirmName: name });
  const ofDeleted = {
    disableKey: () => vault().disableKey({ name, etag }),
    enableKey: () => vault().enableKey({ name, etag }),
    disableKeyVersion: () => vault().disableKeyVersion({ name: version, etag }),
    rotateKey: () => vault().rotateKey({ name, requestId, etag }),
  };
  for (const [method, call] of Object.entries(ofDeleted)) {
    await assert.rejects(call(), { code: 'NOT_FOUND', reason: 'KEY_DELETED' }, method);
  }
  await assert.rejects(vault().recoverKey({ name, etag }), { code: 'ABORTED', reason: 'ETAG_MISMATCH' });
  await vault().purgeKey({ name, confirmName: name });
  for (const key of [name, `${parent}/keys/none`]) {
    const ofNone = {
      disableKey: () => vault().disableKey({ name: key, etag }),
      enableKey: () => vault().enableKey({ name: key, etag }),
      deleteKey: () => vault().deleteKey({ name: key, etag }),
      recoverKey: () => vault().recoverKey({ name: key, etag }),
      rotateKey: () => vault().rotateKey({ name: key, requestId, etag }),
    };
    for (const [method, call] of Object.entries(ofNone)) {
      // A purged key cannot be recovered, and the refusal says so.
      const reason = method === 'recoverKey' && key === name ? 'KEY_PURGED' : 'KEY_NOT_FOUND';
      await assert.rejects(call(), { code: 'NOT_FOUND', reason }, `${method} ${key}`);
    }
  }
});

test('KV-93: an invalid request is refused with the name of the wrong field', async () => {
  const parent = await newVault(world);
  const { name } = await newKey(parent);
  const [algorithm, plaintextKey] = ['RSA_OAEP_256' as const, randomBytes(32)];
  const wrong = {
    key_id: () => newKey(parent, { keyId: 'not_allowed' }),
    request_id: () => newKey(parent, { requestId: 'none' }),
    key_size_bits: () => newKey(parent, { keySizeBits: 1_024 }),
    key_material: () => vault().importKey({ parent, keyId: 'k2', requestId: randomUUID() }),
    name: () => vault().getKey({ name: `${parent}/key/k1` }),
    algorithm: () => vault().wrapKey({ name, plaintextKey }),
    plaintext_key: () => vault().wrapKey({ name, algorithm, plaintextKey: Buffer.of() }),
    wrapped_key: () => vault().unwrapKey({ name, algorithm, wrappedKey: Buffer.of() }),
    expire_time: () => vault().setKeyVersionDates({ name, notBefore: new Date(9_000), expireTime: new Date(9_000) }),
    tags: () => vault().setKeyTags({ name, tags: { '': 'x' } }),
    page_size: () => vault().listKeys({ parent, pageSize: -1 }),
    page_token: () => vault().listKeys({ parent, pageToken: '!' }),
    etag: () => vault().disableKeyVersion({ name, etag: 'newest' }),
  };
  for (const [field, call] of Object.entries(wrong)) {
    await assert.rejects(call(), (error: { code?: string; metadata?: Record<string, string> }) => {
      assert.deepEqual([error.code, error.metadata?.field], ['INVALID_ARGUMENT', field]);
      return true;
    });
  }
});

test('KV-14, KV-25, KV-26, KV-27, KV-91: a deleted key is listed only as deleted; recovering it restores its versions', async () => {
  const parent = await newVault(world);
  const name = `${parent}/keys/k1`;
  const version = await newKey(parent);
  const gone = await vault().deleteKey({ name });
  assert.equal(gone.state, 'DELETED');
  assert.ok((gone.scheduledPurgeTime?.getTime() ?? 0) - (gone.deleteTime?.getTime() ?? 0) === 90 * 86_400_000);
  assert.equal((await vault().deleteKey({ name })).etag, gone.etag);
  await assert.rejects(vault().getKey({ name }), { code: 'NOT_FOUND', reason: 'KEY_DELETED' });
  await assert.rejects(vault().getKeyVersion({ name: version.name }), { reason: 'KEY_DELETED' });
  assert.deepEqual((await vault().listKeys({ parent })).keys, []);
  assert.deepEqual((await vault().listDeletedKeys({ parent })).keys, [gone]);
  assert.deepEqual(await vault().getDeletedKey({ name }), gone);
  await assert.rejects(newKey(parent), { code: 'ALREADY_EXISTS', reason: 'KEY_NAME_HELD' });
  await vault().recoverKey({ name });
  assert.equal((await vault().getKeyVersion({ name: version.name })).publicKey?.n, version.publicKey?.n);
  await assert.rejects(vault().getDeletedKey({ name }), { reason: 'KEY_NOT_FOUND' });
});

test('KV-23: keys and versions are listed in pages', async () => {
  const parent = await newVault(world);
  for (const keyId of ['b', 'a', 'c']) await newKey(parent, { keyId });
  const first = await vault().listKeys({ parent, pageSize: 2 });
  const second = await vault().listKeys({ parent, pageSize: 2, pageToken: first.nextPageToken });
  assert.deepEqual(
    [...first.keys, ...second.keys].map(({ name }) => name.split('/').at(-1)),
    ['a', 'b', 'c'],
  );
  await newKey(parent, { keyId: 'a' });
  const versions = await vault().listKeyVersions({ parent: `${parent}/keys/a`, pageSize: 1 });
  const rest = await vault().listKeyVersions({
    parent: `${parent}/keys/a`,
    pageSize: 1,
    pageToken: versions.nextPageToken,
  });
  assert.equal(rest.nextPageToken, '');
  assert.notEqual(rest.keyVersions[0]?.name, versions.keyVersions[0]?.name);
});

test('KV-23: a page has 25 keys or versions if the request does not say how many', async () => {
  const parent = await newVault(world);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const value = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  const importAs = (keyId: string) =>
    vault().importKey({ parent, keyId, requestId: randomUUID(), keyMaterial: { $case: 'pem', value } });
  for (let n = 0; n < 25; n++) await Promise.all([importAs(`k${n}`), importAs('many')]);
  await importAs('many');
  const [keys, versions] = [
    await vault().listKeys({ parent }),
    await vault().listKeyVersions({ parent: `${parent}/keys/many` }),
  ];
  assert.deepEqual([keys.keys.length, versions.keyVersions.length], [25, 25]);
  const [restOfKeys, restOfVersions] = [
    await vault().listKeys({ parent, pageToken: keys.nextPageToken }),
    await vault().listKeyVersions({ parent: `${parent}/keys/many`, pageToken: versions.nextPageToken }),
  ];
  assert.deepEqual([restOfKeys.keys.length, restOfVersions.keyVersions.length], [1, 1]);
  assert.deepEqual([restOfKeys.nextPageToken, restOfVersions.nextPageToken], ['', '']);
});

test('KV-15, KV-28: a purge is final, can be repeated, and frees the name', async () => {
  const parent = await newVault(world);
  const name = `${parent}/keys/k1`;
  const version = await newKey(parent);
  const wrapped = await vault().wrapKey({ name, algorithm: 'RSA_OAEP_256', plaintextKey: randomBytes(32) });
  await assert.rejects(vault().purgeKey({ name }), { code: 'FAILED_PRECONDITION', reason: 'KEY_NOT_DELETED' });
  await vault().deleteKey({ name, confirmName: name });
  await vault().purgeKey({ name, confirmName: name });
  await vault().purgeKey({ name, confirmName: name });
  await assert.rejects(vault().getKey({ name }), { code: 'NOT_FOUND', reason: 'KEY_NOT_FOUND' });
  await assert.rejects(vault().recoverKey({ name }), { code: 'NOT_FOUND', reason: 'KEY_PURGED' });
  await assert.rejects(vault().recoverKey({ name: `${parent}/keys/k2` }), { reason: 'KEY_NOT_FOUND' });
  const asked = { name: version.name, algorithm: 'RSA_OAEP_256', wrappedKey: wrapped.wrappedKey } as const;
  await assert.rejects(vault().unwrapKey(asked), { code: 'NOT_FOUND', reason: 'KEY_PURGED' });
  const material = await world.database
    .sql`select key from rows where table_name = 'key_material_v1' and key = ${version.name}`;
  assert.equal(material.length, 0);
  assert.notEqual((await newKey(parent)).name, version.name);
  await assert.rejects(vault().unwrapKey(asked), { reason: 'KEY_PURGED' });
});

test('KV-65: the recovery level depends on the retention and purge protection of the vault', async () => {
  const levels = await Promise.all(
    [{}, { purgeProtected: true }, { retentionDays: 89 }, { retentionDays: 7, purgeProtected: true }].map(
      async (request) => {
        const parent = await newVault(world, request);
        await newKey(parent);
        return (await vault().getKey({ name: `${parent}/keys/k1` })).recoveryLevel;
      },
    ),
  );
  assert.deepEqual(levels, [
    'RECOVERABLE_PURGEABLE',
    'RECOVERABLE',
    'CUSTOMIZED_RECOVERABLE_PURGEABLE',
    'CUSTOMIZED_RECOVERABLE',
  ]);
});

test('KV-29: a backup of all versions is restored only under a free name in the same subscription, also after a purge', async () => {
  const parent = await newVault(world);
  const name = `${parent}/keys/k1`;
  const first = await newKey(parent);
  const plaintextKey = randomBytes(32);
  const { wrappedKey } = await vault().wrapKey({
    name,
    algorithm: 'RSA_OAEP_256',
    plaintextKey: Buffer.from(plaintextKey),
  });
  await newKey(parent);
  const { backup } = await vault().backupKey({ name });
  await assert.rejects(vault().restoreKey({ parent, backup, requestId: randomUUID() }), {
    reason: 'KEY_ALREADY_EXISTS',
  });
  await vault().deleteKey({ name, confirmName: name });
  await assert.rejects(vault().restoreKey({ parent, backup, requestId: randomUUID() }), { reason: 'KEY_NAME_HELD' });
  await vault().purgeKey({ name, confirmName: name });
  const requestId = randomUUID();
  const restored = await vault().restoreKey({ parent, backup, requestId });
  assert.deepEqual(await vault().restoreKey({ parent, backup, requestId }), restored);
  assert.equal((await vault().listKeyVersions({ parent: name })).keyVersions.length, 2);
  const back = await vault().unwrapKey({ name: first.name, algorithm: 'RSA_OAEP_256', wrappedKey });
  assert.deepEqual(Buffer.from(back.plaintextKey), plaintextKey);
  const elsewhere = await newVault(world, { resourceGroup: 'subscriptions/s2/resourceGroups/g' });
  await assert.rejects(vault().restoreKey({ parent: elsewhere, backup, requestId: randomUUID() }), {
    code: 'FAILED_PRECONDITION',
    reason: 'BACKUP_OF_ANOTHER_SUBSCRIPTION',
  });
  const other = await newVault(world);
  await vault().restoreKey({ parent: other, backup, requestId: randomUUID() });
  const changed = Buffer.from(backup);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  await assert.rejects(vault().restoreKey({ parent: other, backup: changed, requestId: randomUUID() }), {
    reason: 'BACKUP_INVALID',
  });
  await vault().deleteKey({ name, confirmName: name });
  await vault().purgeKey({ name, confirmName: name });
  await assert.rejects(vault().unwrapKey({ name: first.name, algorithm: 'RSA_OAEP_256', wrappedKey }), {
    reason: 'KEY_PURGED',
  });
});
