import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cause, memoryStore, type RowChange } from '@interlock/event-store';
import { virtualClock } from '@interlock/runtime';
import { createKeyAccess } from './key-access.ts';
import { SetFacts } from './set-facts.ts';
import { openLossTable } from './set-losses.ts';
import { openOptionTable, SetOptions } from './set-options.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const key = { set: 'set', keyVersion: 'one' };
const other = { set: 'set', keyVersion: 'two' };
const loss = (accessEpoch: number) => ({ reason: 'KEY_DISABLED', since: 1, traceId: 't', accessEpoch }) as const;

const openWorld = () => {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const losses = openLossTable(store);
  return {
    losses,
    keep: async (row: RowChange | undefined) => {
      assert.ok(row);
      await store.commit({ rows: [row] }, cause);
    },
    /** The key access that a restarted service recalls. */
    recalled: async () => {
      const keyAccess = createKeyAccess(clock, { ttlMs: 10_000 });
      const tables = { losses, options: openOptionTable(store) };
      const leases = { isUsed: () => false };
      await new SetFacts({ keyAccess, leases, options: new SetOptions(), tables, clock }).recall(() => true);
      return keyAccess;
    },
  };
};

test('a restarted service recalls every published loss and deleted identity', async () => {
  const { losses, keep, recalled } = openWorld();
  await keep(await losses.lost(key, loss(5)));
  await keep(await losses.lost(other, { ...loss(6), reason: 'IDENTITY_DELETED', principal: 'principals/old' }));
  await keep(await losses.lost({ ...key, set: 'another' }, loss(7)));
  const access = await recalled();
  assert.deepEqual([access.lossOf(key)?.accessEpoch, access.lossOf({ ...key, set: 'another' })?.accessEpoch], [5, 7]);
  const { reason, since, traceId, principal } = access.lossOf(other) ?? {};
  assert.deepEqual([reason, since, traceId, principal], ['IDENTITY_DELETED', 1, 't', 'principals/old']);
});

test('G10: a restarted service recalls the event, the correlation id and the trace of a loss', async () => {
  const { losses, keep, recalled } = openWorld();
  const origin = { event: 'set-s@5', correlationId: 'c', traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` };
  await keep(await losses.lost(key, { ...loss(5), ...origin }));
  const { event, correlationId, traceparent } = (await recalled()).lossOf(key) ?? {};
  assert.deepEqual({ event, correlationId, traceparent }, origin);
});

test('a loss that is over is not recalled, and the row of a set is removed with its last loss', async () => {
  const { losses, keep, recalled } = openWorld();
  await keep(await losses.lost(key, loss(5)));
  assert.equal(await losses.restored(other), undefined, 'a restore without a loss changes nothing');
  assert.equal(await losses.restored({ ...key, set: 'another' }), undefined);
  await keep(await losses.lost(other, loss(6)));
  await keep(await losses.restored(key));
  const access = await recalled();
  assert.deepEqual([access.lossOf(key), access.lossOf(other)?.accessEpoch], [undefined, 6]);
  await keep(await losses.restored(other));
  assert.equal(await losses.forgotten('set'), undefined, 'there is no row any more');
});

test('CMK-39: the losses of a deleted set are forgotten', async () => {
  const { losses, keep, recalled } = openWorld();
  await keep(await losses.lost(key, loss(5)));
  await keep(await losses.lost(other, loss(6)));
  await keep(await losses.forgotten('set'));
  assert.equal((await recalled()).isAnyLost('set'), false);
  assert.equal(await losses.forgotten('set'), undefined);
});

test('the losses of more than 1,000 sets are all recalled', async () => {
  const { losses, keep, recalled } = openWorld();
  const sets = Array.from({ length: 1_001 }, (_, n) => `set-${String(n).padStart(4, '0')}`);
  for (const set of sets) await keep(await losses.lost({ ...key, set }, loss(5)));
  const access = await recalled();
  assert.equal(sets.filter((set) => access.isAnyLost(set)).length, sets.length);
});
