import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { UnwrapKeyItem } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import { batchMax } from '../audit/settle-ready.ts';
import { newVault, startVaultCloud, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
before(async () => {
  world = await startVaultCloud();
});
after(() => world.close());

const algorithm = 'RSA_OAEP_256';
const keyPermissions = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;

/** A vault with two keys, and a principal that may use them. */
const prepare = async () => {
  const vault = await newVault(world);
  const identity = await world.newManagedIdentity();
  await world
    .vault()
    .setAccessPolicy({ name: vault, accessPolicy: { principal: identity.name, keyPermissions: [...keyPermissions] } });
  const make = async (keyId: string) =>
    (await world.vault().createKey({ parent: vault, keyId, requestId: randomUUID() })).name;
  return { vault, identity, first: await make('k1'), second: await make('k2') };
};

const item = (name: string, wrappedKey: Uint8Array, resource: string): UnwrapKeyItem => ({
  unwrap: { name, algorithm, wrappedKey: Buffer.from(wrappedKey), resource },
  origin: undefined,
});

test('KV-31, KV-114: each item of a batch is unwrapped or refused on its own, in its place, and recorded', async () => {
  const { vault, identity, first, second } = await prepare();
  const deks = Array.from({ length: 100 }, () => randomBytes(64));
  const wrapped = await Promise.all(
    deks.map(async (plaintextKey, n) => {
      const name = n % 2 === 0 ? first : second;
      const { wrappedKey } = await identity.vault.wrapKey({ name, algorithm, plaintextKey: Buffer.from(plaintextKey) });
      return item(name, wrappedKey, `disks/d${n}`);
    }),
  );
  await world.vault().disableKeyVersion({ name: second });
  wrapped[4] = item(first, randomBytes(256), 'disks/d4');
  wrapped[6] = { unwrap: undefined, origin: undefined };
  const { outcomes } = await identity.vault.unwrapKeys({ items: wrapped });

  for (const [n, { outcome }] of outcomes.entries()) {
    const got = outcome?.$case === 'unwrapped' ? Buffer.from(outcome.value.plaintextKey) : outcome?.value.reason;
    const expected = n === 4 ? 'BAD_CIPHERTEXT' : n === 6 ? 'NAME_INVALID' : n % 2 === 0 ? deks[n] : 'KEY_DISABLED';
    assert.deepEqual(got, expected, `item ${n}`);
    if (outcome?.$case !== 'refused' || expected !== 'KEY_DISABLED') continue;
    assert.equal(outcome.value.code, 9);
    assert.equal(outcome.value.metadata.key_version, second);
    assert.ok(Number(outcome.value.metadata.access_epoch) > 0);
  }
  const { auditEntries } = await world.vault().listAuditEntries({ parent: vault, operation: 'KeyUnwrap', pageSize: 7 });
  assert.equal(auditEntries.length, 7);
  const all = await entriesOf(vault, 7);
  assert.deepEqual(
    all.map(({ resource }) => resource).sort(),
    deks
      .map((_, n) => `disks/d${n}`)
      .filter((resource) => resource !== 'disks/d6')
      .sort(),
  );
  const refused = all
    .filter(({ result }) => result === 'REFUSED')
    .map(({ reason, keyVersion }) => `${reason} ${keyVersion}`);
  assert.deepEqual([...new Set(refused)].sort(), [`BAD_CIPHERTEXT ${first}`, `KEY_DISABLED ${second}`]);
  assert.equal(refused.length, 51);
  const ofSecond = await entriesOf(vault, 1_000, second);
  assert.deepEqual(new Set(ofSecond.map(({ keyVersion }) => keyVersion)), new Set([second]));
  assert.equal(ofSecond.length, 50);
});

/** Every unwrap on record, page by page. */
const entriesOf = async (parent: string, pageSize: number, key = '') => {
  const found = [];
  for (let pageToken = ''; ; ) {
    const page = await world.vault().listAuditEntries({ parent, key, operation: 'KeyUnwrap', pageSize, pageToken });
    assert.ok(page.auditEntries.length <= pageSize);
    found.push(...page.auditEntries);
    pageToken = page.nextPageToken;
    if (pageToken === '') break;
  }
  assert.equal(new Set(found.map(({ name }) => name)).size, found.length, 'no entry is in two pages');
  return found;
};

test('KV-112: a batch item with its own origin is recorded under that correlation id and trace', async () => {
  const { vault, identity, first } = await prepare();
  const { wrappedKey } = await identity.vault.wrapKey({ name: first, algorithm, plaintextKey: randomBytes(64) });
  const traceId = 'ab'.repeat(16);
  const origin = { correlationId: 'the-start-of-a-machine', traceparent: `00-${traceId}-${'cd'.repeat(8)}-01` };
  const { outcomes } = await identity.vault.unwrapKeys(
    {
      items: [
        { ...item(first, wrappedKey, 'disks/own'), origin },
        item(first, wrappedKey, 'disks/plain'),
        { ...item(first, wrappedKey, 'disks/odd'), origin: { correlationId: 'two words', traceparent: '', cause: '' } },
      ],
    },
    { cause: { correlationId: 'the-batch' } },
  );
  assert.deepEqual(
    outcomes.map(({ outcome }) => (outcome?.$case === 'refused' ? outcome.value.reason : outcome?.$case)),
    ['unwrapped', 'unwrapped', 'METADATA_INVALID'],
  );
  const entries = await entriesOf(vault, 100);
  const found = Object.fromEntries(entries.map((entry) => [entry.resource, entry]));
  assert.deepEqual(
    [found['disks/own']?.correlationId, found['disks/own']?.traceId, found['disks/plain']?.correlationId],
    ['the-start-of-a-machine', traceId, 'the-batch'],
  );
});

test('a batch has 1 to 256 items', async () => {
  const { identity, first } = await prepare();
  const one = item(first, randomBytes(256), 'disks/d');
  for (const size of [0, batchMax + 1]) {
    await assert.rejects(identity.vault.unwrapKeys({ items: Array.from({ length: size }, () => one) }), {
      reason: 'BATCH_SIZE_INVALID',
      metadata: { field: 'items', size: String(size), limit: '256' },
    });
    await assert.rejects(identity.vault.rewrapKeys({ items: Array.from({ length: size }, () => ({})) }), {
      reason: 'BATCH_SIZE_INVALID',
    });
  }
});
