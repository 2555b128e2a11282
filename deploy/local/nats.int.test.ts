import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect, nkeyAuthenticator } from '@nats-io/transport-node';
import { openDataFolder } from './data-folder.ts';
import { freeSpace } from './disk-space.ts';
import { freePort } from './free-port.ts';
import { startGuarded } from './guarded-process.ts';
import { type Nats, startNats } from './nats.ts';
import { createStreams, removeStreams } from './nats-streams.ts';
import { natsServer } from './programs.ts';
import { serviceNames } from './services.ts';
import { installCommands } from './system-program.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const say = () => undefined;
const env = { PATH: process.env.PATH };

async function request(nats: Pick<Nats, 'connect'>, subject: string, body: unknown): Promise<Record<string, unknown>> {
  const connection = await nats.connect();
  try {
    return (await connection.request(subject, JSON.stringify(body))).json<Record<string, unknown>>();
  } finally {
    await connection.close();
  }
}

test('a stream survives a kill and a stop of the server', async (t) => {
  const data = openDataFolder(join(folder, 'survives'));
  const first = await startNats({ data, env, say });
  t.after(first.stop);
  const stream = { name: 'KEPT', subjects: ['kept'], storage: 'file', num_replicas: 1 };
  const { servers } = first.access;
  assert.equal((await request(first, '$JS.API.STREAM.CREATE.KEPT', stream)).error, undefined);
  await request(first, 'kept', 'a message');
  await first.kill();
  await assert.rejects(request(first, 'kept', 'a message'));
  await first.restart();
  assert.deepEqual(first.access.servers, servers);
  const messages = async (at: Nats) => (await request(at, '$JS.API.STREAM.INFO.KEPT', {})).state;
  assert.equal(Object(await messages(first)).messages, 1);
  await first.stop();

  const second = await startNats({ data, env, say });
  t.after(second.stop);
  assert.equal(Object(await messages(second)).messages, 1);
});

test('a local stream reserves 32 MiB by default, and a server starts again while less is free than its streams reserve', async (t) => {
  const data = openDataFolder(join(folder, 'reserves'));
  const nats = await startNats({ data, env, say });
  t.after(nats.stop);
  const reserved = async () => Object((await request(nats, '$JS.API.STREAM.INFO.interlock_disk', {})).config).max_bytes;
  await createStreams(nats, {}, { services: ['disk'], namespace: undefined });
  assert.equal(await reserved(), 32 * 2 ** 20);
  const { freeBytes } = freeSpace(folder);
  await createStreams(nats, { NATS_STREAM_BYTES_MAX: String(freeBytes) }, { services: ['disk'], namespace: undefined });
  await nats.restart();
  assert.equal(await reserved(), freeBytes);
});

test('G3: each service has its own NATS user, a private seed file and rights to publish on its own subjects only', async (t) => {
  const data = openDataFolder(join(folder, 'users'));
  const users = { namespace: 'cloud', partitionCount: 2 };
  const nats = await startNats({ data, env, say, users });
  t.after(nats.stop);
  await createStreams(nats, {}, { services: serviceNames, namespace: 'cloud' });
  await createStreams(nats, {}, { services: serviceNames, namespace: 'cloud' });
  const [url = ''] = nats.access.servers;
  await assert.rejects(connect({ servers: url, reconnect: false }), /authorization/i);
  for (const service of serviceNames) {
    const { NATS_SEED_FILE: seedFile = '' } = nats.settingsOf(service);
    assert.equal(statSync(seedFile).mode & 0o777, 0o600);
    const seed = readFileSync(seedFile);
    const connection = await connect({
      servers: url,
      authenticator: nkeyAuthenticator(seed),
      inboxPrefix: `_INBOX_${service}`,
    });
    t.after(() => connection.close());
    const stream = `cloud_interlock_${service}`;
    const told = await connection.request(`cloud.interlock.${service}.1`, 'a fact', { timeout: 5_000 });
    assert.equal(told.json<{ stream: string }>().stream, stream);
    const update = { name: stream, subjects: [`cloud.interlock.${service}.*`], num_replicas: 1 };
    for (const [subject, body] of [
      [`cloud.interlock.${service}.2`, 'no partition'],
      [`interlock.${service}.0`, 'no namespace'],
      [`$JS.API.STREAM.UPDATE.${stream}`, JSON.stringify(update)],
      [`$JS.API.STREAM.CREATE.${stream}`, JSON.stringify(update)],
    ] as const)
      await assert.rejects(connection.request(subject, body, { timeout: 5_000 }), /Permissions Violation/, subject);
  }
  // The same folder gives the same users, so that running services stay connected through a restart.
  const before = serviceNames.map((service) => readFileSync(nats.settingsOf(service).NATS_SEED_FILE ?? '', 'utf8'));
  await nats.stop();
  const again = await startNats({ data, env, say, users });
  t.after(again.stop);
  const after = serviceNames.map((service) => readFileSync(again.settingsOf(service).NATS_SEED_FILE ?? '', 'utf8'));
  assert.deepEqual(after, before);
});

