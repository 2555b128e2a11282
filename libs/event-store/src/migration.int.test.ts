import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { openConnections, type Sql } from './connection.ts';
import { migrate, OLDEST_READABLE_SCHEMA, SCHEMA_VERSION } from './migration.ts';
import { openPostgresStore } from './postgres-store.ts';
import { createTestDatabase, type TestDatabase } from './test-database.ts';

let database: TestDatabase;
const pools: Sql[] = [];
const replica = (): Sql => {
  const sql = openConnections(database.url, { maxConnections: 1 });
  pools.push(sql);
  return sql;
};
before(async () => {
  database = await createTestDatabase();
});
beforeEach(() => database.sql.unsafe('drop schema public cascade; create schema public'));
after(async () => {
  await Promise.all(pools.map((sql) => sql.end({ timeout: 1 })));
  await database.drop();
});

const probeOf = async (): Promise<string | undefined> =>
  (await database.sql<{ probe: string }[]>`select probe()`)[0]?.probe;
const withProbe = (text: string): Promise<string> =>
  Promise.resolve(`create or replace function probe() returns text language sql as $$ select '${text}' $$`);
const versionNow = async (): Promise<number | undefined> =>
  (await database.sql<{ version: number }[]>`select version from schema_version`)[0]?.version;

test('replicas that start at once on an empty database all open the store', async () => {
  const stores = await Promise.all(
    Array.from({ length: 6 }, () => openPostgresStore({ url: database.url, clock: systemClock, maxConnections: 1 })),
  );
  assert.deepEqual(await Promise.all(stores.map((store) => store.head())), [0, 0, 0, 0, 0, 0]);
  assert.equal(await versionNow(), SCHEMA_VERSION);
  await Promise.all(stores.map((store) => store.close()));
});

test('after replicas of two releases start at once, the database has the schema of the newer release', async () => {
  const [older, newer] = [SCHEMA_VERSION, SCHEMA_VERSION + 1];
  await Promise.all(
    Array.from({ length: 8 }, (_, n) =>
      n % 2 === 0
        ? migrate(replica(), older, withProbe('of the release before'))
        : migrate(replica(), newer, withProbe('of this release')),
    ),
  );
  assert.equal(await probeOf(), 'of this release');
  assert.equal(await versionNow(), newer);
});

test('a replica of an older release that restarts during an update keeps the newer schema', async () => {
  await migrate(replica(), SCHEMA_VERSION + 1, withProbe('of this release'));
  await migrate(replica(), SCHEMA_VERSION, withProbe('of the release before'));
  assert.equal(await probeOf(), 'of this release');
});

test('a store of a release whose events cannot be read is refused and stays unchanged', async () => {
  const former = OLDEST_READABLE_SCHEMA - 1;
  await migrate(replica(), former, withProbe('of the release before'));
  await assert.rejects(
    openPostgresStore({ url: database.url, clock: systemClock, maxConnections: 1 }),
    new RegExp(
      `older release wrote database .* \\(schema ${former}\\).* from ${OLDEST_READABLE_SCHEMA} on\\. Nothing was changed`,
    ),
  );
  assert.equal(await versionNow(), former);
  assert.equal(await probeOf(), 'of the release before');
  const [events] = await database.sql<{ events: string | null }[]>`select to_regclass('events') as events`;
  assert.equal(events?.events, null);
});

test('a failed migration changes neither the version nor the tables', async () => {
  await migrate(replica(), SCHEMA_VERSION, withProbe('good'));
  await assert.rejects(
    migrate(replica(), SCHEMA_VERSION + 1, Promise.resolve('create table half (a integer); select nonsense()')),
  );
  assert.equal(await versionNow(), SCHEMA_VERSION);
  const [half] = await database.sql<{ half: string | null }[]>`select to_regclass('half') as half`;
  assert.equal(half?.half, null);
});

/** A proxy to the database that ends a connection, as a stopping server does, when the client sends `text`. */
const endingAt = async (text: string): Promise<{ readonly url: string; readonly server: Server }> => {
  const { hostname, port } = new URL(database.url);
  const server = createServer((client) => {
    const behind = connect(Number(port), hostname);
    client.on('data', (piece) => {
      if (!piece.includes(text)) behind.write(piece);
      else client.end();
    });
    behind.on('data', (piece) => client.write(piece));
    for (const [one, other] of [
      [client, behind],
      [behind, client],
    ] as const)
      one.on('error', () => undefined).on('close', () => other.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(database.url);
  url.port = String((server.address() as AddressInfo).port);
  return { url: url.href, server };
};

test('a connection that ends during a migration fails it, and does not end the process', async () => {
  const { url, server } = await endingAt('schema_version');
  const cut = openConnections(url, { maxConnections: 1 });
  pools.push(cut);
  await assert.rejects(migrate(cut), { code: 'CONNECTION_CLOSED' });
  // The driver may write in the next turns of the event loop; an exception there fails this test.
  for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate);
  server.close();
  await migrate(replica());
  assert.equal(await versionNow(), SCHEMA_VERSION);
});

test('frequently changed tables have settings for an early vacuum', async () => {
  await migrate(replica());
  const found = await database.sql<{ relname: string; reloptions: string[] }[]>`
    select relname, reloptions from pg_class where relname in ('rows', 'row_index', 'cursors') order by relname`;
  for (const { relname, reloptions } of found)
    assert.ok(reloptions.includes(`autovacuum_vacuum_scale_factor=${relname === 'cursors' ? '0' : '0.02'}`), relname);
});

test('a store that cannot be opened closes its connections', async () => {
  await database.sql`create table schema_version (nonsense integer)`;
  const connections = async (): Promise<number | undefined> => {
    const [row] = await database.sql<{ count: number }[]>`
      select count(*) from pg_stat_activity where datname = current_database()`;
    return row?.count;
  };
  const before = await connections();
  await assert.rejects(openPostgresStore({ url: database.url, clock: systemClock }), /version/);
  while ((await connections()) !== before) await systemClock.sleep(5);
});
