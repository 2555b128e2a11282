import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { newVault, startVaultCloud, until, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
before(async () => {
  // A day of a policy lasts 50 ms: a week is over in a third of a second.
  world = await startVaultCloud({ settings: { retentionDayMs: 50 } });
});
after(() => world.close());

const newKey = async (keyId: string, parent?: string) => {
  const vault = parent ?? (await newVault(world));
  await world.vault().createKey({ parent: vault, keyId, requestId: randomUUID() });
  return `${vault}/keys/${keyId}`;
};
const versionsOf = async (name: string) => (await world.vault().listKeyVersions({ parent: name })).keyVersions;
const weekly = { rotateAfterCreate: 'P7D', expiryTime: 'P3650D' };

test('KV-33, KV-34, KV-53: a key is rotated when it is due, and only the new version has the expiry of the policy', async () => {
  const name = await newKey('k');
  const set = await world.vault().setRotationPolicy({ name, ...weekly });
  assert.deepEqual([set.rotateAfterCreate, set.expiryTime], ['P7D', 'P3650D']);
  assert.ok(set.nextRotationTime);
  await until(async () => (await versionsOf(name)).length > 1);
  await world.vault().setRotationPolicy({ name });
  const [first, second] = await versionsOf(name);
  assert.equal(first?.expireTime, undefined);
  assert.equal(first?.enabled, true);
  assert.ok(second?.expireTime);
  const { auditEntries: entries } = await world
    .vault()
    .listAuditEntries({ parent: name.split('/keys/')[0] ?? '', operation: 'KeyRotateIfDue' });
  assert.equal(entries[0]?.caller, 'system:key-vault');
});

test('KV-34: a key whose current version is disabled, and a key of a deleted vault, are not rotated', async () => {
  const [disabled, control, inDeleted] = [await newKey('disabled'), await newKey('control'), await newKey('kept')];
  const made = async (name: string) =>
    (await world.store.read(`key-${name}`)).filter(({ type }) => type === 'KeyVersionCreated').length;
  await world.vault().disableKey({ name: disabled });
  await world.vault().setRotationPolicy({ name: inDeleted, ...weekly });
  await world.vault().deleteVault({ name: inDeleted.split('/keys/')[0] ?? '' });
  const before = await made(inDeleted);
  const policy = await world.vault().setRotationPolicy({ name: disabled, ...weekly });
  assert.equal(policy.nextRotationTime, undefined);
  await world.vault().setRotationPolicy({ name: control, ...weekly });
  await until(async () => (await made(control)) > 2);
  await world.vault().setRotationPolicy({ name: control });
  assert.deepEqual([await made(disabled), await made(inDeleted)], [1, before]);
});

test('KV-51: the near-expiry notice of the current version is recorded once', async () => {
  const name = await newKey('n');
  await world.vault().setRotationPolicy({ name, notifyBeforeExpiry: 'P1100D', expiryTime: 'P2000D' });
  const expireTime = new Date(Date.now() + 57_000);
  await world.vault().setKeyVersionDates({ name: (await versionsOf(name))[0]?.name ?? '', expireTime });
  const notices = async () =>
    (await world.store.read(`key-${name}`)).filter(({ type }) => type === 'KeyVersionNearExpiry');
  await until(async () => (await notices()).length > 0);
  assert.equal((await notices()).length, 1);
});

test('KV-50, KV-51: a key without a policy has the default one, which can be set again', async () => {
  const name = await newKey('d');
  const { notifyBeforeExpiry, updateTime } = await world.vault().getRotationPolicy({ name });
  assert.deepEqual([notifyBeforeExpiry, updateTime], ['P30D', undefined]);
  assert.equal((await world.vault().setRotationPolicy({ name, notifyBeforeExpiry })).notifyBeforeExpiry, 'P30D');
  await assert.rejects(world.vault().setRotationPolicy({ name, rotateAfterCreate: 'P1D' }), {
    reason: 'ROTATION_POLICY_INVALID',
  });
  await assert.rejects(world.vault().getRotationPolicy({ name: `${name}x` }), { reason: 'KEY_NOT_FOUND' });
});
