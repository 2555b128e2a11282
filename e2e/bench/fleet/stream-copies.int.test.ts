import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { category, type EventStore, openPostgresStore } from '@interlock/event-store';
import { createTestDatabase, type TestDatabase } from '@interlock/event-store/test-database';
import { systemClock, systemRandom } from '@interlock/runtime';
import { seedCause } from './seed-cause.ts';
import { streamCopies } from './stream-copies.ts';

type Lamp = { readonly name: string; readonly uses: number };
type LampEvent = { readonly type: 'LampUsed'; readonly name: string };

let database: TestDatabase;
let store: EventStore;
before(async () => {
  database = await createTestDatabase();
  store = await openPostgresStore({ url: database.url, clock: systemClock, random: systemRandom });
});
after(async () => {
  await store.close();
  await database.drop();
});

test('a copy is what the decisions would have stored: events, row, index, positions without holes', async () => {
  const lamps = category<Lamp, LampEvent>(store, {
    name: 'lamp',
    stateVersion: 1,
    initial: { name: '', uses: 0 },
    evolve: ({ uses }, { name }) => ({ name, uses: uses + 1 }),
    indexes: ({ name }) => [
      { index: 'name', value: name },
      { index: 'kind', value: 'lamp' },
    ],
  });
  const use = (name: string): LampEvent => ({ type: 'LampUsed', name });
  await lamps.transact('r/l1', () => [use('l1'), use('l1')], seedCause());
  const original = { id: 'r/l1', texts: ['l1'] };
  await streamCopies(
    database.sql,
    lamps.table,
  )(['l2', 'l3'].map((name) => ({ original, id: `r/${name}`, texts: [name] })));
  assert.deepEqual(await lamps.load('r/l3'), { id: 'r/l3', state: { name: 'l3', uses: 2 }, version: 2 });
  assert.equal(await lamps.renew(['r/l2', 'r/l3']), 0, 'rows are as new as their streams');
  const found = await lamps.list({ index: { index: 'name', value: 'l2' }, limit: 10 });
  assert.deepEqual(
    found.items.map(({ id }) => id),
    ['r/l2'],
  );
  const all = await lamps.list({ index: { index: 'kind', value: 'lamp' }, limit: 10 });
  assert.equal(all.items.length, 3);
  // What this store has stored itself comes from its memory, and ends there.
  const events = [...(await store.feed(0, 100)), ...(await store.feed(2, 100))];
  assert.deepEqual(
    events.map(({ position, stream, version, data }) => [position, stream, version, data]),
    ['l1', 'l2', 'l3'].flatMap((name, n) =>
      [1, 2].map((version) => [n * 2 + version, `lamp-r/${name}`, version, { name }]),
    ),
  );
  assert.equal(new Set(events.map(({ id }) => id)).size, 6);
  // A decision goes on from a copy as from any stream.
  assert.deepEqual((await lamps.transact('r/l2', () => [use('l2')], seedCause())).positions, [7]);
});
