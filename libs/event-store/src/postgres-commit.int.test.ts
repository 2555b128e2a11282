import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemClock, systemRandom } from '@interlock/runtime';
import type { Cause } from './cause.ts';
import { openPostgresStore } from './postgres-store.ts';
import { type Commit, CursorConflict, type EventStore, type StreamName, VersionConflict } from './store.ts';
import { createTestDatabase, type TestDatabase } from './test-database.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const append = (stream: StreamName, expected: number) => ({
  stream,
  expected,
  events: [{ type: 'A', schema: 1, data: {} }],
});

let database: TestDatabase;
let stores: readonly EventStore[];
before(async () => {
  database = await createTestDatabase();
  const options = { url: database.url, clock: systemClock, random: systemRandom };
  stores = await Promise.all([openPostgresStore(options), openPostgresStore(options), openPostgresStore(options)]);
});
after(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await database.drop();
});

/** Number of transactions that wait for a lock, here that of the head. */
const waitingForHead = async (): Promise<number> => {
  const [row] = await database.sql<{ count: number }[]>`
    select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  return row?.count ?? 0;
};

test('if processes append to a stream concurrently at the expected version, exactly one succeeds', async () => {
  const outcomes = await database.sql.begin(async (sql) => {
    await sql`select position from head for update`;
    // All have checked the version and wait for the head's lock.
    const racing = Promise.allSettled(
      stores.map((store, n) => store.commit({ appends: [append('race-1', 0), append(`race-own${n}`, 0)] }, cause)),
    );
    while ((await waitingForHead()) < stores.length) await systemClock.sleep(5);
    return { racing };
  });
  const settled = await outcomes.racing;
  assert.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const outcome of settled) {
    if (outcome.status === 'fulfilled') continue;
    assert.ok(outcome.reason instanceof VersionConflict, String(outcome.reason));
    assert.deepEqual(outcome.reason.streams, ['race-1']);
  }
  const [store] = stores;
  assert.equal((await store?.read('race-1'))?.length, 1);
  const stored = await Promise.all(stores.map(async (_, n) => (await store?.read(`race-own${n}`))?.length));
  assert.deepEqual(stored.toSorted(), [0, 0, 1]);
});

test('a version conflict names every stream, whether the expected version is too high or too low', async () => {
  const [store] = stores;
  assert.ok(store);
  await store.commit({ appends: [append('ahead-1', 0), append('behind-1', 0), append('right-1', 0)] }, cause);
  await store.commit({ appends: [append('behind-1', 1)] }, cause);
  const appends = [append('ahead-1', 2), append('behind-1', 1), append('right-1', 1)];
  await assert.rejects(store.commit({ appends }, cause), (error: unknown) => {
    assert.ok(error instanceof VersionConflict);
    assert.deepEqual(error.streams, ['ahead-1', 'behind-1']);
    return true;
  });
});

test('a move of a cursor fails if another process has made the same move', async () => {
  const [store, other] = stores;
  assert.ok(store && other);
  const move = (from: number, to: number) => ({ cursors: [{ name: 'shared', from, to }] });
  for (const [from, to] of [
    [0, 3],
    [3, 8],
  ] as const) {
    await store.commit(move(from, to), cause);
    await assert.rejects(other.commit(move(from, to), cause), CursorConflict);
    await assert.rejects(
      other.commit({ cursors: [{ name: `new${to}`, from: 0, to: 1 }, ...move(from, to).cursors] }, cause),
      (error: unknown) => error instanceof CursorConflict && error.cursor === 'shared',
    );
    assert.equal(await store.cursor(`new${to}`), 0);
  }
});

test('every combination of events, cursors and rows is stored, of one commit and of two in a transaction', async () => {
  const [store] = stores;
  assert.ok(store);
  for (let chosen = 0; chosen < 2 ** kinds.length; chosen++) {
    const has = (kind: (typeof kinds)[number]): boolean => (chosen & (1 << kinds.indexOf(kind))) !== 0;
    // Commits of one turn share a transaction.
    for (const names of [[`alone${chosen}`], [`one${chosen}`, `other${chosen}`]]) {
      await Promise.all(names.map((name) => store.commit({ rows: [oldRow(name)] }, cause)));
      await Promise.all(names.map((name) => store.commit(commitOf(name, kinds.filter(has)), cause)));
      for (const name of names) {
        assert.equal((await store.read(`kinds-${name}`)).length, has('events') ? 1 : 0, name);
        assert.equal(await store.cursor(`kinds-${name}`), has('cursors') ? 7 : 0, name);
        assert.deepEqual(await keysUnder(store, name), has('put') ? [name] : [], name);
        assert.deepEqual(await keysUnder(store, `${name}-old`), has('gone') ? [] : [`${name}-old`], name);
        const left = await store.getRows('kinds_v1', [name, `${name}-old`]);
        assert.equal(left.length, (has('put') ? 1 : 0) + (has('gone') ? 0 : 1), name);
      }
    }
  }
});

const kinds = ['events', 'cursors', 'put', 'gone'] as const;
const entries = (value: string) => [{ index: 'colour', value }];
const oldRow = (name: string) => {
  const key = `${name}-old`;
  return { table: 'kinds_v1', key, row: {}, version: 1, removed: [], added: entries(key) };
};
const commitOf = (name: string, chosen: readonly (typeof kinds)[number][]): Commit => {
  const has = (kind: (typeof kinds)[number]): boolean => chosen.includes(kind);
  const put = { table: 'kinds_v1', key: name, row: { name }, version: 1, removed: [], added: entries(name) };
  const gone = { ...oldRow(name), row: null, version: 2, removed: entries(`${name}-old`), added: [] };
  return {
    appends: has('events') ? [append(`kinds-${name}`, 0)] : [],
    cursors: has('cursors') ? [{ name: `kinds-${name}`, from: 0, to: 7 }] : [],
    rows: [...(has('put') ? [put] : []), ...(has('gone') ? [gone] : [])],
  };
};
const keysUnder = async (store: EventStore, value: string): Promise<readonly string[]> =>
  (await store.listRows({ table: 'kinds_v1', index: { index: 'colour', value }, limit: 9 })).map(({ key }) => key);

test('a commit does not wait for running reads', async () => {
  const [store] = stores;
  assert.ok(store);
  await database.sql
    .begin(async (sql) => {
      // From here on every read of a cursor waits, on every read connection.
      await sql`lock table cursors in access exclusive mode`;
      const reads = Array.from({ length: 40 }, () => store.cursor('none'));
      await store.commit({ appends: [append('beside-reads-1', 0)] }, cause);
      return { reads: Promise.all(reads) };
    })
    .then(({ reads }) => reads);
});
