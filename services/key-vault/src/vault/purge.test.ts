import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cause, category, memoryStore } from '@interlock/event-store';
import { systemClock as clock } from '@interlock/runtime';
import { createVersion, recover, remove as removeKey } from '../key/decider.ts';
import { exists, keys as keyStreams } from '../key/key.ts';
import { create, remove, startPurge } from './decider.ts';
import { vaultPurge } from './purge.ts';
import { vaults as vaultStreams } from './vault.ts';

const key = 'vaults/v/keys/k';
const causeOf = (id: string): Cause => ({
  correlationId: id,
  causes: [],
  caller: `principals/${id}`,
  traceparent: `00-${id.repeat(32)}-${id.repeat(16)}-01`,
});

const request = {
  resourceGroup: 'subscriptions/s/resourceGroups/g',
  tenant: 'tenants/t',
  location: 'l',
  sku: 'standard',
  permissionModel: 'access_policy',
  accessPolicies: {},
  purgeProtected: false,
  retentionDays: 90,
} as const;
const made = { version: 'x', materialId: 'm', bits: 2048, n: '', e: '', origin: 'generated' } as const;
const attributes = { enabled: true, operations: [], tags: {} } as const;

test('G10, KV-66: the losses of a vault purge have the cause of its start, also if another run finishes it', async () => {
  const store = memoryStore({ clock });
  const vaults = category(store, vaultStreams);
  const keys = category(store, keyStreams);
  const destroyed: [key: string, caller: string][] = [];
  const material = {
    keysOf: async () => [key],
    destroyPurged: async (name: string, { caller }: Cause) => void destroyed.push([name, caller]),
  };
  const purge = vaultPurge({ store, clock, vaults, keys, material });
  await vaults.transact('v', create(0, request), causeOf('1'));
  await keys.transact(key, createVersion(0, { requestId: 'r', digest: '' }, { ...made, ...attributes }), causeOf('2'));
  await vaults.transact('v', remove(0, 1), causeOf('3'));
  await purge('v');
  assert.equal((await vaults.load('v')).state.status, 'deleted', 'nothing was begun');

  await vaults.transact('v', startPurge(1), causeOf('4'));
  // The request and a timer at once.
  await Promise.all([purge('v'), purge('v')]);
  const last = async (stream: 'vault-v' | `key-${string}`) => (await store.read(stream)).at(-1);
  const ends = [await last(`key-${key}`), await last('vault-v')];
  assert.deepEqual(
    ends.map((event) => [event?.type, event?.cause]),
    [
      ['KeyPurged', { ...causeOf('4'), causes: [{ id: 'vault-v@3', kind: 'step' }] }],
      ['VaultPurged', { ...causeOf('4'), causes: [{ id: 'vault-v@3', kind: 'step' }] }],
    ],
  );
  assert.deepEqual(destroyed[0], [key, 'principals/4']);
});

test('KV-66: a key that is recovered or deleted while its vault is purged is purged too', async () => {
  for (const [isRecovery, change] of [
    [true, recover(3)],
    [false, removeKey(3, 4)],
  ] as const) {
    const store = memoryStore({ clock });
    const vaults = category(store, vaultStreams);
    const keys = category(store, keyStreams);
    await vaults.transact('v', create(0, request), causeOf('1'));
    await keys.transact(
      key,
      createVersion(0, { requestId: 'r', digest: '' }, { ...made, ...attributes }),
      causeOf('1'),
    );
    if (isRecovery) await keys.transact(key, removeKey(1, 2), causeOf('1'));
    await vaults.transact('v', remove(0, 1), causeOf('1'));
    await vaults.transact('v', startPurge(1), causeOf('1'));
    // Its request was authorized before the vault was deleted, and is stored between two reads of the purge.
    const listAll: typeof keys.listAll = async (query) => {
      const found = await keys.listAll(query);
      await keys.transact(key, (state) => (exists(state) ? change(state) : []), causeOf('2'));
      return found;
    };
    const material = { keysOf: async () => [key], destroyPurged: async () => undefined };
    await vaultPurge({ store, clock, vaults, keys: { ...keys, listAll }, material })('v');
    assert.equal((await vaults.load('v')).state.status, 'purged');
    assert.equal((await keys.load(key)).state.status, 'purged');
  }
});

test('KV-15, G3: a replica that paused during the purge of a vault purges nothing of the next vault of that name', async () => {
  const store = memoryStore({ clock });
  const vaults = category(store, vaultStreams);
  const keys = category(store, keyStreams);
  const material = { keysOf: async () => [key], destroyPurged: async () => undefined };
  const makeBoth = async (materialId: string) => {
    const at = clock.now();
    await vaults.transact('v', create(at, request), causeOf('1'));
    const version = { ...made, materialId, ...attributes };
    await keys.transact(key, createVersion(at, { requestId: materialId, digest: '' }, version), causeOf('1'));
  };
  const beginPurging = async () => {
    await vaults.transact('v', remove(clock.now(), 1), causeOf('1'));
    await vaults.transact('v', startPurge(clock.now()), causeOf('1'));
  };
  await makeBoth('m');
  await beginPurging();
  for (const [isFoundBefore, isPurgedToo] of [
    [true, false],
    [false, false],
    [true, true],
    [false, true],
  ]) {
    const listAll: typeof keys.listAll = async (query) => {
      const found = await keys.listAll(query);
      await clock.sleep(2);
      // Another replica has finished the purge, and the name is used again.
      await vaultPurge({ store, clock, vaults, keys, material })('v');
      await makeBoth(`m ${isFoundBefore} ${isPurgedToo}`);
      if (isPurgedToo) await beginPurging();
      return isFoundBefore ? found : keys.listAll(query);
    };
    await vaultPurge({ store, clock, vaults, keys: { ...keys, listAll }, material })('v');
    assert.equal((await vaults.load('v')).state.status, isPurgedToo ? 'purging' : 'active');
    assert.equal((await keys.load(key)).state.status, 'active');
    if (!isPurgedToo) await beginPurging();
  }
});

test('KV-15, G3: a replica that paused just before it purged the keys it had found purges no key of the next vault', async () => {
  const store = memoryStore({ clock });
  const vaults = category(store, vaultStreams);
  const keys = category(store, keyStreams);
  const material = { keysOf: async () => [key], destroyPurged: async () => undefined };
  const makeBoth = async (materialId: string) => {
    await vaults.transact('v', create(clock.now(), request), causeOf('1'));
    const version = { ...made, materialId, ...attributes };
    await keys.transact(key, createVersion(0, { requestId: materialId, digest: '' }, version), causeOf('1'));
  };
  await makeBoth('m');
  await vaults.transact('v', remove(clock.now(), 1), causeOf('1'));
  await vaults.transact('v', startPurge(clock.now()), causeOf('1'));
  const transactMany: typeof keys.transactMany = async (...purged) => {
    await clock.sleep(2);
    await vaultPurge({ store, clock, vaults, keys, material })('v');
    await makeBoth('of the next');
    return keys.transactMany(...purged);
  };
  await vaultPurge({ store, clock, vaults, keys: { ...keys, transactMany }, material })('v');
  assert.equal((await vaults.load('v')).state.status, 'active');
  assert.equal((await keys.load(key)).state.status, 'active');
});
