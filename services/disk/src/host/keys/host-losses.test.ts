import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryStore } from '@interlock/event-store';
import { systemClock } from '@interlock/runtime';
import { hostLossKey, openHostLossTable } from './host-losses.ts';

const key = {
  set: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/one',
  keyVersion: 'vaults/v/keys/k/versions/1',
};
const loss = { reason: 'KEY_DISABLED', since: 5 } as const;

test('G10: what a host found about a key is stored, and only the rows of that host are removed with it', async () => {
  const store = memoryStore({ clock: systemClock });
  const table = openHostLossTable(store);
  const cause = { correlationId: 'c', causes: [], caller: 'system:disk' };
  for (const host of ['disk-1', 'disk-10']) {
    const row = await table.put(host, key, loss);
    assert.ok(row);
    // The store refuses a name that no server accepts.
    await store.commit({ rows: [row] }, cause);
  }
  for await (const rows of table.removals('disk-1')) await store.commit({ rows }, cause);
  const [gone, kept] = [hostLossKey('disk-1', key), hostLossKey('disk-10', key)];
  assert.deepEqual([...(await table.ofMany([gone, kept])).keys()], [kept]);
});