test('the launcher and the services reach a given server that has users with NATS_SEED_FILE', async (t) => {
  const given = await startNats({
    data: openDataFolder(join(folder, 'known')),
    env,
    say,
    users: { partitionCount: 1 },
  });
  t.after(given.stop);
  const [url = ''] = given.access.servers;
  const data = openDataFolder(join(folder, 'unknown'));
  await assert.rejects(startNats({ data, env: { NATS_URL: url }, say }), /of no use: .*authorization/i);
  const seedFile = join(folder, 'known', 'nats', 'users', 'operator.seed');
  const nats = await startNats({ data, env: { NATS_URL: url, NATS_SEED_FILE: seedFile }, say });
  await createStreams(nats, {}, { services: ['disk'], namespace: 'other' });
  assert.deepEqual(nats.settingsOf('disk'), { NATS_URL: url, NATS_SEED_FILE: seedFile });
  assert.equal(Object((await request(nats, '$JS.API.STREAM.INFO.other_interlock_disk', {})).config).num_replicas, 1);
  await removeStreams(nats, 'other_');
  assert.ok((await request(nats, '$JS.API.STREAM.INFO.other_interlock_disk', {})).error);
});

test('refuses a server without JetStream and says how to start it with JetStream', async (t) => {
  const port = await freePort();
  const server = await startGuarded({
    command: process.env.NATS_SERVER ?? 'nats-server',
    args: ['--addr', '127.0.0.1', '--port', String(port)],
    cwd: folder,
    output: join(folder, 'bare.log'),
    stopSignal: 'TERM',
    graceMs: 1_000,
  });
  t.after(() => server.stop());
  const url = `nats://127.0.0.1:${port}`;
  await (await connect({ servers: url, waitOnFirstConnect: true, reconnectTimeWait: 20 })).close();
  await assert.rejects(startNats({ data: openDataFolder(join(folder, 'bare')), env: { NATS_URL: url }, say }), {
    name: 'LauncherError',
    message: /of no use: it runs without JetStream\. Start it with nats-server --jetstream/,
  });
});

test('names a given server that cannot be used, and never kills or restarts a given server', async () => {
  const data = openDataFolder(join(folder, 'given'));
  await assert.rejects(
    startNats({ data, env: { NATS_URL: 'nats://127.0.0.1:1' }, say }),
    /The server behind NATS_URL is of no use/,
  );
  const given = await startNats({ data, env: { NATS_URL: process.env.NATS_URL }, say });
  await assert.rejects(given.kill(), /not ours to end/);
  await assert.rejects(given.restart(), /not ours to end/);
});

test('uses the package manager only where it needs no password', () => {
  assert.equal(
    installCommands(natsServer, '/nonexistent', true, () => true),
    undefined,
  );
  const path = process.env.PATH ?? '';
  const asRoot = installCommands(natsServer, path, true, () => false);
  assert.equal(
    installCommands(natsServer, '/nonexistent', false, () => false),
    undefined,
  );
  // On a machine without a known package manager there is nothing more to check.
  if (asRoot !== undefined) assert.deepEqual(asRoot.at(-1)?.includes('nats-server'), true);
});
