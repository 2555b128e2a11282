import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { createMemorySealKeyStore } from '../sealing/seal-key-store.ts';
import { newVault, startVaultCloud, until, type VaultCloud } from '../testing/test-vault-cloud.ts';

/** Private keys that each replica's engine evicted, in the order in which the replicas started. */
const forgotten: string[][] = [];
/** How many purges the store of seal keys will still fail. */
let outages = 0;
let world: VaultCloud;
before(async () => {
  const sealKeys = createMemorySealKeyStore();
  const destroy: typeof sealKeys.destroy = async (id) => {
    if (outages === 0) return sealKeys.destroy(id);
    outages -= 1;
    throw new Error('the seal keys are away');
  };
  world = await startVaultCloud({
    settings: { sealKeys: { ...sealKeys, destroy } },
    engine: (engine) => {
      const own: string[] = [];
      forgotten.push(own);
      return {
        ...engine,
        async evict(materialId) {
          await engine.evict(materialId);
          own.push(materialId);
        },
      };
    },
  });
  await world.newReplica();
});
after(() => world.close());

const algorithm = 'RSA_OAEP_256';
const usedKey = async () => {
  const parent = await newVault(world);
  const { name: version } = await world.vault().createKey({ parent, keyId: 'k', requestId: randomUUID() });
  const { wrappedKey } = await world.vault().wrapKey({ name: version, algorithm, plaintextKey: Buffer.alloc(32, 1) });
  await world.vault().unwrapKey({ name: version, algorithm, wrappedKey });
  const [created] = await world.store.read(`key-${parent}/keys/k`);
  return { parent, name: `${parent}/keys/k`, version, materialId: String(created?.data.materialId) };
};
/** Whether its sealed bytes are still in the store. */
const isLeft = async (materialId: string): Promise<boolean> => {
  const rows = await world.database
    .sql`select key from rows where table_name = 'key_material_v1' and key = ${materialId}`;
  return rows.length > 0;
};
/** Waits until every replica has evicted the key at least so many times. */
const forgottenByAll = (materialId: string, times: number) =>
  until(async () => forgotten.every((own) => own.filter((one) => one === materialId).length >= times));

test('KV-12, KV-14: every replica evicts the private key of a version that is disabled or deleted', async () => {
  assert.equal(forgotten.length, 2);
  const { name, version, materialId } = await usedKey();
  await world.vault().disableKeyVersion({ name: version });
  await forgottenByAll(materialId, 1);
  await world.vault().enableKeyVersion({ name: version });
  await world.vault().deleteKey({ name, confirmName: name });
  await forgottenByAll(materialId, 2);
});

test('KV-28, G8: a purge removes the sealed private key from the store, and every replica evicts the key again', async () => {
  const { name, version, materialId } = await usedKey();
  await world.vault().deleteKey({ name, confirmName: name });
  await forgottenByAll(materialId, 1);
  await world.vault().purgeKey({ name, confirmName: name });
  await forgottenByAll(materialId, 2);
  await assert.rejects(world.vault().checkAccess({ keyVersion: version }), { reason: 'KEY_PURGED' });
  assert.equal(await isLeft(materialId), false);
});

test('KV-28, G8: if a requested purge cannot destroy the seal key, the service retries without another request', async () => {
  const { name, materialId } = await usedKey();
  await world.vault().deleteKey({ name, confirmName: name });
  outages = 1;
  await assert.rejects(world.vault().purgeKey({ name, confirmName: name }));
  assert.deepEqual([outages, await isLeft(materialId)], [0, true]);
  await until(async () => !(await isLeft(materialId)));
});

test('KV-66, G8: when a vault is purged, every replica evicts its keys, also those never deleted on their own', async () => {
  const { parent, materialId } = await usedKey();
  await world.vault().deleteVault({ name: parent, confirmName: parent });
  await world.vault().purgeVault({ name: parent, confirmName: parent });
  await forgottenByAll(materialId, 1);
});
