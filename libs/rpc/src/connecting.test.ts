import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { after, before, type TestContext, test } from 'node:test';
import { type ChannelSettings, openChannel } from './channel.ts';
import { RpcFailure } from './rpc-failure.ts';
import { testAuthority } from './test-authority.ts';
import { type Echo, transports } from './test-echo.ts';

let echo: Echo;
before(async () => {
  echo = await transports.gRPC();
});
after(() => echo.close());

/** @returns a function that calls the server on the port; a connection may take 500 ms */
const asking = (t: TestContext, port: number, tls: ChannelSettings['tls'] = 'plaintext') => {
  const channel = openChannel({ address: `127.0.0.1:${port}`, tls, connectingMs: 500 });
  t.after(() => channel.close());
  const client = echo.connect({ channel });
  return async (text: string) => (await client.change({ text }, { deadlineMs: 10_000 })).text;
};

const isGivenUp = (error: unknown): boolean =>
  error instanceof RpcFailure &&
  error.code === 'UNAVAILABLE' &&
  error.message.includes('no connection came about within 500 ms');

/** @returns its port */
const listen = async (t: TestContext, server: Server): Promise<number> => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => server.close());
  const address = server.address();
  assert(address !== null && typeof address === 'object');
  return address.port;
};

/** Accepts connections and sends nothing. */
const silent = (t: TestContext): Server => createServer((socket) => t.after(() => socket.destroy()));

const program = `
  const server = require('node:net').createServer(() => {});
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(server.address().port));`;

test('G3: a client gives up a connection that is not accepted within its limit, and closes no other socket', {
  timeout: 20_000,
}, async (t) => {
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  const open = (): Socket => {
    const socket = connect({ host: '127.0.0.1', port: Number(line) });
    t.after(() => socket.destroy());
    return socket;
  };
  const first = open();
  await once(first, 'connect');
  // The system accepts connections for a paused process until its backlog is full, and ignores further ones.
  child.kill('SIGSTOP');
  const later = Array.from({ length: 5 }, open);
  await assert.rejects(asking(t, Number(line))('paused'), isGivenUp);
  assert.ok(later.some(({ connecting }) => connecting));
  assert.ok([first, ...later].every(({ destroyed }) => !destroyed));
});

test('G3: a client gives up an accepted connection if the server sends nothing within the limit', async (t) => {
  const { ca } = await testAuthority('silent');
  for (const tls of ['plaintext', { ca }] as const) {
    await assert.rejects(asking(t, await listen(t, silent(t)), tls)('silent'), isGivenUp);
  }
});

test('an established connection stays open after the connecting limit', async (t) => {
  const [, port] = echo.channel.peer.split(':');
  let made = 0;
  const way = createServer((client) => {
    made += 1;
    const server = connect({ host: '127.0.0.1', port: Number(port) });
    client.on('close', () => server.destroy());
    server.on('close', () => client.destroy());
    client.pipe(server).pipe(client);
  });
  const ask = asking(t, await listen(t, way));
  assert.equal(await ask('one'), 'one');
  // Fails after its limit, so the limit of the earlier connection has passed too.
  await assert.rejects(asking(t, await listen(t, silent(t)))('silent'), isGivenUp);
  assert.equal(await ask('another'), 'another');
  assert.equal(made, 1);
});
