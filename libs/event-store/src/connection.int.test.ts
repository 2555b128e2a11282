import assert from 'node:assert/strict';
import { channel } from 'node:diagnostics_channel';
import { createServer, type Socket } from 'node:net';
import { after, type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { openConnections, type Sql } from './connection.ts';
import { askThroughCuts, startCuttingProxy } from './test-cut-connections.ts';
import { createTestDatabase } from './test-database.ts';

const database = await createTestDatabase();
after(() => database.drop());

/** A lost query never ends, so its test fails after this time in ms. */
const limit = { timeout: 20_000 };

/** A pool of one connection, and its current socket. */
async function poolOfOne(t: TestContext, url = database.url): Promise<{ sql: Sql; socket(): Socket }> {
  let latest: Socket | undefined;
  const onSocket = (message: unknown) => {
    latest = (message as { socket: Socket }).socket;
  };
  const sockets = channel('net.client.socket');
  sockets.subscribe(onSocket);
  const sql = openConnections(url, { maxConnections: 1, fetchTypes: false });
  t.after(async () => {
    sockets.unsubscribe(onSocket);
    await sql.end({ timeout: 0 });
  });
  return {
    sql,
    socket: () => {
      assert(latest !== undefined);
      return latest;
    },
  };
}

const echo = async (sql: Sql, value: number): Promise<number> => {
  const rows = await sql<{ value: number }[]>`select ${value}::int as value`;
  assert.equal(rows.length, 1);
  return rows[0]?.value ?? Number.NaN;
};

test('G2: after a connection closed with an unwritten query, the next query succeeds', limit, async (t) => {
  const { sql, socket } = await poolOfOne(t);
  assert.equal(await echo(sql, 1), 1);
  // From here on the driver writes in a phase of the event loop that comes after the close.
  await turn();
  socket().destroy();
  await assert.rejects(echo(sql, 2), { code: 'CONNECTION_CLOSED' });
  assert.equal(await echo(sql, 3), 3);
});

test(
  'G2: a query between the error and the close of a connection fails, and no query gets the result of another',
  limit,
  async (t) => {
    const { sql, socket } = await poolOfOne(t);
    assert.equal(await echo(sql, 1), 1);
    await turn();
    const interrupted = echo(sql, 2);
    socket().destroy(new Error('pulled out'));
    const between = interrupted.catch((error: Error) => {
      assert.equal(error.message, 'pulled out');
      assert.equal(socket().destroyed, true);
      return echo(sql, 3);
    });
    await assert.rejects(between, { code: 'CONNECTION_CLOSED' });
    assert.deepEqual(await Promise.all([4, 5, 6].map((value) => echo(sql, value))), [4, 5, 6]);
  },
);

test('the rows of an interrupted result do not appear in the next one', limit, async (t) => {
  const { sql, socket } = await poolOfOne(t);
  assert.equal(await echo(sql, 1), 1);
  // A result of several chunks. The driver receives the first one before this listener.
  const interrupted = sql`select n from generate_series(1, 100000) as n`.execute();
  socket().once('data', () => socket().destroy());
  await assert.rejects(interrupted, { code: 'CONNECTION_CLOSED' });
  assert.equal(await echo(sql, 2), 2);
});

test(
  'G2: if the server closes the connection during the greeting, the query fails with CONNECTION_CLOSED',
  limit,
  async (t) => {
    let greeted = 0;
    const server = createServer((client) => {
      client.on('error', () => undefined);
      client.once('data', () => {
        greeted += 1;
        client.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const address = server.address();
    assert(address !== null && typeof address === 'object');
    const { sql } = await poolOfOne(t, `postgres://absent@127.0.0.1:${address.port}/none`);
    await assert.rejects(echo(sql, 1), { code: 'CONNECTION_CLOSED' });
    assert.equal(greeted, 1);
  },
);

test('a pool ends although its connection is lost during the last query', limit, async (t) => {
  const { sql, socket } = await poolOfOne(t);
  assert.equal(await echo(sql, 1), 1);
  const interrupted = sql`select pg_sleep(10)`.execute();
  const end = sql.end();
  // The end of the pool waits for the query, which has started by then.
  await turn();
  socket().destroy();
  await assert.rejects(interrupted, { code: 'CONNECTION_CLOSED' });
  await end;
});

test('G2: if connections are cut at any moment, each query gets its own result or an error', limit, async (t) => {
  const url = new URL(database.url);
  const proxy = await startCuttingProxy(url.hostname, Number(url.port || '5432'));
  url.hostname = '127.0.0.1';
  url.port = String(proxy.port);
  const sql = openConnections(url.href, { maxConnections: 2 });
  t.after(async () => {
    await sql.end({ timeout: 0 });
    proxy.close();
  });
  await askThroughCuts(sql);
  proxy.calm();
  // The next query on a connection gets the error of its last cut.
  while ((await echo(sql, 7).catch(() => undefined)) !== 7);
});
