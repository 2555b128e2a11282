import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { systemRandom as random } from '@interlock/runtime';
import { type MasterKey, masterKey, obtainMasterKey, readMasterKey } from '@interlock/sealing';
import { createMemorySealKeyStore, type SealKeyStore, sealKeyId } from './seal-key-store.ts';
import { openPrivateKey, requireMasterKeyOf, Sealing, sealKeyUnderAnother, sealPrivateKey } from './sealing.ts';

const version = 'vaults/a/keys/b/versions/1';
const hasReason = (reason: string) => (cause: unknown) => cause instanceof Rejection && cause.reason === reason;
const newMasterKey = () => masterKey(randomBytes(32));
const sealingUnder = (store: SealKeyStore, current: MasterKey, ...previous: MasterKey[]) =>
  new Sealing({ store, masterKeys: { current, previous }, random });
const recordOf = async (store: SealKeyStore, id: string) => {
  const found = await store.read(id);
  assert.ok(found.status === 'present');
  return Uint8Array.from(found.record);
};

test('a private key opens only with its seal key and name, and not if one bit was changed', () => {
  const sealKey = randomBytes(32);
  const pkcs8 = randomBytes(1200);
  const sealed = sealPrivateKey(sealKey, version, pkcs8, randomBytes(12));
  assert.deepEqual(openPrivateKey(sealKey, version, sealed), Uint8Array.from(pkcs8));
  const refused = hasReason('SEALED_KEY_CORRUPT');
  assert.throws(() => openPrivateKey(randomBytes(32), version, sealed), refused);
  assert.throws(() => openPrivateKey(sealKey, `${version}1`, sealed), refused);
  for (let index = 0; index < sealed.length; index += 1) {
    const changed = sealed.map((byte, at) => (at === index ? byte ^ 0x10 : byte));
    assert.throws(() => openPrivateKey(sealKey, version, changed), refused);
  }
  for (const length of [0, 1, 28, sealed.length - 1]) {
    assert.throws(() => openPrivateKey(sealKey, version, sealed.subarray(0, length)), refused);
  }
});

test('a version has one seal key for all callers; the store never contains it in plain text', async () => {
  const store = createMemorySealKeyStore();
  const sealing = sealingUnder(store, newMasterKey());
  const [made, ...again] = await Promise.all([1, 2, 3].map(() => sealing.obtain(version)));
  assert.ok(made);
  assert.equal(made.length, 32);
  for (const sealKey of [...again, await sealing.open(version)]) assert.deepEqual(sealKey, made);
  assert.notDeepEqual(await sealing.obtain(`${version}1`), made);
  assert.equal(Buffer.from(await recordOf(store, sealKeyId(version))).includes(Buffer.from(made)), false);
});

test('a purged version never opens again; a missing seal key is not reported as purged (KV-15, CMK-108)', async () => {
  const store = createMemorySealKeyStore();
  const sealing = sealingUnder(store, newMasterKey());
  await sealing.obtain(version);
  await sealing.destroy(version);
  await sealing.destroy(version);
  await assert.rejects(sealing.open(version), hasReason('KEY_PURGED'));
  await assert.rejects(sealing.obtain(version), hasReason('KEY_PURGED'));
  await assert.rejects(sealing.open('never/seen'), hasReason('SEAL_KEY_MISSING'));
});

test('a seal key that was changed, or put under another name, is refused', async () => {
  const store = createMemorySealKeyStore();
  const sealing = sealingUnder(store, newMasterKey());
  await sealing.obtain(version);
  await sealing.obtain('other');
  const record = await recordOf(store, sealKeyId(version));
  await store.replace(sealKeyId('other'), record);
  await assert.rejects(sealing.open('other'), hasReason('SEAL_KEY_CORRUPT'));
  await store.replace(
    sealKeyId(version),
    record.map((byte, at) => (at === 50 ? byte ^ 1 : byte)),
  );
  await assert.rejects(sealing.open(version), hasReason('SEAL_KEY_CORRUPT'));
});

test('a master key rotation may stop after any step: seal keys open all the time, and in the end without the old key', async () => {
  const versions = ['1', '2', '3', '4', '5'];
  const oldKey = newMasterKey();
  const newKey = newMasterKey();
  for (let stopAfter = 0; stopAfter <= versions.length; stopAfter += 1) {
    const store = createMemorySealKeyStore();
    const sealKeys = await Promise.all(versions.map((name) => sealingUnder(store, oldKey).obtain(name)));
    let left = stopAfter;
    const stopping: SealKeyStore = {
      ...store,
      async replace(id, record) {
        if (left === 0) throw new Error('stopped');
        left -= 1;
        await store.replace(id, record);
      },
    };
    const during = sealingUnder(store, newKey, oldKey);
    const stopped = await sealingUnder(stopping, newKey, oldKey).resealAll();
    assert.equal(stopped.failedCount, versions.length - stopAfter);
    assert.deepEqual(await Promise.all(versions.map((version) => during.open(version))), sealKeys);
    const rest = await during.resealAll();
    assert.deepEqual(rest, { resealed: versions.length - stopAfter, upToDate: stopAfter, failedCount: 0 });
    assert.deepEqual(await Promise.all(versions.map((version) => sealingUnder(store, newKey).open(version))), sealKeys);
    await assert.rejects(sealingUnder(store, oldKey).open('1'), hasReason('MASTER_KEY_UNKNOWN'));
  }
});

