import assert from 'node:assert/strict';
import { get, request, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { type Door, doorBounds, openDoor, type Served } from './door.ts';
import { LiveRows } from './live-rows.ts';
import { viewersOf } from './viewers.ts';

const token = 'a-token-of-this-test';
let open: Door | undefined;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await open?.close();
  open = undefined;
});

/** The open streams. */
const streams: ServerResponse[] = [];

/** A door with one file, and the rows as its stream. */
async function testDoor(bounds = doorBounds) {
  streams.splice(0);
  const rows = new LiveRows();
  const viewers = viewersOf(rows, 'run', systemClock);
  const served: Served = {
    answer: async (path) => (path === '' ? { type: 'text/html', body: 'the page' } : undefined),
    stream: (response, lastEventId) => {
      streams.push(response);
      viewers.add(response, lastEventId);
    },
  };
  open = await openDoor(served, { port: 0, token, bounds });
  return { door: open, rows, viewers };
}

interface Response {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** @param path with the token */
const fetched = (port: number, path: string, options: { method?: string; host?: string } = {}): Promise<Response> =>
  new Promise((resolve, reject) => {
    const { method = 'GET', host = `127.0.0.1:${port}` } = options;
    const sent = request({ port, path, method, host: '127.0.0.1', headers: { host }, agent: false }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(pieces).toString() }),
      );
    });
    sent.on('error', reject);
    sent.end();
  });

/** A connection that sends nothing by itself. */
const stranger = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', reject);
    sockets.push(socket);
  });

const until = async (isMet: () => boolean): Promise<void> => {
  while (!isMet()) await systemClock.sleep(5);
};

test('the page is served on 127.0.0.1 with headers that let it load nothing from elsewhere, and without a cookie', async () => {
  const { door } = await testDoor();
  assert.equal(door.address, `http://127.0.0.1:${door.port}/${token}/`);
  const { status, headers, text } = await fetched(door.port, `/${token}/`);
  assert.deepEqual([status, text], [200, 'the page']);
  const policy = String(headers['content-security-policy']);
  assert.match(policy, /^default-src 'none'; script-src 'self'; /);
  assert.doesNotMatch(policy, /https?:|\*|script-src[^;]*unsafe/);
  assert.deepEqual(
    ['x-content-type-options', 'referrer-policy', 'cross-origin-opener-policy', 'cross-origin-resource-policy'].map(
      (name) => headers[name],
    ),
    ['nosniff', 'no-referrer', 'same-origin', 'same-origin'],
  );
  assert.equal(headers['set-cookie'], undefined);
  assert.equal((await fetched(door.port, `/${token}/`, { host: `localhost:${door.port}` })).status, 200);
  assert.equal((await fetched(door.port, `/${token}/`, { method: 'HEAD' })).text, '');
  assert.equal((await fetched(door.port, `/${token}/missing`)).status, 404);
});

test('an address without its last slash leads to the page, with the token only', async () => {
  const { door } = await testDoor();
  for (const path of [`/${token}`, `/${token}?from=mail`]) {
    const { status, headers, text } = await fetched(door.port, path);
    assert.deepEqual([status, headers.location, text], [308, `/${token}/`, ''], path);
  }
  const refused = await fetched(door.port, '/another-token');
  assert.deepEqual([refused.status, refused.headers.location], [403, undefined]);
  assert.equal((await fetched(door.port, `/${token}`, { host: 'example.com' })).status, 403);
  assert.equal((await fetched(door.port, `/${token}`, { method: 'POST' })).status, 405);
});

test('every request without the token, or with a wrong one, is refused with 403 and learns nothing', async () => {
  const { door } = await testDoor();
  const guesses = [
    '/',
    '/events',
    '//',
    `/${token.slice(0, -1)}/`,
    `/${token}x/`,
    `/${token.toUpperCase()}/events`,
    '/%00/',
  ];
  for (const path of [...guesses, `/?${token}`, `/x/${token}/`, `/x/../${token}/`]) {
    const { status, text } = await fetched(door.port, path);
    assert.equal(status, 403, path);
    assert.doesNotMatch(text, new RegExp(token));
  }
});

test('a request with the token under another host name is refused: a rebound name reads nothing', async () => {
  const { door } = await testDoor();
  const hosts = ['evil.example', `evil.example:${door.port}`, '127.0.0.1', `127.0.0.1:${door.port + 1}`, '[::1]'];
  for (const host of [...hosts, `localhost:${door.port}.evil.example`])
    assert.equal((await fetched(door.port, `/${token}/`, { host })).status, 403, host);
});

