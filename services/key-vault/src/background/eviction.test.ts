import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cause, category, type EventStore, memoryStore, StoreUnavailable } from '@interlock/event-store';
import { virtualClock } from '@interlock/runtime';
import { createVersion, purge, remove } from '../key/decider.ts';
import { keys as keyStreams } from '../key/key.ts';
import type { RsaEngine } from '../rsa/rsa.ts';
import { evictUnusable } from './eviction.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const key = 'vaults/v/keys/k';
const materialId = `${key}/versions/${'1'.repeat(32)}`;

test('KV-28, G8: a key that is purged while the store is unavailable is evicted when the store is back', async () => {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const keys = category(store, keyStreams);
  const at = clock.now();
  const material = {
    version: '1'.repeat(32),
    materialId,
    bits: 2_048,
    n: 'bg',
    e: 'AQAB',
    origin: 'generated',
  } as const;
  const request = { ...material, enabled: true, operations: [], tags: {} };
  await keys.transact(key, createVersion(at, { requestId: 'r1', digest: '' }, request), cause);

  let isAway = false;
  const reached: EventStore = {
    ...store,
    async feed(position, limit) {
      if (isAway) throw new StoreUnavailable('away');
      return store.feed(position, limit);
    },
  };
  const forgotten: string[] = [];
  const engine = {
    async evict(id: string) {
      forgotten.push(id);
    },
  };
  const follow = evictUnusable({ store: reached, keys, engine: engine as unknown as RsaEngine });
  const ending = new AbortController();
  const first = follow(ending.signal);
  await clock.pass(0);
  isAway = true;
  await keys.transact(key, remove(at, at), cause);
  await assert.rejects(first, StoreUnavailable);
  await keys.transact(key, purge(at, false), cause);
  isAway = false;
  const second = follow(ending.signal);
  await clock.until(() => forgotten.length > 0);
  ending.abort();
  await second;
  assert.deepEqual(new Set(forgotten), new Set([materialId]));
});
