import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { KeyVaultEvent } from '@interlock/contracts/interlock/key_vault/v1/key_vault_events.ts';
import type { RecordedEvent } from '@interlock/event-store';
import { keyUrls } from './names.ts';
import { toFact } from './published.ts';
import { rsaThreads } from './testing/test-key-vault.ts';
import { newVault, startVaultCloud, until, type VaultCloud } from './testing/test-vault-cloud.ts';

let world: VaultCloud;
before(async () => {
  world = await startVaultCloud({ settings: { engine: rsaThreads } });
});
after(() => world.close());

const vault = () => world.vault();
const newKey = (parent: string, request: { keyId?: string; requestId?: string; keySizeBits?: number } = {}) =>
  vault().createKey({ parent, keyId: 'k1', requestId: randomUUID(), ...request });
/** All stored events. A page may end early, before an event that is already committed: only an empty page is the last. */
const allStored = async () => {
  const all: RecordedEvent[] = [];
  for (;;) {
    const page = await world.store.feed(all.at(-1)?.position ?? 0, 10_000);
    if (page.length === 0) return all;
    all.push(...page);
  }
};
/** The published facts, with their positions. */
const facts = async () => {
  const render = toFact(keyUrls('vault.interlock.localhost'));
  return (await allStored()).flatMap((recorded) => {
    const told = render(recorded);
    if (!told) return [];
    const { event, changeTime } = KeyVaultEvent.decode(told.payload);
    assert.ok(event);
    return [{ type: told.type, position: recorded.position, value: event.value, changeTime }];
  });
};

test('G10: a loss is published once, with the epoch and the time that refusals give; an earlier grant has a lower epoch', async () => {
  const parent = await newVault(world);
  const { name } = await newKey(parent);
  const before = await vault().checkAccess({ keyVersion: name });
  await vault().disableKeyVersion({ name });
  await vault().disableKeyVersion({ name });
  const losses = (await facts()).filter(
    ({ type, value }) => type === 'KeyVersionDisabled' && 'keyVersion' in value && value.keyVersion === name,
  );
  assert.equal(losses.length, 1);
  const [loss] = losses;
  assert.ok(loss && 'reason' in loss.value);
  assert.deepEqual([loss.value.accessEpoch, loss.value.reason], [loss.position, 'KEY_DISABLED']);
  assert.ok(before.accessEpoch < loss.position);
  await assert.rejects(vault().checkAccess({ keyVersion: name }), (error: { metadata?: Record<string, string> }) => {
    assert.equal(error.metadata?.since, loss.changeTime?.toISOString());
    return Number(error.metadata?.access_epoch) >= loss.position;
  });
  await vault().enableKeyVersion({ name });
  assert.ok((await vault().checkAccess({ keyVersion: name })).accessEpoch > loss.position);
});

test('KV-54, KV-110, CMK-145: every change of keys and grants is published once under its name; tags are not published', async () => {
  const parent = await newVault(world);
  const { name } = await newKey(parent);
  const [key, requestId] = [`${parent}/keys/k1`, randomUUID()];
  const { name: principal } = await world.newPrincipal();
  const plaintextKey = randomBytes(32);
  const algorithm = 'RSA_OAEP_256';
  const changes: readonly (readonly [told: string, change: () => Promise<unknown>])[] = [
    ['KeyVersionCreated', () => vault().rotateKey({ name: key, requestId })],
    ['', () => vault().rotateKey({ name: key, requestId })],
    ['', () => vault().wrapKey({ name, algorithm, plaintextKey })],
    ['', () => vault().setKeyTags({ name, tags: { owner: 'someone' } })],
    ['KeyVersionDisabled', () => vault().disableKeyVersion({ name })],
    ['KeyVersionEnabled', () => vault().enableKeyVersion({ name })],
    ['KeyVersionDatesSet', () => vault().setKeyVersionDates({ name, expireTime: new Date('2101-01-01') })],
    ['KeyOperationsSet', () => vault().setKeyOperations({ name, keyOperations: ['WRAP_KEY', 'UNWRAP_KEY'] })],
    ['KeyDeleted', () => vault().deleteKey({ name: key, confirmName: key })],
    ['KeyRecovered', () => vault().recoverKey({ name: key })],
    ['', () => vault().recoverKey({ name: key })],
    ['KeyDeleted', () => vault().deleteKey({ name: key, confirmName: key })],
    ['KeyPurged', () => vault().purgeKey({ name: key, confirmName: key })],
    [
      'AccessPolicySet',
      () => vault().setAccessPolicy({ name: parent, accessPolicy: { principal, keyPermissions: ['GET'] } }),
    ],
    ['AccessPolicyRemoved', () => vault().removeAccessPolicy({ name: parent, principal })],
    [
      'PermissionModelSet',
      () => vault().setPermissionModel({ name: parent, permissionModel: 'ROLE_ASSIGNMENT', confirmName: parent }),
    ],
    ['VaultDeleted', () => vault().deleteVault({ name: parent, confirmName: parent })],
    ['VaultRecovered', () => vault().recoverVault({ name: parent })],
  ];
  const publishedSoFar = async () =>
    (await facts()).filter(({ value }) => 'vault' in value && value.vault === parent).map(({ type }) => type);
  const before = await publishedSoFar();
  for (const [, change] of changes) await change();
  assert.deepEqual(
    (await publishedSoFar()).slice(before.length),
    changes.map(([told]) => told).filter((told) => told !== ''),
  );
});

test('CMK-104: the service publishes the expiry of a version once, without a request', async () => {
  const parent = await newVault(world);
  const { name } = await newKey(parent);
  const expireTime = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 1_000);
  await vault().setKeyVersionDates({ name, expireTime });
  const told = async () =>
    (await facts()).filter(
      ({ type, value }) => type === 'KeyExpired' && 'keyVersion' in value && value.keyVersion === name,
    );
  await until(async () => (await told()).length > 0);
  assert.ok(Date.now() >= expireTime.getTime());
  await assert.rejects(vault().checkAccess({ keyVersion: name }), { reason: 'KEY_EXPIRED' });
  assert.equal((await told()).length, 1);
});

test('an expiry that comes while the service is down is published after its restart', async () => {
  const parent = await newVault(world);
  const { name } = await newKey(parent);
  const expireTime = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 1_000);
  await vault().setKeyVersionDates({ name, expireTime });
  await world.cloud.stop('key-vault');
  await until(async () => Date.now() >= expireTime.getTime());
  await world.cloud.start('key-vault');
  await until(async () =>
    (await facts()).some(
      ({ type, value }) => type === 'KeyExpired' && 'keyVersion' in value && value.keyVersion === name,
    ),
  );
});

test('G8: the store contains neither a private key nor a plain DEK', async () => {
  const parent = await newVault(world);
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = pair.privateKey.export({ format: 'jwk' });
  await vault().importKey({
    parent,
    keyId: 'k',
    requestId: randomUUID(),
    keyMaterial: { $case: 'jwkJson', value: JSON.stringify(jwk) },
  });
  const dek = randomBytes(32);
  await vault().wrapKey({
    name: `${parent}/keys/k`,
    algorithm: 'RSA_OAEP_256',
    plaintextKey: Buffer.from(dek),
    resource: 'disks/d',
  });
  const dump = JSON.stringify(
    await world.database.sql`select row::text from rows union all select data::text || meta::text from events`,
  );
  assert.ok(dump.includes(jwk.n ?? 'missing'));
  for (const secret of [jwk.d, jwk.p, jwk.q, dek.toString('base64'), dek.toString('base64url'), dek.toString('hex')]) {
    assert.ok(secret && !dump.includes(secret));
  }
});
