import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { callerOf } from '../../services/gateway/src/cloud/caller.ts';
import { type Route, route } from '../../services/gateway/src/http/route.ts';
import { until as waitUntil } from '../cloud/until.ts';
import { type Client, gatewayServer, hastyClock } from './test-gateway-server.ts';

/** A client that sends or reads slowly, or opens much and finishes nothing, costs the gateway a bounded amount for a bounded time. */

const common = { host: 'gateway', access: 'public', does: 'is called by a test' } as const;
const hello = route({ ...common, method: 'GET', path: '/hello', handle: () => ({ body: 'hello' }) });
const form = route({
  ...common,
  method: 'POST',
  path: '/form',
  isForm: true,
  bodyBytesMax: 16 * 1024,
  handle: ({ body }) => ({ body: { length: (body as { readonly a: string }).a.length } }),
});
const owned = route({
  ...common,
  access: 'management',
  versioned: false,
  method: 'POST',
  path: '/owned',
  isForm: true,
  bodyBytesMax: 16 * 1024,
  handle: () => ({ body: 'accepted' }),
});

const head = (line: string, headers: Readonly<Record<string, string | number>> = {}): string =>
  [
    `${line} HTTP/1.1`,
    'Host: localhost',
    ...Object.entries({ ...headers }).map(([name, value]) => `${name}: ${value}`),
    '\r\n',
  ].join('\r\n');

const formType = { 'Content-Type': 'application/x-www-form-urlencoded' };
/** A form of that many bytes, of which only the head and some bytes are sent. */
const unfinished = (bytes: number, path = '/form', headers: Readonly<Record<string, string>> = {}): string =>
  `${head(`POST ${path}`, { ...formType, ...headers, 'Content-Length': bytes })}a=`;

/** Waits until the check passes. */
const until = async (check: () => Promise<void>): Promise<void> => {
  await waitUntil('the check passes', async () => {
    await check();
    return true;
  });
};

const statusOf = ({ received }: Client): number => Number(received().split(' ')[1] ?? 0);
const answered = (client: Client): Promise<void> =>
  until(async () => assert.ok(client.received().includes('\r\n\r\n')));

/** Writes a byte again and again until the connection has ended. */
const trickle = (t: TestContext, { socket }: Client, byte: string): void => {
  const timer = setInterval(() => socket.write(byte), 20);
  t.after(() => clearInterval(timer));
};

test('a request whose head never ends gets 408, and its connection ends', async (t) => {
  const gateway = await gatewayServer(t, [hello], { requestMs: 300 });
  const client = await gateway.open();
  client.socket.write('GET /hello HTTP/1.1\r\nHost: localhost\r\nX-A: ');
  trickle(t, client, 'a');
  await client.closed;
  assert.equal(statusOf(client), 408);
  await until(async () => assert.equal(await gateway.connections(), 0));
});

test('a request whose body trickles gets 408, and its connection ends', async (t) => {
  const gateway = await gatewayServer(t, [form], { requestMs: 300 });
  const client = await gateway.open();
  client.socket.write(unfinished(10_000));
  trickle(t, client, 'a');
  await client.closed;
  assert.equal(statusOf(client), 408);
  await until(async () => assert.equal(await gateway.connections(), 0));
});

test('the connection of a late request ends although the client keeps its side open', async (t) => {
  const gateway = await gatewayServer(t, [form], { requestMs: 300 });
  const client = await gateway.open();
  client.socket.allowHalfOpen = true;
  client.socket.write(unfinished(10_000));
  await answered(client);
  await until(async () => assert.equal(await gateway.connections(), 0));
});

test('a connection that never completes its handshake ends', async (t) => {
  const gateway = await gatewayServer(t, [hello], { requestMs: 300 });
  const socket = connect(gateway.port, '127.0.0.1');
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
});

test('a connection without a request ends, before its first request and between two', async (t) => {
  const gateway = await gatewayServer(t, [hello], { requestMs: 300, idleMs: 300 });
  const [silent, used] = [await gateway.open(), await gateway.open()];
  used.socket.write(head('GET /hello'));
  await answered(used);
  assert.equal(statusOf(used), 200);
  await Promise.all([silent.closed, used.closed]);
});

test('the connection of a client that does not read its reply ends, and the handler of the reply ends with it', async (t) => {
  let isEnded = false;
  const large = route({
    ...common,
    method: 'GET',
    path: '/large',
    handle: () => ({ body: 'x'.repeat(64 * 1024 ** 2) }),
  });
  const endless = route({
    ...common,
    method: 'GET',
    path: '/endless',
    handle: () => {
      const stream = Readable.from(
        (function* () {
          for (;;) yield Buffer.alloc(256 * 1024);
        })(),
        { objectMode: false },
      );
      stream.once('close', () => {
        isEnded = true;
      });
      return { stream, headers: { 'content-type': 'application/octet-stream' } };
    },
  });
  const gateway = await gatewayServer(t, [large, endless], { requestMs: 500 });
  for (const path of ['/large', '/endless']) {
    const client = await gateway.open();
    client.socket.pause();
    client.socket.write(head(`GET ${path}`));
    await until(async () => assert.equal(await gateway.connections(), 1));
    await until(async () => assert.equal(await gateway.connections(), 0));
  }
  await until(async () => assert.equal(isEnded, true));
});

