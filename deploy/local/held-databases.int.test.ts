import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openConnections } from '@interlock/event-store';
import { createTestDatabase } from '@interlock/event-store/test-database';
import { type DataFolder, openDataFolder } from './data-folder.ts';
import { holdDatabases } from './held-databases.ts';
import { startLocalCloud } from './local-cloud.ts';
import { startPostgres } from './postgres.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const env = { PATH: process.env.PATH, DATABASE_URL: process.env.DATABASE_URL, NATS_URL: process.env.NATS_URL };

test('refuses databases of another data folder before it starts any service', async (t) => {
  const name = `test_${randomBytes(4).toString('hex')}`;
  const database = `${name}_identity`;
  const postgres = await startPostgres(openDataFolder(folder), env);
  t.after(() => postgres.dropDatabases([database]));
  const start = (data: DataFolder) => startLocalCloud({ data, env, name, services: ['identity'] });
  const made = openDataFolder(join(folder, "another's"));
  const other = openDataFolder(join(folder, 'other'));
  const refused = async (why: RegExp) => {
    await assert.rejects(start(other), { name: 'LauncherError', message: why });
    assert.equal(existsSync(other.path('logs', 'identity.log')), false);
  };

  const first = await start(made);
  t.after(first.stop);
  const both = new RegExp(`hold the cloud of ${made.root} on .*, not that of ${other.root}.*INTERLOCK_DATA`);
  await refused(both);
  await first.stop();
  await refused(both);

  // As an older release left them, without a comment that names the data folder.
  const sql = openConnections(postgres.url(database), { maxConnections: 1 });
  await sql`comment on database ${sql(database)} is null`;
  await sql.end();
  await refused(/hold the cloud of another data folder, not that of/);
  const again = await start(made);
  t.after(again.stop);
  await again.stop();
  await refused(both);
});

test("refuses a second launcher on the same databases, also after the server ended the first one's connection", async (t) => {
  const database = await createTestDatabase();
  t.after(() => database.drop());
  const holder = { folder: '/first', administratorId: 'one' };
  const release = await holdDatabases(database.url, holder);
  t.after(release);
  const copy = () => holdDatabases(database.url, { ...holder, folder: '/copy' });
  const message = /A cloud is already running on the databases .*started from \/first on .* give \/copy a DATABASE_URL/;
  await assert.rejects(copy(), { name: 'LauncherError', message });

  const holders = () => database.sql<{ pid: number }[]>`
    select pid from pg_locks where locktype = 'advisory' and granted
       and database = (select oid from pg_database where datname = current_database())`;
  const [before] = await holders();
  assert.ok(before !== undefined);
  await database.sql`select pg_terminate_backend(${before.pid})`;
  for (;;) {
    const [now] = await holders();
    if (now !== undefined && now.pid !== before.pid) break;
    await delay(20, undefined, { signal: t.signal });
  }
  await assert.rejects(copy(), { name: 'LauncherError', message });

  await release();
  const next = await copy();
  await next();
});
