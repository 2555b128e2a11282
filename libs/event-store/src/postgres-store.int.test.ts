import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { category } from './category.ts';
import type { Cause } from './cause.ts';
import { openPostgresStore } from './postgres-store.ts';
import { type EventStore, type RecordedEvent, StoreUnavailable, VersionConflict } from './store.ts';
import { startMutingProxy } from './test-cut-connections.ts';
import { createTestDatabase, type TestDatabase } from './test-database.ts';
import { lamps, make } from './test-lamps.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };

let database: TestDatabase;
const opened: EventStore[] = [];
const open = async (): Promise<EventStore> => {
  const store = await openPostgresStore({
    url: database.url,
    clock: systemClock,
    pollIntervalMs: 20,
    answerTimeoutMs: 2_000,
  });
  opened.push(store);
  return store;
};
before(async () => {
  database = await createTestDatabase();
});
after(async () => {
  await Promise.all(opened.map((store) => store.close()));
  await database.drop();
});

/** Follows the feed until `done`, and checks that no event is skipped, repeated or out of order. */
const follow = async (
  store: EventStore,
  from: number,
  done: () => Promise<number | undefined>,
): Promise<readonly RecordedEvent[]> => {
  const seen: RecordedEvent[] = [];
  let position = from;
  for (;;) {
    const end = await done();
    for (const event of await store.feed(position, 100)) {
      assert.equal(event.position, position + 1, 'an event was skipped or repeated');
      position = event.position;
      seen.push(event);
    }
    if (end !== undefined && position >= end) return seen;
    await store.waitForEvents(position, AbortSignal.timeout(50));
  }
};

