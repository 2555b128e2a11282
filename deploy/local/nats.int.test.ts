import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect } from '@nats-io/transport-node';
import { openDataFolder } from './data-folder.ts';
import { freePort } from './free-port.ts';
import { startGuarded } from './guarded-process.ts';
import { startNats } from './nats.ts';
import { natsServer } from './programs.ts';
import { installCommands } from './system-program.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function request(url: string, subject: string, body: unknown): Promise<Record<string, unknown>> {
  const connection = await connect({ servers: url });
  try {
    return (await connection.request(subject, JSON.stringify(body))).json<Record<string, unknown>>();
  } finally {
    await connection.close();
  }
}

test('a stream survives a crash and a stop of the server', async (t) => {
  const data = openDataFolder(join(folder, 'survives'));
  const first = await startNats(data, { PATH: process.env.PATH }, () => undefined);
  t.after(first.stop);
  const stream = { name: 'KEPT', subjects: ['kept'], storage: 'file', num_replicas: 1 };
  const { url } = first;
  assert.equal((await request(url, '$JS.API.STREAM.CREATE.KEPT', stream)).error, undefined);
  await request(url, 'kept', 'a message');
  await first.kill();
  await assert.rejects(request(url, 'kept', 'a message'));
  await first.restart();
  assert.equal(first.url, url);
  const messages = async (at: string) => (await request(at, '$JS.API.STREAM.INFO.KEPT', {})).state;
  assert.equal(Object(await messages(url)).messages, 1);
  await first.stop();

  const second = await startNats(data, { PATH: process.env.PATH }, () => undefined);
  t.after(second.stop);
  assert.equal(Object(await messages(second.url)).messages, 1);
});

test('a server without JetStream is named with what to do', async (t) => {
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
  await assert.rejects(
    startNats(openDataFolder(join(folder, 'bare')), { NATS_URL: url }, () => undefined),
    { name: 'LauncherError', message: /of no use: it runs without JetStream\. Start it with nats-server --jetstream/ },
  );
});

test('a server that cannot be used is named', async () => {
  const data = openDataFolder(join(folder, 'given'));
  await assert.rejects(
    startNats(data, { NATS_URL: 'nats://127.0.0.1:1' }, () => undefined),
    /The server behind NATS_URL is of no use/,
  );
  const given = await startNats(data, { NATS_URL: process.env.NATS_URL }, () => undefined);
  await assert.rejects(given.kill(), /not ours to end/);
  await assert.rejects(given.restart(), /not ours to end/);
});

test('the package manager is used only where it needs no password', () => {
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
  // On a machine without any of the known managers there is nothing more to see.
  if (asRoot !== undefined) assert.deepEqual(asRoot.at(-1)?.includes('nats-server'), true);
});
