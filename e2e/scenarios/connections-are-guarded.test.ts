import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openConnections, openPostgresStore, StoreUnavailable } from '@interlock/event-store';
import { askThroughCuts, startCuttingProxy } from '@interlock/event-store/test-cut-connections';
import { makeAuthority, type Pair, pemOf } from '@interlock/local/certificates.ts';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, type LocalCloudOptions, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { databaseOf, type ServiceName, serviceNames } from '@interlock/local/services.ts';
import { ensureStreams } from '@interlock/messaging';
import { systemClock as clock, renewable } from '@interlock/runtime';
import { openOutside, patient } from '../cloud/clients.ts';
import { type GuardedPostgres, startGuardedPostgres } from '../cloud/guarded-postgres.ts';
import { withoutTelemetry } from '../cloud/test-cloud.ts';
import { makeWorld, startAgain, untilPower } from '../cloud/world.ts';
import { textOf } from '../docs/sources.ts';
import { type OverlayNats, startOverlayNats } from '../kubernetes/nats-servers.ts';
import { objectsIn, render } from '../kubernetes/render.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-'));
const fileWith = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
};
let authority: Pair;
let stranger: string;
let nats: OverlayNats;
let postgres: GuardedPostgres;
before(async () => {
  authority = await makeAuthority(Date.now());
  stranger = (await pemOf(await makeAuthority(Date.now()))).certificate;
  const production = await render('production');
  const rules =
    production.find(({ kind }) => kind === 'Cluster')?.spec.postgresql?.pg_hba ?? assert.fail('no rule for Postgres');
  nats = await startOverlayNats(production, join(folder, 'nats'), authority);
  await ensureStreams(
    { servers: nats.urls, caFile: nats.caFile, seed: nats.users.operator.seed, inboxPrefix: '_INBOX_operator' },
    { services: serviceNames, replicas: 3, bytesMax: 16 * 1024 ** 2 },
    { clock, patienceMs: 30_000 },
  );
  mkdirSync(join(folder, 'postgres'));
  postgres = await startGuardedPostgres(join(folder, 'postgres'), authority, rules);
  await postgres.createDatabases(['store', ...serviceNames.map((service) => databaseOf('guarded', service))]);
});
after(async () => {
  await postgres?.stop();
  await nats?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A cloud whose services connect to NATS and Postgres as in production. */
const guardedCloud = (name: string, changes: Readonly<Record<string, string>>, services?: readonly ServiceName[]) => {
  const data = join(folder, `${name}-cloud`);
  mkdirSync(data);
  const options: LocalCloudOptions = {
    data: openDataFolder(data),
    // Servers without TLS run too, but receive no connections.
    env: process.env,
    name: `t${randomBytes(4).toString('hex')}`,
    temporary: true,
    ...(services === undefined ? {} : { services }),
    settings: {
      ...withoutTelemetry,
      NATS_URL: nats.urls.join(','),
      NATS_CA_FILE: nats.caFile,
      NATS_NAMESPACE: '',
      NATS_STREAM_BYTES_MAX: String(16 * 1024 ** 2),
      DATABASE_CA_FILE: fileWith('postgres-ca.crt', postgres.ca),
    },
    settingsOf: (service) => ({
      NATS_STREAM_REPLICAS: '3',
      NATS_SEED_FILE: fileWith(`${service}.seed`, nats.users[service].seed),
      DATABASE_URL: `${postgres.url(databaseOf('guarded', service))}?sslmode=verify-full`,
      ...changes,
    }),
  };
  return startLocalCloud(options);
};

test("G2, G5: with TLS to NATS and Postgres and production's permissions, a revoked key stops machines and they start again", async () => {
  const cloud: LocalCloud = await guardedCloud('whole', {});
  const outside = openOutside(cloud, patient);
  try {
    const clients = outside.administrator;
    const world = await makeWorld(clients, [['PREMIUM_SSD'], ['STANDARD_SSD', 'platform']]);
    await clients.keyVault.disableKeyVersion({ name: world.keyVersion });
    for (const name of world.machines) await untilPower(clients, name, 'STOPPED');
    await clients.keyVault.enableKeyVersion({ name: world.keyVersion });
    await startAgain(clients, world.set, world.machines);
    for (const service of serviceNames) {
      const { failingSince } = await clients.messaging(service).getRelay({});
      assert.equal(failingSince, undefined, `${service} publishes its facts`);
      // A missing permission shows nowhere else: services then read facts from their source, seconds later.
      const log = readFileSync(join(folder, `whole-cloud/logs/${service}.log`), 'utf8');
      assert.match(log, /settings/);
      assert.doesNotMatch(log, /NATS does not permit that|subscription is set up again(?!.*TimeoutError)/);
    }
  } finally {
    outside.close();
    await cloud.stop();
  }
});

test('a missing or wrong file, password or authority ends the start with an error that names it', async () => {
  for (const [name, changes, problem] of [
    ['no-seed', { NATS_SEED_FILE: '/nowhere/seed' }, /NATS_SEED_FILE: got .*ENOENT/],
    ['no-authority', { DATABASE_CA_FILE: '/nowhere/ca.crt' }, /DATABASE_CA_FILE: got .*ENOENT/],
    ['empty', { NATS_CA_FILE: fileWith('empty', '') }, /NATS_CA_FILE: got .*empty/],
    [
      'half',
      { DATABASE_CA_FILE: fileWith('half', postgres.ca.slice(0, 200)) },
      /half has a certificate that cannot be read/,
    ],
    [
      'other-nats',
      { NATS_CA_FILE: fileWith('other-nats.crt', stranger) },
      /certificate of the NATS server is not trusted/,
    ],
    [
      'other-postgres',
      { DATABASE_CA_FILE: fileWith('other-postgres.crt', stranger) },
      /certificate of the Postgres server is not trusted.*DATABASE_CA_FILE/,
    ],
    ['another', { NATS_SEED_FILE: fileWith('none', 'SUnone') }, /NATS_SEED_FILE does not contain the seed/],
    [
      'mode',
      { DATABASE_URL: `${postgres.url(databaseOf('guarded', 'identity'))}?sslmode=require` },
      /sslmode=require contradicts DATABASE_CA_FILE/,
    ],
    [
      'password',
      { DATABASE_URL: postgres.url(databaseOf('guarded', 'identity')).replace(/:[^:@]+@/, ':wrong@') },
      /password authentication failed/,
    ],
  ] as const) {
    await assert.rejects(guardedCloud(name, changes, ['identity']), problem, name);
  }
});

test('G3: the role of a service can connect to its own database only, in production and in the local overlay', async () => {
  const admin = openConnections(postgres.url('postgres'), { maxConnections: 1, authorities: renewable(postgres.ca) });
  const connect = async (role: string, database: string): Promise<unknown> => {
    const url = new URL(postgres.url(database));
    [url.username, url.password] = [role, 'test'];
    const sql = openConnections(url.href, { maxConnections: 1, authorities: renewable(postgres.ca) });
    try {
      return await sql`select 1`;
    } finally {
      await sql.end({ timeout: 0 });
    }
  };
  const [own, other] = ['interlock_one', 'interlock_two'];
  for (const name of [own, other]) {
    await admin.unsafe(`create role ${name} login password 'test'`);
    await admin.unsafe(`create database ${name} owner ${name}`);
  }
  await connect(own, own);
  await assert.rejects(connect(own, other), /pg_hba.conf rejects connection/);
  await assert.rejects(connect(own, 'postgres'), /pg_hba.conf rejects connection/);

  // The statements of the local Postgres at its first start. No rule of its server separates the roles.
  const script = objectsIn(textOf('deploy/kubernetes/overlays/local/postgres.yaml')).find(
    ({ kind }) => kind === 'ConfigMap',
  )?.data?.['10-databases.sh'];
  const [, statements = ''] = /<<'SQL'\n(.*?)\nSQL\n/s.exec(script ?? '') ?? assert.fail('no SQL');
  for (const name of ['local_one', 'local_two'])
    for (const statement of statements.split(';').filter((text) => text.trim() !== ''))
      await admin.unsafe(statement.replaceAll(':"name"', `"${name}"`).replaceAll(":'password'", "'test'"));
  await connect('local_one', 'local_one');
  await assert.rejects(connect('local_one', 'local_two'), /permission denied for database/);
  await admin.end();
});

test('G2: with TLS connections that are cut at any moment, every query gets its own result or an error, soon', {
  timeout: 25_000,
}, async (t) => {
  const url = new URL(postgres.url('store'));
  const proxy = await startCuttingProxy(url.hostname, Number(url.port));
  url.port = String(proxy.port);
  const sql = openConnections(url.href, { maxConnections: 4, authorities: renewable(postgres.ca) });
  t.after(async () => {
    await sql.end({ timeout: 0 });
    proxy.close();
  });
  await askThroughCuts(sql);
});

test('G1: refuses a Postgres with an untrusted certificate or another name, and uses a renewed authority at once', async () => {
  const authorities = renewable(postgres.ca);
  const open = (url: string) => openPostgresStore({ url, authorities, clock, maxConnections: 2 });
  const url = postgres.url('store');
  const isUntrusted = (error: unknown) =>
    error instanceof StoreUnavailable && /certificate of the Postgres server is not trusted/.test(error.message);
  await assert.rejects(open(url.replace('localhost', '127.0.0.1')), isUntrusted);
  await assert.rejects(openPostgresStore({ url, clock }), /no pg_hba.conf entry|pg_hba.conf rejects/);

  const store = await open(url);
  const next = await makeAuthority(Date.now());
  await postgres.renew(next);
  assert.equal(await store.head(), 0, 'open connections continue');
  await assert.rejects(open(url), isUntrusted);
  authorities.renew((await pemOf(next)).certificate);
  const other = await open(url);
  assert.equal(await other.head(), 0);
  await Promise.all([store.close(), other.close()]);
});
