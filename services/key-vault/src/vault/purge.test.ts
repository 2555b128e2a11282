import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cause, category, memoryStore } from '@interlock/event-store';
import { systemClock as clock, systemRandom as random } from '@interlock/runtime';
import { createVersion } from '../key/decider.ts';
import { keys as keyStreams } from '../key/key.ts';
import { beginPurge, create, remove } from './decider.ts';
import { vaultPurge } from './purge.ts';
import { vaults as vaultStreams } from './vault.ts';

const key = 'vaults/v/keys/k';
const causeOf = (id: string): Cause => ({
  correlationId: id,
  causationId: id,
  caller: `principals/${id}`,
  traceparent: `00-${id.repeat(32)}-${id.repeat(16)}-01`,
});

test('G10, KV-66: whoever finishes the purge of a vault, what it took away goes back to who began it', async () => {
  const store = memoryStore({ clock, random });
  const vaults = category(store, vaultStreams);
  const keys = category(store, keyStreams);
  const destroyed: [key: string, caller: string][] = [];
  const material = {
    keysOf: async () => [key],
    destroyPurged: async (name: string, { caller }: Cause) => void destroyed.push([name, caller]),
  };
  const purge = vaultPurge({ store, clock, vaults, keys, material });
  const wish = {
    tenant: 'tenants/t',
    location: 'l',
    sku: 'standard',
    accessPolicies: {},
    purgeProtected: false,
  } as const;
  const grants = { resourceGroup: 'subscriptions/s/resourceGroups/g', permissionModel: 'access_policy' } as const;
  await vaults.transact('v', create(0, { ...wish, ...grants, retentionDays: 90 }), causeOf('1'));
  const made = { version: 'x', materialId: 'm', bits: 2048, n: '', e: '', origin: 'generated' } as const;
  const attributes = { enabled: true, operations: [], tags: {} } as const;
  await keys.transact(key, createVersion(0, { requestId: 'r', wish: '' }, { ...made, ...attributes }), causeOf('2'));
  await vaults.transact('v', remove(0, 1), causeOf('3'));
  await purge('v');
  assert.equal((await vaults.load('v')).state.status, 'deleted', 'nothing was begun');

  await vaults.transact('v', beginPurge(1), causeOf('4'));
  // The request and a timer at once.
  await Promise.all([purge('v'), purge('v')]);
  const last = async (stream: 'vault-v' | `key-${string}`) => (await store.read(stream)).at(-1);
  const ends = [await last(`key-${key}`), await last('vault-v')];
  assert.deepEqual(
    ends.map((event) => [event?.type, event?.cause]),
    [
      ['KeyPurged', causeOf('4')],
      ['VaultPurged', causeOf('4')],
    ],
  );
  assert.deepEqual(destroyed[0], [key, 'principals/4']);
});
