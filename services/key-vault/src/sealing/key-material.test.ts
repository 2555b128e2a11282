import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { category, memoryStore } from '@interlock/event-store';
import { systemRandom as random, systemClock } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { createVersion, purge, remove, restore } from '../key/decider.ts';
import { keys as keyStreams } from '../key/key.ts';
import { SimulatedRsa } from '../rsa/simulated-rsa.ts';
import { hasPrivateKeys, KeyMaterial } from './key-material.ts';
import { createMemorySealKeyStore } from './seal-key-store.ts';
import { Sealing } from './sealing.ts';

const key = 'vaults/v/keys/k';
const version = '1'.repeat(32);
const materialId = `${key}/versions/${version}`;
const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const hourMs = 3_600_000;

const newWorld = () => {
  const time = { now: 10 * hourMs };
  const clock = { ...systemClock, now: () => time.now };
  const store = memoryStore({ clock });
  const sealing = new Sealing({
    store: createMemorySealKeyStore(),
    masterKeys: { current: masterKey(random.bytes(32)), previous: [] },
    random,
  });
  const engine = new SimulatedRsa({ sealing, random });
  const keys = category(store, keyStreams);
  return { time, store, keys, engine, sealing, material: new KeyMaterial({ store, keys, sealing, engine, clock }) };
};
let world = newWorld();
beforeEach(() => {
  world = newWorld();
});

/** What a creation does before its event. */
const makeMaterial = async () => {
  const made = await world.engine.generate(materialId, 2048);
  await world.material.store(key, version, materialId, made.sealedPrivateKey, cause);
  const { n, e } = made.publicJwk;
  return { version, materialId, bits: 2048, n, e, origin: 'generated' } as const;
};
const makeVersion = async () => {
  const attributes = { enabled: true, operations: [], tags: {} };
  await world.keys.transact(
    key,
    createVersion(0, { requestId: 'r', digest: '' }, { ...(await makeMaterial()), ...attributes }),
    cause,
  );
};

test('a private key whose creation crashed before its event is swept after one hour', async () => {
  assert.equal(await hasPrivateKeys(world.store), false);
  await makeMaterial();
  assert.equal(await hasPrivateKeys(world.store), true);
  world.time.now += hourMs - 1;
  assert.deepEqual(await world.material.sweep(cause), { destroyed: 0 });
  world.time.now += 1;
  assert.deepEqual(await world.material.sweep(cause), { destroyed: 1 });
  await assert.rejects(world.sealing.open(materialId), { reason: 'KEY_PURGED' });
  await assert.rejects(world.material.sealed(materialId), { code: 'DATA_LOSS', reason: 'KEY_MATERIAL_MISSING' });
});

test('the private key of a version is never swept, even if it is old or its key is deleted', async () => {
  await makeVersion();
  world.time.now += 1_000 * hourMs;
  assert.deepEqual(await world.material.sweep(cause), { destroyed: 0 });
  await world.keys.transact(key, remove(0, 1), cause);
  assert.deepEqual(await world.material.sweep(cause), { destroyed: 0 });
  await world.sealing.open(materialId);
});

test('KV-28: a purge that was cut short after its event is finished by the next sweep', async () => {
  await makeVersion();
  await world.keys.transact(key, remove(0, 1), cause);
  await world.keys.transact(key, purge(0, false), cause);
  assert.deepEqual(await world.material.sweep(cause), { destroyed: 1 });
  await assert.rejects(world.sealing.open(materialId), { reason: 'KEY_PURGED' });
  assert.deepEqual(await world.material.sweep(cause), { destroyed: 0 });
});

test('G8, KV-28: a use that was judged before a purge loads no private key once the purge is stored', async () => {
  await makeVersion();
  await world.keys.transact(key, remove(0, 1), cause);
  const judged = world.material.rsaKey({ materialId, n: '', e: '' }, { tenant: 'tenants/t' });
  // DEKs can still be moved away from a deleted key, with its owner's authorization.
  await judged.sealedPrivateKey();
  await world.keys.transact(key, purge(0, false), cause);
  await assert.rejects(
    judged.sealedPrivateKey(),
    { reason: 'KEY_EVICTED' },
    'the purge is stored, the key is not destroyed yet',
  );
  await world.material.destroyPurged(key, cause);
  await assert.rejects(judged.sealedPrivateKey(), { reason: 'KEY_EVICTED' });
});

test('a purge destroys only the versions that were purged, not one that is about to be created', async () => {
  await makeVersion();
  await world.keys.transact(key, remove(0, 1), cause);
  await world.keys.transact(key, purge(0, false), cause);
  const coming = `${key}/versions/${'2'.repeat(32)}`;
  const made = await world.engine.generate(coming, 2048);
  await world.material.store(key, '2'.repeat(32), coming, made.sealedPrivateKey, cause);
  await world.material.destroyPurged(key, cause);
  await assert.rejects(world.sealing.open(materialId), { reason: 'KEY_PURGED' });
  await world.sealing.open(coming);
});

test('KV-29: a purge destroys what was purged, and not the same version that is about to be restored', async () => {
  await makeVersion();
  await world.keys.transact(key, remove(0, 1), cause);
  await world.keys.transact(key, purge(0, false), cause);
  // As a restore does before its event: the same version, its private key under another name.
  const coming = `${materialId}#r2`;
  const made = await world.engine.generate(coming, 2048);
  await world.material.store(key, version, coming, made.sealedPrivateKey, cause);
  await world.material.destroyPurged(key, cause);
  assert.deepEqual(await world.material.sweep(cause), { destroyed: 0 });
  await assert.rejects(world.sealing.open(materialId), { reason: 'KEY_PURGED' });
  await world.sealing.open(coming);
  await world.material.sealed(coming);
  // The private key of a restore that did not finish is swept like any other.
  world.time.now += hourMs;
  assert.deepEqual(await world.material.sweep(cause), { destroyed: 1 });
});

test('KV-28, KV-29: a purge of a restored key destroys its private key too', async () => {
  await makeVersion();
  await world.keys.transact(key, remove(0, 1), cause);
  await world.keys.transact(key, purge(0, false), cause);
  const { n, e } = (await world.engine.generate(materialId, 2048)).publicJwk;
  const coming = `${materialId}#r2`;
  const made = await world.engine.generate(coming, 2048);
  await world.material.store(key, version, coming, made.sealedPrivateKey, cause);
  const attributes = { enabled: true, operations: [], tags: {}, createdAt: 0, updatedAt: 0 };
  const restored = { version, materialId: coming, bits: 2048, n, e, origin: 'generated', ...attributes } as const;
  await world.keys.transact(key, restore(0, 'r2', [restored]), cause);
  await world.material.destroyPurged(key, cause);
  await world.sealing.open(coming);
  await world.keys.transact(key, remove(0, 1), cause);
  await world.keys.transact(key, purge(0, false), cause);
  await world.material.destroyPurged(key, cause);
  await assert.rejects(world.sealing.open(coming), { reason: 'KEY_PURGED' });
});