test('a change of the master key moves every seal key that can be opened, and reports one that cannot', async () => {
  const [oldKey, newKey, lostKey] = [newMasterKey(), newMasterKey(), newMasterKey()];
  const store = createMemorySealKeyStore();
  const versions = ['1', '2', '3', '4'];
  for (const name of versions) await sealingUnder(store, oldKey).obtain(name);
  await store.replace(sealKeyId('1'), new Uint8Array());
  await store.replace(sealKeyId('2'), new Uint8Array(68));
  await sealingUnder(store, lostKey).obtain('lost');
  const sealing = sealingUnder(store, newKey, oldKey);
  const { failure, ...counts } = await sealing.resealAll();
  assert.deepEqual(counts, { resealed: 2, upToDate: 0, failedCount: 3 });
  assert.ok(failure?.sealKey === sealKeyId('1') && hasReason('SEAL_KEY_CORRUPT')(failure.error));
  await assert.rejects(sealing.open('2'), hasReason('SEAL_KEY_CORRUPT'));
  await assert.rejects(sealing.open('lost'), hasReason('MASTER_KEY_UNKNOWN'));
  for (const name of versions.slice(2)) await sealingUnder(store, newKey).open(name);
});

test('a seal key under an unknown master key is found; known, lost and purged seal keys are not', async () => {
  const [oldKey, newKey] = [newMasterKey(), newMasterKey()];
  const store = createMemorySealKeyStore();
  assert.equal(await sealKeyUnderAnother(store, []), undefined);
  await sealingUnder(store, oldKey).obtain('1');
  assert.equal(await sealKeyUnderAnother(store, []), sealKeyId('1'));
  assert.equal(await sealKeyUnderAnother(store, [newKey]), sealKeyId('1'));
  assert.equal(await sealKeyUnderAnother(store, [newKey, oldKey]), undefined);
  await store.replace(sealKeyId('1'), new Uint8Array(68));
  assert.equal(await sealKeyUnderAnother(store, []), undefined, 'what was lost is under no key');
  await sealingUnder(store, newKey).obtain('2');
  assert.equal(await sealKeyUnderAnother(store, [oldKey]), sealKeyId('2'));
  await sealingUnder(store, newKey).destroy('2');
  assert.equal(await sealKeyUnderAnother(store, [oldKey]), undefined);
});

test('a master key is refused if no seal key is under it, and accepted if some are', async () => {
  const [oldKey, newKey] = [newMasterKey(), newMasterKey()];
  const store = createMemorySealKeyStore();
  const open = (current: MasterKey, ...previous: MasterKey[]) => requireMasterKeyOf(store, { current, previous });
  await open(newKey);
  await sealingUnder(store, oldKey).obtain('1');
  const refused = {
    reason: 'MASTER_KEY_UNKNOWN',
    message: /PREVIOUS_MASTER_KEY_FILES/,
    metadata: { seal_key: sealKeyId('1'), master_key: oldKey.id },
  };
  await assert.rejects(open(newKey), refused);
  await open(oldKey);
  await open(newKey, oldKey);
  await sealingUnder(store, newKey, oldKey).obtain('2');
  await open(newKey);
  await store.replace(sealKeyId('1'), new Uint8Array(68));
  await sealingUnder(store, newKey).destroy('2');
  await open(oldKey);
});

test('the master key file: made once with mode 0600, read again, refused when exposed or malformed', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'interlock-master-key-'));
  try {
    const path = join(directory, 'master.key');
    await assert.rejects(readMasterKey(path), hasReason('MASTER_KEY_MISSING'));
    const made = await obtainMasterKey(path, random, async () => undefined);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await obtainMasterKey(path, random, async () => undefined)).id, made.id);
    assert.match(made.id, /^[0-9a-f]{16}$/);
    await chmod(path, 0o640);
    await assert.rejects(readMasterKey(path), hasReason('MASTER_KEY_EXPOSED'));
    await writeFile(join(directory, 'short'), randomBytes(31), { mode: 0o600 });
    await assert.rejects(readMasterKey(join(directory, 'short')), hasReason('MASTER_KEY_MALFORMED'));
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('creating a master key clears the bytes that were passed in', () => {
  const bytes = randomBytes(32);
  masterKey(bytes);
  assert.deepEqual(bytes, Buffer.alloc(32));
});