test('G7: a feed reader gets each event once, in order, despite many writers, slow transactions and lost connections', async () => {
  const writers = await Promise.all([open(), open(), open()]);
  const reader = await open();
  const start = await reader.head();
  let finished = false;
  const acknowledged: number[] = [];
  const following = follow(reader, start, async () => (finished ? reader.head() : undefined));

  // Slow transactions that hold the head's lock before they commit or roll back, as a paused replica would.
  const dawdling = (async () => {
    for (let round = 0; round < 10; round++) {
      await database.sql
        .begin(async (sql) => {
          await sql`select position from head for update`;
          await sql`select pg_sleep(0.01)`;
          if (round % 2 === 0) throw new Error('rolled back on purpose');
        })
        .catch((error: Error) => assert.equal(error.message, 'rolled back on purpose'));
    }
  })();
  const killing = (async () => {
    for (let round = 0; round < 5; round++) {
      await systemClock.sleep(15);
      await database.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and query like '/* commit */%' and pid <> pg_backend_pid()`;
    }
  })();
  let unavailable = 0;
  const writing = writers.map(async (store, w) => {
    await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        for (let version = 0; version < 5; ) {
          try {
            const events = [{ type: 'Written', schema: 1, data: { w, n } }];
            const { positions } = await store.commit(
              { appends: [{ stream: `torture-${w}-${n}`, expected: version, events }] },
              cause,
            );
            acknowledged.push(...positions);
            version++;
          } catch (error) {
            // The outcome of a killed commit is unknown: read the stream to find it out.
            if (!(error instanceof StoreUnavailable || error instanceof VersionConflict)) throw error;
            unavailable++;
            version = (await readAnyway(store, `torture-${w}-${n}`)).length;
          }
        }
      }),
    );
  });
  await Promise.all([...writing, dawdling, killing]);
  finished = true;
  const seen = await following;
  assert.equal(seen.length, 3 * 40 * 5, `${unavailable} commits met a killed connection`);
  assert.equal(new Set(acknowledged).size, acknowledged.length, 'two commits were given the same position');
  const positions = new Set(seen.map((event) => event.position));
  for (const position of acknowledged) assert.ok(positions.has(position), 'an acknowledged event is missing');
  const versions = new Map<string, number>();
  for (const event of seen) {
    assert.equal(event.version, (versions.get(event.stream) ?? 0) + 1);
    versions.set(event.stream, event.version);
  }
});

/** Reads a stream although connections are being killed. */
const readAnyway = async (store: EventStore, stream: `torture-${string}`): Promise<readonly RecordedEvent[]> => {
  for (;;) {
    try {
      return await store.read(stream);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
    }
  }
};

test('an event of another process wakes a reader that waits for events', async () => {
  const [one, other] = [await open(), await open()];
  const head = await one.head();
  const waiting = one.waitForEvents(head, new AbortController().signal);
  await other.commit(
    { appends: [{ stream: 'wake-1', expected: 0, events: [{ type: 'A', schema: 1, data: {} }] }] },
    cause,
  );
  assert.equal(await waiting, true);
});

test('a follower of the feed runs before the caller of the commit continues', async () => {
  const store = await open();
  const order: string[] = [];
  const head = await store.head();
  const follow = async (): Promise<void> => {
    await store.waitForEvents(head, new AbortController().signal);
    // More microtasks than a relay needs to reach the bus.
    for (let step = 0; step < 50; step += 1) await Promise.resolve();
    order.push('follower');
  };
  const following = follow();
  await store.commit(
    { appends: [{ stream: 'turn-1', expected: 0, events: [{ type: 'A', schema: 1, data: {} }] }] },
    cause,
  );
  order.push('caller');
  await following;
  assert.deepEqual(order, ['follower', 'caller']);
});

test('the last page of a prefix reads none of the many rows after the prefix', async () => {
  const own = await createTestDatabase();
  const { sql } = own;
  try {
    const first = await openPostgresStore({ url: own.url, clock: systemClock });
    await first.close();
    await sql`insert into rows (table_name, key, row, version)
      select 'pages_v1', (case when n <= 20 then 'a/' else 'b/' end) || lpad(n::text, 6, '0'), '{}', 1
      from generate_series(1, 5000) as n`;
    // A generic plan, as after some uses of a prepared statement: the planner does not know the value of the prefix.
    await sql.unsafe(`alter database ${new URL(own.url).pathname.slice(1)} set plan_cache_mode = force_generic_plan`);
    const store = await openPostgresStore({ url: own.url, clock: systemClock });
    const page = await store.listRows({ table: 'pages_v1', prefix: 'a/', after: 'a/000010', limit: 100 });
    assert.equal(page.length, 10);
    // The server counts the reads of a connection when it ends.
    await store.close();
    let entriesRead = 0;
    while (entriesRead < page.length) {
      const [counted] = await sql<{ entries: number }[]>`
        select idx_tup_read::integer as entries from pg_stat_user_indexes where indexrelname = 'rows_pkey'`;
      entriesRead = counted?.entries ?? 0;
    }
    assert.ok(entriesRead < 100, `${entriesRead} entries of the index were read`);
  } finally {
    await own.drop();
  }
});

test('rows are listed by prefix in a database with encoding SQL_ASCII too', async () => {
  const plain = await createTestDatabase('SQL_ASCII');
  const store = await openPostgresStore({ url: plain.url, clock: systemClock });
  try {
    const row = (key: string) => ({ table: 'odd_v1', key, row: {}, version: 0, removed: [], added: [] });
    const keys = ['a/', 'a/1', 'a/é', 'a/\u{10fffe}', 'b/1'];
    await store.commit({ rows: keys.map(row) }, cause);
    const found = await store.listRows({ table: 'odd_v1', prefix: 'a/', limit: 10 });
    assert.deepEqual(
      found.map(({ key }) => key),
      keys.slice(0, 4),
    );
  } finally {
    await store.close();
    await plain.drop();
  }
});

test('a commit that the database refuses fails alone; others of its transaction are stored', async () => {
  const store = await open();
  const bad = { table: 'odd_v1', key: 'nul \u0000 character', row: {}, version: 0, removed: [], added: [] };
  const [good, refused, other] = await Promise.allSettled([
    store.commit(
      { appends: [{ stream: 'alone-1', expected: 0, events: [{ type: 'A', schema: 1, data: {} }] }] },
      cause,
    ),
    store.commit({ rows: [bad] }, cause),
    store.commit(
      { appends: [{ stream: 'alone-2', expected: 0, events: [{ type: 'A', schema: 1, data: {} }] }] },
      cause,
    ),
  ]);
  assert.deepEqual([good?.status, refused?.status, other?.status], ['fulfilled', 'rejected', 'fulfilled']);
  assert.equal((await store.read('alone-2')).length, 1);
});

test('200 concurrent commits share at most 3 transactions', async () => {
  const store = await open();
  const before = await transactionsWritten();
  await Promise.all(
    Array.from({ length: 200 }, (_, n) =>
      store.commit(
        { appends: [{ stream: `group-${n}`, expected: 0, events: [{ type: 'A', schema: 1, data: {} }] }] },
        cause,
      ),
    ),
  );
  const used = new Set(await transactionsWritten()).size - new Set(before).size;
  assert.ok(used <= 3, `200 concurrent commits took ${used} transactions`);
});

const transactionsWritten = async (): Promise<readonly string[]> =>
  (await database.sql<{ xmin: string }[]>`select distinct xmin::text from events`).map((row) => row.xmin);

test('a server without space refuses a commit as StoreUnavailable and says so, reads go on, and the commit can be repeated', async (t) => {
  const store = await open();
  t.after(() => store.close());
  const append = { stream: 'lamp-full', expected: 0, events: [{ type: 'Made', schema: 1, data: {} }] } as const;
  await database.sql`create function refuse_full() returns trigger language plpgsql as $$ begin
    raise exception 'could not extend file "base/1/2": No space left on device' using errcode = 'disk_full'; end $$`;
  await database.sql`create trigger full_disk before insert on events execute function refuse_full()`;
  await assert.rejects(store.commit({ appends: [append] }, cause), (error) => {
    assert.ok(error instanceof StoreUnavailable && error.isFull);
    assert.match(error.message, /no space left: could not extend file "base\/1\/2"/);
    return true;
  });
  assert.deepEqual(await store.read('lamp-full'), []);
  await database.sql`drop trigger full_disk on events`;
  await store.commit({ appends: [append] }, cause);
  assert.equal((await store.read('lamp-full')).length, 1);
});

test('an unreachable server is reported as StoreUnavailable', async () => {
  const nowhere = new URL(database.url);
  nowhere.port = '1';
  await assert.rejects(openPostgresStore({ url: nowhere.href, clock: systemClock }), StoreUnavailable);
});

test('a row that a commit removes during its rebuild stays removed', async () => {
  const store = await open();
  const lamp = category(store, lamps);
  await lamp.transact('a', make('hall'), cause);
  await database.sql`delete from rows where table_name = 'lamp_v1'`;
  const waitingForUs = async (): Promise<boolean> => {
    const [{ count } = { count: 0 }] = await database.sql<{ count: number }[]>`
      select count(*) from pg_locks where relation = 'rows'::regclass and not granted`;
    return count > 0;
  };
  const renewing = await database.sql.begin(async (sql) => {
    // The first half of a commit that breaks the lamp: there is no row to remove.
    await sql`delete from rows where table_name = 'lamp_v1' and key = 'a' and version <= 2`;
    const renewed = lamp.renew(['a']);
    while (!(await waitingForUs())) await systemClock.sleep(5);
    await sql`
      with head_moved as (update head set position = position + 1 returning position)
      insert into events select position, 'lamp-a', 2, 'LampBroken', 1, '{}', '{"id":"e"}', 0 from head_moved`;
    return { renewed };
  });
  assert.equal(await renewing.renewed, 0);
  assert.deepEqual((await lamp.list({ limit: 1 })).items, []);
});

test('the feed from memory equals the stored feed, also with events of another process in between', async () => {
  const [one, other] = await Promise.all([open(), open()]);
  const start = await one.head();
  const lit = (n: number, store: EventStore): Promise<unknown> =>
    store.commit(
      {
        appends: [
          {
            stream: `lamp-feed-${n}`,
            expected: 0,
            events: [
              {
                type: 'LampMade',
                schema: 1,
                data: { text: 'a "quoted"\nline, \\ and ü', list: [1, null, { deep: true }] },
              },
              { type: 'LampLit', schema: 2, data: {} },
            ],
          },
        ],
      },
      n % 2 === 0 ? cause : { ...cause, caller: 'principals/"other"', traceparent: '00-aa-bb-01' },
    );
  // At once, so that commits with two causes share a transaction; then alternating with another process.
  await Promise.all([1, 2, 3].map((n) => lit(n, one)));
  for (const n of [4, 5, 6]) await lit(n, n % 2 === 0 ? other : one);
  const fed: RecordedEvent[] = [];
  while (fed.length < 12) fed.push(...(await one.feed(start + fed.length, 5)));
  const reader = await open();
  assert.deepEqual(fed, await reader.feed(start, 12));
});

test('a commit with a line break in a name is refused alone, and nothing of it is stored', async () => {
  const store = await open();
  const start = await store.head();
  const append = (stream: `lamp-${string}`) => ({
    appends: [{ stream, expected: 0, events: [{ type: 'LampMade', schema: 1, data: {} }] }],
  });
  const outcomes = await Promise.allSettled([
    store.commit(append('lamp-whole'), cause),
    store.commit(append('lamp-two\nlines'), cause),
    store.commit(
      { rows: [{ table: 'lamp_v1', key: 'two\nlines', row: {}, version: 1, removed: [], added: [] }] },
      cause,
    ),
  ]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected'],
  );
  assert.deepEqual(
    (await store.feed(start, 10)).map(({ stream }) => stream),
    ['lamp-whole'],
  );
});

test('the first query of a connection may have a list of keys as its parameter', async () => {
  const store = await open();
  const lamp = category(store, lamps);
  await lamp.transact('first', make('hall'), cause);
  // More concurrent queries than connections.
  const found = await Promise.all(
    Array.from({ length: 12 }, () => store.getRows(lamp.table.table, ['first', 'none', 'with\na "line"'])),
  );
  for (const rows of found)
    assert.deepEqual(
      rows.map(({ key }) => key),
      ['first'],
    );
});

test('G2: a store closes a connection that returns nothing, and sends the next call over a new one', async (t) => {
  const url = new URL(database.url);
  const proxy = await startMutingProxy(url.hostname, Number(url.port || '5432'));
  url.hostname = '127.0.0.1';
  url.port = String(proxy.port);
  const answerTimeoutMs = 2_000;
  const store = await openPostgresStore({ url: url.href, clock: systemClock, answerTimeoutMs });
  t.after(() => {
    proxy.close();
    return store.close();
  });
  const commit = (stream: `lamp-${string}`) =>
    store.commit({ appends: [{ stream, expected: 0, events: [{ type: 'LampMade', schema: 1, data: {} }] }] }, cause);
  await commit('lamp-heard');
  proxy.mute();
  await Promise.all([
    assert.rejects(commit('lamp-unheard'), StoreUnavailable),
    assert.rejects(store.cursor('none'), StoreUnavailable),
  ]);
  await Promise.all([commit('lamp-heard-again'), store.cursor('none')]);
});
