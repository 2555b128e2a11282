import assert from 'node:assert/strict';
import { createHash, createPublicKey, randomBytes, randomUUID, verify } from 'node:crypto';
import { after, before, test } from 'node:test';
import { newVault, startVaultCloud, until, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
const evicted: string[] = [];
before(async () => {
  world = await startVaultCloud({
    engine: (engine) => ({
      ...engine,
      evict: async (version) => {
        evicted.push(version);
        await engine.evict(version);
      },
    }),
  });
});
after(() => world.close());

const vault = () => world.vault();
const algorithm = 'RSA_OAEP_256';
const newKey = async (parent: string, keyId = 'k1', keySizeBits = 2048) =>
  (await vault().createKey({ parent, keyId, keySizeBits, requestId: randomUUID() })).name;
const vaultWithKey = async () => newKey(await newVault(world));
const wrapped = async (name: string, bytes = randomBytes(32)) => {
  const answer = await vault().wrapKey({ name, algorithm, plaintextKey: Buffer.from(bytes) });
  return { bytes, wrappedKey: answer.wrappedKey, keyVersion: answer.keyVersion };
};
const unwrapped = async (name: string, wrappedKey: Uint8Array) =>
  Buffer.from((await vault().unwrapKey({ name, algorithm, wrappedKey })).plaintextKey);
const keyOf = (version: string) => version.split('/versions/')[0] ?? '';

test('KV-04, KV-31: a key without version means the current one; the answer names the exact version', async () => {
  const first = await vaultWithKey();
  const old = await wrapped(keyOf(first));
  assert.equal(old.keyVersion, first);
  const second = (await vault().rotateKey({ name: keyOf(first), requestId: randomUUID() })).name;
  assert.equal((await wrapped(keyOf(first))).keyVersion, second);
  assert.deepEqual(await unwrapped(first, old.wrappedKey), old.bytes);
  await assert.rejects(unwrapped(second, old.wrappedKey), { code: 'INVALID_ARGUMENT', reason: 'BAD_CIPHERTEXT' });
  await vault().disableKeyVersion({ name: second });
  await assert.rejects(wrapped(keyOf(first)), { reason: 'KEY_DISABLED' });
});

test('KV-30, KV-40, KV-42: encrypt and decrypt within the limits of each algorithm; RSA1_5 is off', async () => {
  const name = await vaultWithKey();
  for (const [alg, limit] of [
    ['RSA_OAEP_256', 190],
    ['RSA_OAEP', 214],
  ] as const) {
    const plaintext = randomBytes(limit);
    const { ciphertext } = await vault().encrypt({ name, algorithm: alg, plaintext });
    assert.equal(ciphertext.length, 256);
    assert.deepEqual(Buffer.from((await vault().decrypt({ name, algorithm: alg, ciphertext })).plaintext), plaintext);
    await assert.rejects(vault().encrypt({ name, algorithm: alg, plaintext: randomBytes(limit + 1) }), {
      reason: 'PLAINTEXT_TOO_LONG',
    });
  }
  await assert.rejects(vault().encrypt({ name, algorithm: 'RSA1_5', plaintext: randomBytes(8) }), {
    reason: 'ALGORITHM_DISABLED',
  });
  await assert.rejects(vault().encrypt({ name, plaintext: randomBytes(8) }), { reason: 'ALGORITHM_UNSUPPORTED' });
  await assert.rejects(vault().encrypt({ name, algorithm, plaintext: Buffer.of() }), { reason: 'VALUE_MISSING' });
  const { wrappedKey } = await wrapped(name);
  const changed = Buffer.from(wrappedKey);
  changed[7] = (changed[7] ?? 0) ^ 1;
  await assert.rejects(unwrapped(name, changed), { code: 'INVALID_ARGUMENT', reason: 'BAD_CIPHERTEXT' });
  await assert.rejects(unwrapped(name, changed.subarray(1)), { reason: 'BAD_CIPHERTEXT_LENGTH' });
});

test('KV-32: a signature verifies only with its own digest, and OpenSSL accepts it', async () => {
  const name = await vaultWithKey();
  const message = Buffer.from('to whom it may concern');
  const digest = createHash('sha256').update(message).digest();
  const { signature, keyVersion } = await vault().sign({ name, algorithm: 'RS256', digest });
  assert.equal(keyVersion, name);
  const { publicKey } = await vault().getKeyVersion({ name });
  const jwk = { kty: 'RSA', n: publicKey?.n ?? '', e: publicKey?.e ?? '' };
  assert.ok(verify('sha256', message, createPublicKey({ key: jwk, format: 'jwk' }), signature));
  const asked = { name, algorithm: 'RS256', digest, signature } as const;
  assert.equal((await vault().verify(asked)).valid, true);
  assert.equal((await vault().verify({ ...asked, digest: randomBytes(32) })).valid, false);
  await assert.rejects(vault().sign({ name, algorithm: 'PS512', digest }), { reason: 'BAD_DIGEST_LENGTH' });
});

test('KV-12, KV-87: a disabled version refuses every operation, and its cached private key is evicted', async () => {
  const name = await vaultWithKey();
  const { wrappedKey } = await wrapped(name);
  await unwrapped(name, wrappedKey);
  await vault().disableKeyVersion({ name });
  const digest = randomBytes(32);
  const attempts = {
    wrapKey: () => wrapped(name),
    unwrapKey: () => unwrapped(name, wrappedKey),
    encrypt: () => vault().encrypt({ name, algorithm, plaintext: digest }),
    decrypt: () => vault().decrypt({ name, algorithm, ciphertext: wrappedKey }),
    sign: () => vault().sign({ name, algorithm: 'RS256', digest }),
    verify: () => vault().verify({ name, algorithm: 'RS256', digest, signature: wrappedKey }),
  };
  for (const [operation, attempt] of Object.entries(attempts)) {
    await assert.rejects(attempt(), {
      code: 'FAILED_PRECONDITION',
      reason: 'KEY_DISABLED',
      message: `Operation ${operation} is not allowed on a disabled key.`,
    });
  }
  await until(async () => evicted.includes(name));
  await vault().enableKeyVersion({ name });
  assert.equal((await unwrapped(name, wrappedKey)).length, 32);
});

test('KV-13, KV-89: outside its dates, a version refuses to wrap, encrypt and sign but still unwraps', async () => {
  const name = await vaultWithKey();
  const { wrappedKey, bytes } = await wrapped(name);
  for (const [dates, reason] of [
    [{ expireTime: new Date(1_000) }, 'KEY_EXPIRED'],
    [{ notBefore: new Date(Date.now() + 3_600_000) }, 'KEY_NOT_YET_VALID'],
  ] as const) {
    await vault().setKeyVersionDates({ name, ...dates });
    await assert.rejects(wrapped(name), { code: 'FAILED_PRECONDITION', reason });
    await assert.rejects(vault().sign({ name, algorithm: 'RS256', digest: randomBytes(32) }), { reason });
    await assert.rejects(vault().encrypt({ name, algorithm, plaintext: randomBytes(8) }), { reason });
    assert.deepEqual(await unwrapped(name, wrappedKey), bytes);
    await assert.rejects(vault().checkAccess({ keyVersion: name }), { reason });
  }
});

test('KV-09, KV-88: an operation that is not listed is refused', async () => {
  const name = await vaultWithKey();
  const { wrappedKey } = await wrapped(name);
  await vault().setKeyOperations({ name, keyOperations: ['WRAP_KEY'] });
  await wrapped(name);
  await assert.rejects(unwrapped(name, wrappedKey), {
    code: 'FAILED_PRECONDITION',
    reason: 'KEY_OPERATION_NOT_ALLOWED',
    message: 'Operation unwrapKey is not permitted on this key.',
  });
  await vault().disableKeyVersion({ name });
  await assert.rejects(unwrapped(name, wrappedKey), { reason: 'KEY_DISABLED' }, 'the state of the version comes first');
});

test('KV-11: a version that is enabled and within its dates serves all six operations', async () => {
  const name = await vaultWithKey();
  const nowMs = Date.now();
  await vault().setKeyVersionDates({
    name,
    notBefore: new Date(nowMs - 60_000),
    expireTime: new Date(nowMs + 3_600_000),
  });
  const { wrappedKey, bytes } = await wrapped(name);
  assert.deepEqual(await unwrapped(name, wrappedKey), bytes);
  const { ciphertext } = await vault().encrypt({ name, algorithm, plaintext: Buffer.from(bytes) });
  assert.deepEqual(Buffer.from((await vault().decrypt({ name, algorithm, ciphertext })).plaintext), bytes);
  const { signature } = await vault().sign({ name, algorithm: 'RS256', digest: Buffer.from(bytes) });
  const asked = { name, algorithm: 'RS256', digest: Buffer.from(bytes), signature } as const;
  assert.equal((await vault().verify(asked)).valid, true);
});

test('KV-90, KV-96: missing vaults, keys and versions are not found', async () => {
  const parent = await newVault(world);
  await assert.rejects(wrapped(`${parent}/keys/none`), { code: 'NOT_FOUND', reason: 'KEY_NOT_FOUND' });
  const name = await newKey(parent);
  await assert.rejects(wrapped(`${keyOf(name)}/versions/${'0'.repeat(32)}`), { reason: 'KEY_VERSION_NOT_FOUND' });
  await assert.rejects(wrapped('vaults/never-made/keys/k'), { code: 'NOT_FOUND', reason: 'VAULT_NOT_FOUND' });
  await vault().deleteKey({ name: keyOf(name), confirmName: keyOf(name) });
  await assert.rejects(wrapped(name), { code: 'NOT_FOUND', reason: 'KEY_DELETED' });
});

test('CheckAccess unwraps its probe and refuses a probe that cannot be unwrapped', async () => {
  const name = await vaultWithKey();
  const { wrappedKey } = await wrapped(name);
  const answer = await vault().checkAccess({ keyVersion: name, wrappedProbe: wrappedKey, algorithm });
  assert.deepEqual([answer.keyVersion, answer.enabled], [name, true]);
  await assert.rejects(vault().checkAccess({ keyVersion: name, wrappedProbe: randomBytes(256), algorithm }), {
    reason: /BAD_CIPHERTEXT/,
  });
});

test('CMK-104: CheckAccess with allowExpired grants access to an expired key and refuses every other obstacle', async () => {
  const name = await vaultWithKey();
  const { wrappedKey } = await wrapped(name);
  const check = () =>
    vault().checkAccess({ keyVersion: name, wrappedProbe: wrappedKey, algorithm, allowExpired: true });
  const expireTime = new Date(1_000);
  await vault().setKeyVersionDates({ name, expireTime });
  await assert.rejects(vault().checkAccess({ keyVersion: name }), { reason: 'KEY_EXPIRED' });
  const answer = await check();
  assert.deepEqual([answer.enabled, answer.expireTime], [true, expireTime]);
  assert.ok(answer.accessEpoch > 0);
  await assert.rejects(
    vault().checkAccess({ keyVersion: name, wrappedProbe: randomBytes(256), algorithm, allowExpired: true }),
    { reason: 'BAD_CIPHERTEXT' },
  );
  const stranger = world.vault(await world.newPrincipal());
  await assert.rejects(stranger.checkAccess({ keyVersion: name, allowExpired: true }), { reason: 'ACCESS_DENIED' });
  await vault().setKeyVersionDates({ name, notBefore: new Date(Date.now() + 3_600_000) });
  await assert.rejects(check(), { reason: 'KEY_NOT_YET_VALID' });
  await vault().setKeyVersionDates({ name, expireTime });
  await vault().disableKeyVersion({ name });
  await assert.rejects(check(), { reason: 'KEY_DISABLED' });
  await vault().enableKeyVersion({ name });
  await vault().deleteKey({ name: keyOf(name), confirmName: keyOf(name) });
  await assert.rejects(check(), { reason: 'KEY_DELETED' });
});

test('64 concurrent unwraps in one vault return the right keys while another vault wraps', async () => {
  const [one, other] = [await vaultWithKey(), await vaultWithKey()];
  const deks = await Promise.all(Array.from({ length: 8 }, () => wrapped(one)));
  const unwraps = Array.from({ length: 64 }, async (_, n) => {
    const dek = deks[n % deks.length];
    assert.ok(dek);
    assert.deepEqual(await unwrapped(one, dek.wrappedKey), dek.bytes);
  });
  const wraps = Array.from({ length: 16 }, () => wrapped(other));
  await Promise.all(unwraps);
  for (const dek of await Promise.all(wraps)) assert.deepEqual(await unwrapped(other, dek.wrappedKey), dek.bytes);
});

test('after a version is disabled, no later unwrap succeeds; unwraps in flight succeed or are refused', async () => {
  const name = await vaultWithKey();
  const { wrappedKey, bytes } = await wrapped(name);
  const before = Promise.allSettled(Array.from({ length: 32 }, () => unwrapped(name, wrappedKey)));
  await vault().disableKeyVersion({ name });
  const late = Promise.allSettled(Array.from({ length: 32 }, () => unwrapped(name, wrappedKey)));
  for (const outcome of await before) {
    if (outcome.status === 'fulfilled') assert.deepEqual(outcome.value, bytes);
    else assert.equal(outcome.reason.reason, 'KEY_DISABLED');
  }
  for (const outcome of await late) assert.equal(outcome.status, 'rejected');
});
