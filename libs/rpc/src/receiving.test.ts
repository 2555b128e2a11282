import assert from 'node:assert/strict';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { type TestContext, test } from 'node:test';
import { Client, type ClientReadableStream, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { Rejection } from '@interlock/event-store';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { Call } from './call.ts';
import { type ServerOptions, startServer } from './server.ts';
import { service } from './service.ts';
import { type EchoHandlers, echoDefinition, principalNamed } from './test-echo.ts';

const asItIs = (bytes: Buffer): Buffer => bytes;

/** Starts a server; its method `echo` requires a token, the others are public. */
const serve = async (t: TestContext, handlers: Partial<EchoHandlers> = {}, options: Partial<ServerOptions> = {}) => {
  const implementation: EchoHandlers = {
    echo: async ({ text }) => ({ text: String(text.length) }),
    change: async ({ text }) => ({ text: String(text.length) }),
    list: async function* () {},
    join: async (requests) => {
      let length = 0;
      for await (const { text } of requests) length += text.length;
      return { text: String(length) };
    },
    ...handlers,
  };
  const open = { public: true } as const;
  const authorization = { echo: { authenticated: true, why: 'test' }, change: open, list: open, join: open } as const;
  const server = await startServer({
    address: '127.0.0.1:0',
    tls: 'plaintext',
    services: [service({ definition: echoDefinition, implementation, authorization })],
    authenticate: async (token) => {
      if (token !== 'bad') return principalNamed(token);
      throw new Rejection('UNAUTHENTICATED', 'TOKEN_EXPIRED', 'the token has expired');
    },
    authorize: async () => ({ allowed: true, principalActive: true }),
    clock: systemClock,
    random: systemRandom,
    tracer: trace.getTracer('test'),
    log: logger({ service: 'test', clock: systemClock, write: () => undefined }),
    ...options,
  });
  const raw = new Client(server.address, credentials.createInsecure(), { 'grpc.max_receive_message_length': -1 });
  const session = connectHttp2(`http://${server.address}`);
  t.after(async () => {
    raw.close();
    session.destroy();
    await server.stop({ graceMs: 0, streamGraceMs: 0 });
  });
  return { server, raw, session };
};

const call = (raw: Client, method: string, text: string, token?: string, deadlineMs = 20_000): Promise<string> =>
  new Promise((resolve, reject) => {
    const metadata = new Metadata();
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
    const options = { deadline: Date.now() + deadlineMs };
    const request = Buffer.from(JSON.stringify({ text }));
    raw.makeUnaryRequest(`/test.Echo/${method}`, asItIs, asItIs, request, metadata, options, (error, answer) =>
      error === null ? resolve(JSON.parse(String(answer)).text) : reject(error),
    );
  });

/** Code of a failed call, and the reason in its details. */
const failure = async (failing: Promise<unknown>): Promise<string> => {
  const error = await failing.then(
    () => assert.fail('it succeeded'),
    (thrown: ServiceError) => thrown,
  );
  const [details = ''] = error.metadata.get('grpc-status-details-bin');
  return `${status[error.code]} ${/[A-Z]+_[A-Z_]+/.exec(String(details))?.[0] ?? ''}`;
};

const begin = (session: ClientHttp2Session, path: string): ClientHttp2Stream =>
  session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' });

/** Prefix of a message of `length` bytes. */
const prefix = (length: number): Buffer => {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt32BE(length, 1);
  return bytes;
};

const headersOf = (stream: ClientHttp2Stream): Promise<Record<string, unknown>> =>
  new Promise((resolve, reject) => stream.once('response', resolve).once('error', reject));

test('the server ends a request, and its stream, that has not arrived completely within receiveMs', async (t) => {
  const { session } = await serve(t, {}, { limits: { receiveMs: 50 } });
  const stream = begin(session, '/test.Echo/Change');
  stream.write(Buffer.concat([prefix(40_000), Buffer.alloc(10_000)]));
  const closed = new Promise((resolve) => stream.once('close', resolve));
  const headers = await headersOf(stream);
  assert.equal(headers['grpc-status'], String(status.ABORTED));
  assert.match(String(headers['grpc-message']), /did%20not%20arrive|did not arrive/);
  stream.resume();
  // The client never ended its side: the server closed the stream.
  await closed;
  assert.equal(stream.rstCode, 0);
});

test('a message of a request stream must arrive within receiveMs; an idle stream has no such limit', async (t) => {
  const { session } = await serve(t, {}, { limits: { receiveMs: 50 } });
  const idle = begin(session, '/test.Echo/Join');
  const stuck = begin(session, '/test.Echo/Join');
  stuck.write(Buffer.concat([prefix(100), Buffer.alloc(10)]));
  assert.equal((await headersOf(stuck))['grpc-status'], String(status.ABORTED));
  const message = Buffer.from('{"text":"abc"}');
  idle.end(Buffer.concat([prefix(message.length), message]));
  const answer: Buffer[] = [];
  for await (const data of idle) answer.push(data);
  assert.equal(Buffer.concat(answer).subarray(5).toString(), '{"text":"3"}');
});

test('a request without a valid token is limited to 64 KiB', async (t) => {
  const { raw } = await serve(t);
  assert.equal(await call(raw, 'Change', 'x'.repeat(60_000)), '60000');
  assert.equal(await failure(call(raw, 'Change', 'x'.repeat(70_000))), 'RESOURCE_EXHAUSTED REQUEST_TOO_LARGE');
  assert.equal(await failure(call(raw, 'Echo', 'x'.repeat(70_000))), 'RESOURCE_EXHAUSTED REQUEST_TOO_LARGE');
  assert.equal(await failure(call(raw, 'Echo', 'x'.repeat(1_000_000), 'bad')), 'UNAUTHENTICATED TOKEN_EXPIRED');
  assert.equal(await call(raw, 'Echo', 'x'.repeat(3_000_000), 'user-1'), '3000000');
});

test('all of 40 concurrent large requests arrive', async (t) => {
  const { raw } = await serve(t);
  const lengths = Array.from({ length: 40 }, (_, n) => 300_000 + n);
  const answers = await Promise.all(lengths.map((length) => call(raw, 'Echo', 'x'.repeat(length), 'user-1')));
  assert.deepEqual(answers, lengths.map(String));
});

test('messages of a public request stream may be large without a token, because its handler authenticates', async (t) => {
  const { raw } = await serve(t);
  const joined = new Promise<string>((resolve, reject) => {
    const stream = raw.makeClientStreamRequest('/test.Echo/Join', asItIs, asItIs, (error, answer) =>
      error === null ? resolve(JSON.parse(String(answer)).text) : reject(error),
    );
    for (let n = 0; n < 8; n += 1) stream.write(Buffer.from(JSON.stringify({ text: 'x'.repeat(500_000) })));
    stream.end();
  });
  assert.equal(await joined, '4000000');
});

test('the deadline of a foreign client bounds the handler', async (t) => {
  const seen = Promise.withResolvers<Call>();
  const { raw } = await serve(t, {
    change: (_, handled) => {
      seen.resolve(handled as Call);
      return new Promise<never>((_resolve, reject) => {
        handled.signal.addEventListener('abort', () => reject(new Error('ended')), { once: true });
      });
    },
  });
  const calling = call(raw, 'Change', 'a', undefined, 400);
  const handled = await seen.promise;
  const leftMs = handled.remainingMs();
  assert.ok(leftMs > 0 && leftMs <= 400, `${leftMs} ms are left of 400`);
  await assert.rejects(calling, { code: status.DEADLINE_EXCEEDED });
  if (!handled.signal.aborted) {
    await new Promise((resolve) => handled.signal.addEventListener('abort', resolve, { once: true }));
  }
});

test('a response stream that the client does not read is closed, and its handler ends', async (t) => {
  const ended = Promise.withResolvers<void>();
  const endless: EchoHandlers['list'] = async function* () {
    try {
      for (;;) yield { text: 'x'.repeat(50_000) };
    } finally {
      ended.resolve();
    }
  };
  const { session } = await serve(t, { list: endless }, { limits: { takeMs: 50 } });
  const stream = begin(session, '/test.Echo/List');
  stream.on('error', () => undefined);
  const closed = new Promise((resolve) => stream.once('close', resolve));
  const message = Buffer.from('{"text":""}');
  stream.end(Buffer.concat([prefix(message.length), message]));
  await ended.promise;
  await closed;
  assert.equal(stream.rstCode, 0xb, 'ENHANCE_YOUR_CALM');
});

test('the server announces a limit of 256 streams for each connection', async (t) => {
  const { session } = await serve(t);
  await new Promise((resolve) => session.once('remoteSettings', resolve));
  assert.equal(session.remoteSettings.maxConcurrentStreams, 256);
});

test('the server allows 64 concurrent health watches, and others after those have ended', async (t) => {
  const { raw } = await serve(t);
  const streams: ClientReadableStream<Buffer>[] = [];
  const watch = (client: Client): Promise<string> =>
    new Promise((resolve) => {
      const stream = client.makeServerStreamRequest('/grpc.health.v1.Health/Watch', asItIs, asItIs, Buffer.alloc(0));
      streams.push(stream);
      stream.once('data', () => resolve('watching'));
      stream.on('error', (error: ServiceError) => resolve(status[error.code] ?? ''));
    });
  const answers = await Promise.all(Array.from({ length: 70 }, () => watch(raw)));
  assert.equal(answers.filter((answer) => answer === 'watching').length, 64);
  assert.equal(answers.filter((answer) => answer === 'RESOURCE_EXHAUSTED').length, 6);
  // Cancelled watches free their places.
  for (const stream of streams) stream.cancel();
  let answer = '';
  for (let n = 0; n < 1_000 && answer !== 'watching'; n += 1) answer = await watch(raw);
  for (const stream of streams) stream.cancel();
  assert.equal(answer, 'watching');
});

test('a principal with 512 running calls is refused, while another principal and a service are served', async (t) => {
  const going = Promise.withResolvers<void>();
  const { server } = await serve(t, {
    echo: async (_, { caller }) => {
      if (caller.name === 'principals/many') await going.promise;
      return { text: '' };
    },
  });
  // One connection has too few streams for that.
  const clients = Array.from({ length: 3 }, (_, n) => {
    const options = { 'grpc.use_local_subchannel_pool': 1, 'grpc.client_idle_timeout_ms': 60_000 + n };
    return new Client(server.address, credentials.createInsecure(), options);
  });
  t.after(() => {
    for (const client of clients) client.close();
  });
  const [first, second, third] = clients;
  assert.ok(first && second && third);
  const calls = [first, second].flatMap((client) =>
    Array.from({ length: 256 }, () => call(client, 'Echo', 'a', 'many')),
  );
  // Is refused as soon as all the others have arrived.
  let refused = '';
  for (let n = 0; n < 1_000 && refused === ''; n += 1) {
    refused = await failure(call(third, 'Echo', 'a', 'many', 100)).then((end) =>
      end.startsWith('DEADLINE') ? '' : end,
    );
  }
  assert.equal(refused, 'RESOURCE_EXHAUSTED TOO_MANY_CALLS');
  assert.equal(await call(third, 'Echo', 'a', 'other'), '');
  assert.equal(await call(third, 'Echo', 'a', 'workload:disk'), '');
  going.resolve();
  await Promise.all(calls);
  assert.equal(await call(third, 'Echo', 'a', 'many'), '');
});
