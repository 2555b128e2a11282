import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { createMemorySealKeyStore } from '../sealing/seal-key-store.ts';
import { newVault, startVaultCloud, until, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
/** How many purges the store of seal keys will still fail. */
let outages = 0;
/** If set, a purge waits for its end. */
let hanging: { readonly end: Promise<void>; reached(): void } | undefined;
/** Runs once, before the next event of this type is stored. */
let beforePurge: { readonly type: string; readonly happens: () => Promise<unknown> } | undefined;
before(async () => {
  const sealKeys = createMemorySealKeyStore();
  const destroy: typeof sealKeys.destroy = async (id) => {
    hanging?.reached();
    await hanging?.end;
    if (outages === 0) return sealKeys.destroy(id);
    outages -= 1;
    throw new Error('the seal keys are away');
  };
  // A day of retention lasts 2 ms: what is deleted is due for its purge a moment later.
  world = await startVaultCloud({
    settings: { retentionDayMs: 2, sealKeys: { ...sealKeys, destroy } },
    store: (store) => ({
      ...store,
      async commit(commit, cause) {
        const isPurge = commit.appends?.some(({ events }) => events.some(({ type }) => type === beforePurge?.type));
        const happens = isPurge ? beforePurge?.happens : undefined;
        if (happens) beforePurge = undefined;
        await happens?.();
        return store.commit(commit, cause);
      },
    }),
  });
});
after(() => world.close());

const isGone = (asked: Promise<unknown>, reason: string): Promise<boolean> =>
  asked.then(
    () => false,
    (error: { reason?: string }) => error.reason === reason,
  );

test('KV-63: a deleted key is purged when its retention ends, also under purge protection', async () => {
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

test('KV-28, KV-63: a private key is destroyed by a later attempt if its seal key cannot be destroyed at the purge', async () => {
  const vault = world.vault();
  const parent = await newVault(world, { purgeProtected: true, retentionDays: 7 });
  const { name } = await vault.createKey({ parent, keyId: 'k', requestId: randomUUID() });
  outages = 2;
  await vault.deleteKey({ name: `${parent}/keys/k` });
  await until(async () => {
    const left = await world.database.sql`select key from rows where table_name = 'key_material_v1' and key = ${name}`;
    return left.length === 0;
  });
  assert.equal(outages, 0);
});

test('KV-63, KV-66: a deleted vault is purged with its keys when its retention ends', async () => {
  const vault = world.vault();
  const parent = await newVault(world, { purgeProtected: true, retentionDays: 7 });
  const { name } = await vault.createKey({ parent, keyId: 'k', requestId: randomUUID() });
  await vault.deleteVault({ name: parent });
  await until(() => isGone(vault.getVault({ name: parent }), 'VAULT_NOT_FOUND'));
  assert.ok(await isGone(vault.checkAccess({ keyVersion: name }), 'KEY_PURGED'));
});

test('KV-63: a key or vault that is recovered and deleted again at its purge time is kept for its new retention', async () => {
  const vault = world.vault();
  // 90 days last 180 ms.
  const parent = await newVault(world, { retentionDays: 90 });
  const key = `${parent}/keys/k`;
  await vault.createKey({ parent, keyId: 'k', requestId: randomUUID() });
  for (const { name, stream, deleted, purged, again, remove } of [
    {
      name: key,
      stream: `key-${key}`,
      deleted: 'KeyDeleted',
      purged: 'KeyPurged',
      again: (name: string) => vault.recoverKey({ name }),
      remove: (name: string) => vault.deleteKey({ name }),
    },
    {
      name: parent,
      stream: `vault-${parent.slice('vaults/'.length)}`,
      deleted: 'VaultDeleted',
      purged: 'VaultPurgeStarted',
      again: (name: string) => vault.recoverVault({ name }),
      remove: (name: string) => vault.deleteVault({ name }),
    },
  ] as const) {
    const happens = async () => {
      await again(name);
      await remove(name);
    };
    beforePurge = { type: purged, happens };
    await remove(name);
    const events = () => world.store.read(stream);
    await until(async () => (await events()).some(({ type }) => type === purged));
    const told = await events();
    const due = told.filter(({ type }) => type === deleted).map(({ data }) => Number(data.purgeAt));
    assert.equal(due.length, 2, name);
    const at = Number(told.find(({ type }) => type === purged)?.data.at);
    assert.ok(at >= Number(due[1]), `${name} was purged ${Number(due[1]) - at} ms early`);
  }
});

test('KV-13, CMK-104: expiry and start of validity are recorded when they come, also if the service was down', async () => {
  const vault = world.vault();
  const parent = await newVault(world);
  const { name } = await vault.createKey({ parent, keyId: 'k', requestId: randomUUID() });
  const told = async () =>
    (await world.store.read(`key-${parent}/keys/k`))
      .filter(({ type }) => type === 'KeyVersionExpired' || type === 'KeyVersionBegan')
      .map(({ type, data, time }) => ({ type, lateMs: time - Number(data.expiresAt ?? data.notBefore) }));
  const soon = () => new Date((Math.floor(Date.now() / 1_000) + 2) * 1_000);
  const tomorrow = () => new Date(Date.now() + 86_400_000);
  // The state before a date is checked while the date is far away: a slow machine could miss a near one.
  await vault.setKeyVersionDates({ name, expireTime: tomorrow() });
  await vault.checkAccess({ keyVersion: name });
  await vault.setKeyVersionDates({ name, expireTime: soon() });
  await until(async () => (await told()).length === 1);
  await assert.rejects(vault.checkAccess({ keyVersion: name }), { reason: 'KEY_EXPIRED' });
  await vault.setKeyVersionDates({ name, notBefore: tomorrow() });
  await assert.rejects(vault.checkAccess({ keyVersion: name }), { reason: 'KEY_NOT_YET_VALID' });
  await vault.setKeyVersionDates({ name, notBefore: soon() });
  await world.cloud.stop('key-vault');
  await world.cloud.start('key-vault');
  await until(async () => (await told()).length === 2);
  const [ended, began] = await told();
  assert.deepEqual([ended?.type, began?.type], ['KeyVersionExpired', 'KeyVersionBegan']);
  for (const one of [ended, began]) assert.ok(one && one.lateMs >= 0, `${one?.type} ${one?.lateMs} ms late`);
  await vault.checkAccess({ keyVersion: name });
  assert.equal((await told()).length, 2);
});

test('CMK-104, KV-63: an expiry is recorded while a purge hangs', async () => {
  const vault = world.vault();
  const parent = await newVault(world, { retentionDays: 7 });
  const make = async (keyId: string) => (await vault.createKey({ parent, keyId, requestId: randomUUID() })).name;
  await make('gone');
  const name = await make('kept');
  const [reached, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  hanging = { reached: reached.resolve, end: end.promise };
  try {
    await vault.deleteKey({ name: `${parent}/keys/gone` });
    await reached.promise;
    await vault.setKeyVersionDates({ name, expireTime: new Date(Date.now() + 2_000) });
    const isPublished = async () =>
      (await world.store.read(`key-${parent}/keys/kept`)).some(({ type }) => type === 'KeyVersionExpired');
    const patientUntil = Date.now() + 15_000;
    await until(async () => Date.now() > patientUntil || (await isPublished()));
    assert.ok(await isPublished());
  } finally {
    hanging = undefined;
    end.resolve();
  }
});