test('nothing but GET and HEAD is allowed', async () => {
  const { door } = await testDoor();
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    const { status, headers } = await fetched(door.port, `/${token}/`, { method });
    assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], method);
  }
});

test('1,000 connections that send nothing are closed, the oldest first, and the user is served meanwhile', async () => {
  const bounds = { ...doorBounds, strangersMax: 20 };
  const { door } = await testDoor(bounds);
  let closed = 0;
  for (let n = 0; n < 1_000; n++) (await stranger(door.port)).on('close', () => (closed += 1));
  assert.equal((await fetched(door.port, `/${token}/`)).status, 200);
  await until(() => closed >= 1_000 - bounds.strangersMax);
});

test('a request that does not arrive in time, and one with long headers, are ended', async () => {
  const { door } = await testDoor({ ...doorBounds, requestMs: 50 });
  const slow = await stranger(door.port);
  const ended = Promise.withResolvers<void>();
  slow.once('close', () => ended.resolve());
  slow.resume();
  slow.write(`GET /${token}/ HTTP/1.1\r\nHost: `);
  await ended.promise;
  assert.equal((await fetched(door.port, `/${token}/?${'x'.repeat(20_000)}`)).status, 431);
});

test('one more viewer than allowed is refused, and has a place once another is gone', async () => {
  const { door, viewers } = await testDoor({ ...doorBounds, streamsMax: 2 });
  const first = await view(door.port);
  await view(door.port);
  assert.equal((await fetched(door.port, `/${token}/events`)).status, 503);
  first.socket.destroy();
  await until(() => viewers.count === 1);
  await view(door.port);
  assert.equal(viewers.count, 2);
});

/** A viewer, with what it has received. */
const view = (port: number, lastEventId?: string) =>
  new Promise<{ readonly socket: Socket; readonly texts: string[] }>((resolve, reject) => {
    const headers = { host: `127.0.0.1:${port}`, ...(lastEventId && { 'last-event-id': lastEventId }) };
    const sent = get({ port, host: '127.0.0.1', path: `/${token}/events`, headers, agent: false }, (response) => {
      const texts: string[] = [];
      response.on('data', (piece) => texts.push(String(piece)));
      response.on('error', () => undefined);
      sockets.push(response.socket);
      resolve({ socket: response.socket, texts });
    });
    sent.on('error', reject);
  });

test('a viewer gets the rows and each change, and one that comes back gets what changed since its last message', async () => {
  const { door, rows } = await testDoor();
  rows.set('host a', { name: 'a', state: '', diskCount: 1 });
  const { texts, socket } = await view(door.port);
  await until(() => texts.join('').includes('id: run.1\n'));
  assert.match(texts.join(''), /^retry: 1000\n\nid: run\.1\ndata: \{"isReset":true,"isMore":false,"rows":\{"host a"/);
  socket.destroy();
  rows.set('host b', { name: 'b', state: '', diskCount: 1 });
  rows.publish();
  const back = await view(door.port, 'run.1');
  await until(() => back.texts.join('').includes('id: run.2\n'));
  assert.match(back.texts.join(''), /data: \{"isReset":false,"isMore":false,"rows":\{"host b":\{[^{}]*\}\}\}\n\n$/);
  const ofOther = await view(door.port, 'otherRun.1');
  await until(() => ofOther.texts.join('').includes('id: run.2\n'));
  assert.match(ofOther.texts.join(''), /"isReset":true.*"host a"/);
});

test('a viewer that never reads is dropped, costs a bounded buffer, and the others get every change', async () => {
  const { door, rows, viewers } = await testDoor({ ...doorBounds, idleMs: 300 });
  const deaf = await stranger(door.port);
  deaf.pause();
  deaf.write(`GET /${token}/events HTTP/1.1\r\nHost: 127.0.0.1:${door.port}\r\n\r\n`);
  await until(() => viewers.count === 1);
  const { texts } = await view(door.port);
  const long = 'x'.repeat(100_000);
  let waiting = 0;
  // More than the buffers of the sockets hold, until the one that does not read is gone.
  for (let n = 0; viewers.count === 2; n++) {
    rows.set('host a', { name: 'a', state: long, diskCount: n });
    rows.publish();
    texts.splice(0, texts.length - 1);
    waiting = Math.max(waiting, streams[0]?.writableLength ?? 0);
    await systemClock.sleep(5);
  }
  rows.set('host last', { name: 'last', state: '', diskCount: 0 });
  rows.publish();
  await until(() => texts.join('').includes('host last'));
  assert.equal(viewers.count, 1);
  assert.ok(waiting < 300_000, `at most one message waits for it, not ${waiting} bytes`);
});