test('a reply that waits for its own data is not cut', async (t) => {
  let alarms = 0;
  const clock = {
    ...systemClock,
    alarm: (ms: number, wake: () => void) => {
      alarms += 1;
      return systemClock.alarm(ms, wake);
    },
  };
  const late = route({
    ...common,
    method: 'GET',
    path: '/late',
    handle: () => ({
      stream: Readable.from(
        (async function* () {
          yield 'begin ';
          // Until the gateway has looked several times.
          await until(async () => assert.ok(alarms > 3));
          yield 'end';
        })(),
      ),
      headers: { 'content-type': 'application/octet-stream' },
    }),
  });
  const gateway = await gatewayServer(t, [late], { requestMs: 100, clock });
  const client = await gateway.open();
  client.socket.write(head('GET /late'));
  await until(async () => assert.match(client.received(), /end/));
});

test('bodies without a token share half of the memory for bodies, and one address gets a quarter', async (t) => {
  const admit = async (
    _use: unknown,
    authorization: string | undefined,
    from: { correlationId: string; address: string },
  ) => callerOf({ principal: authorization ?? '', tenant: 't', ...from, tokens: {} });
  const gateway = await gatewayServer(t, [form, owned], { bodiesBytesMax: 160 * 1024, clock: hastyClock, admit });
  const post = async (text: string, host?: string): Promise<Client> => {
    const client = await gateway.open(host);
    client.socket.write(text);
    return client;
  };
  /** What a whole request gets. */
  const reply = async (path?: string, headers?: Readonly<Record<string, string>>, host?: string): Promise<number> => {
    const client = await post(`${unfinished(10_002, path, headers)}${'a'.repeat(10_000)}`, host);
    await answered(client);
    return statusOf(client);
  };
  const [olga, igor] = [{ Authorization: 'olga' }, { Authorization: 'igor' }];
  // 40 KiB belong to one client: four of 10,000 bytes.
  const held = [];
  for (let n = 0; n < 4; n++) held.push(await post(unfinished(10_000)));
  assert.equal(await reply(), 429);
  assert.equal(await reply('/form', {}, '::1'), 200);
  for (let n = 0; n < 4; n++) held.push(await post(unfinished(10_000), '::1'));
  assert.equal(await reply('/form', {}, '::1'), 429);
  assert.equal(await reply('/owned', olga), 200);
  for (let n = 0; n < 4; n++) held.push(await post(unfinished(10_000, '/owned', olga)));
  assert.equal(await reply('/owned', olga), 429);
  assert.equal(await reply('/owned', igor), 200);
  for (let n = 0; n < 4; n++) held.push(await post(unfinished(10_000, '/owned', igor)));
  assert.equal(await reply('/owned', { Authorization: 'nina' }), 503);
  for (const { socket } of held) socket.destroy();
  await until(async () => assert.equal(await reply(), 200));
  assert.equal(await reply('/owned', olga), 200);
});

test('a body that arrives byte by byte, or in chunks without a length, is read as a whole', async (t) => {
  const gateway = await gatewayServer(t, [form]);
  const client = await gateway.open();
  client.socket.write(unfinished(302));
  for (let n = 0; n < 300; n++) client.socket.write('a');
  await until(async () => assert.match(client.received(), /\{"length":300\}/));
  const chunked = head('POST /form', { ...formType, 'Transfer-Encoding': 'chunked' });
  client.socket.write(`${chunked}2\r\na=\r\n${'1\r\nb\r\n'.repeat(400)}0\r\n\r\n`);
  await until(async () => assert.match(client.received(), /\{"length":400\}/));
});

test('a body above the limit of its route is refused, with that limit: before it arrives if its length is stated', async (t) => {
  const gateway = await gatewayServer(t, [form]);
  const [stated, chunked] = [await gateway.open(), await gateway.open()];
  stated.socket.write(unfinished(16 * 1024 + 1));
  const chunk = `4000\r\n${'a'.repeat(16 * 1024)}\r\n`;
  chunked.socket.write(`${head('POST /form', { ...formType, 'Transfer-Encoding': 'chunked' })}${chunk}${chunk}`);
  for (const client of [stated, chunked]) {
    await until(async () => assert.match(client.received(), /the body must be at most 16384 bytes/));
    assert.equal(statusOf(client), 413);
  }
});

test('a request that no route serves, or whose URL proves nothing, is answered before its body arrives', async (t) => {
  const proved: Route = route({
    ...common,
    method: 'PUT',
    path: '/proved',
    ownerOfUrl: ({ query }) => {
      if (query.sig === 'right') return 'disk';
      throw new Error('the signature is wrong');
    },
    handle: () => ({}),
  });
  const gateway = await gatewayServer(t, [proved]);
  const [absent, wrong] = [await gateway.open(), await gateway.open()];
  absent.socket.write(unfinished(10_000, '/absent'));
  wrong.socket.write(
    head('PUT /proved?sig=wrong', { 'Content-Type': 'application/octet-stream', 'Content-Length': 9 }),
  );
  await Promise.all([answered(absent), answered(wrong)]);
  assert.deepEqual([statusOf(absent), statusOf(wrong)], [404, 500]);
});

test('connections above the limit of an address or of the gateway are closed; a closed one makes room', async (t) => {
  const gateway = await gatewayServer(t, [hello], { connectionsMax: 3, connectionsOfAddressMax: 2 });
  const [first] = [await gateway.open(), await gateway.open()];
  await assert.rejects(gateway.open());
  await gateway.open('::1');
  await assert.rejects(gateway.open('::1'), 'the limit counts both addresses of localhost');
  first?.socket.destroy();
  await until(async () => {
    const client = await gateway.open('::1');
    client.socket.write(head('GET /hello'));
    await answered(client);
    assert.equal(statusOf(client), 200);
  });
});
