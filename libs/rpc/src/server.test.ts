import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { credentials as grpcCredentials, Client as RawClient, type ServiceError, status } from '@grpc/grpc-js';
import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import { MessagingServiceDefinition } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { Rejection } from '@interlock/event-store';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import { testMeter } from '@interlock/runtime/test-meter';
import { trace } from '@opentelemetry/api';
import { openChannel } from './channel.ts';
import { connect } from './client.ts';
import type { ServerTls } from './credentials.ts';
import { RpcFailure } from './rpc-failure.ts';
import { type RunningServer, type ServerOptions, startServer } from './server.ts';
import { service } from './service.ts';
import { testAuthority } from './test-authority.ts';
import { type EchoHandlers, echoDefinition, openRules, principalNamed } from './test-echo.ts';

const BEARER = { token: async () => 'user-1', refused: () => undefined };

const start = (options: Partial<ServerOptions> = {}): Promise<RunningServer> =>
  startServer({
    address: '127.0.0.1:0',
    tls: 'plaintext',
    services: [],
    authenticate: async (token) => principalNamed(token),
    authorize: async () => ({ allowed: true, principalActive: true }),
    clock: systemClock,
    random: systemRandom,
    tracer: trace.getTracer('test'),
    log: logger({ service: 'test', clock: systemClock, write: () => undefined }),
    ...options,
  });

const echo: EchoHandlers = {
  echo: async (request) => request,
  change: async (request) => request,
  list: async function* (request) {
    yield request;
  },
  join: async () => ({ text: '' }),
};
const echoService = service({ definition: echoDefinition, implementation: echo, authorization: openRules });

const bytesAsTheyAre = (bytes: Buffer): Buffer => bytes;

/** Sends one encoded message with a plain gRPC client. */
const callRaw = (client: RawClient, path: string, request: string): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, bytesAsTheyAre, bytesAsTheyAre, Buffer.from(request, 'hex'), (error, answer) =>
      error === null && answer !== undefined ? resolve(answer) : reject(error),
    );
  });

describe('health, reflection and address of a server', () => {
  let server: RunningServer;
  let raw: RawClient;
  let isReady = true;
  before(async () => {
    const unimplemented = async (): Promise<never> => assert.fail('not called here');
    const implementation = {
      readFeed: unimplemented,
      readEvents: unimplemented,
      listParkedFacts: unimplemented,
      replayParkedFact: unimplemented,
      listConsumers: unimplemented,
      getRelay: unimplemented,
      listReplicas: unimplemented,
    };
    const authorization = {
      readFeed: { workload: ['disk'] },
      readEvents: { workload: ['disk'] },
      listParkedFacts: { workload: ['disk'] },
      replayParkedFact: { workload: ['disk'] },
      listConsumers: { workload: ['disk'] },
      getRelay: { workload: ['disk'] },
      listReplicas: { workload: ['disk'] },
    } as const;
    server = await start({
      isReady: () => isReady,
      reflectionDescriptors: fileDescriptorSet,
      services: [service({ definition: MessagingServiceDefinition, implementation, authorization })],
    });
    raw = new RawClient(server.address, grpcCredentials.createInsecure());
  });
  after(async () => {
    raw.close();
    await server.stop();
  });

  test('health answers SERVING while ready and NOT_SERVING while not, without a token', async () => {
    assert.equal((await callRaw(raw, '/grpc.health.v1.Health/Check', '')).toString('hex'), '0801');
    isReady = false;
    assert.equal((await callRaw(raw, '/grpc.health.v1.Health/Check', '')).toString('hex'), '0802');
    isReady = true;
    assert.equal((await callRaw(raw, '/grpc.health.v1.Health/Check', '')).toString('hex'), '0801');
  });

  test('reflection lists the services served', async () => {
    const stream = raw.makeBidiStreamRequest(
      '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
      bytesAsTheyAre,
      bytesAsTheyAre,
    );
    const answer = new Promise<Buffer>((resolve, reject) => stream.once('data', resolve).once('error', reject));
    // ServerReflectionRequest{list_services: ""}
    stream.write(Buffer.from('3a00', 'hex'));
    assert.match((await answer).toString('latin1'), /interlock\.messaging\.v1\.MessagingService/);
    stream.end();
  });

  test('bytes that are no request of reflection are refused with INVALID_ARGUMENT', async () => {
    const stream = raw.makeBidiStreamRequest(
      '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
      bytesAsTheyAre,
      bytesAsTheyAre,
    );
    const refused = new Promise<{ readonly code?: number }>((resolve) => stream.once('error', resolve));
    stream.on('data', () => {});
    stream.write(Buffer.from('ff', 'hex'));
    assert.equal((await refused).code, status.INVALID_ARGUMENT);
  });

  test('the address has the port that the system chose', () => {
    assert.match(server.address, /^127\.0\.0\.1:[1-9]\d+$/);
  });
});

test('a stopping server sends NOT_SERVING to health watches, and ends them', async () => {
  const server = await start();
  const raw = new RawClient(server.address, grpcCredentials.createInsecure());
  const watch = raw.makeServerStreamRequest(
    '/grpc.health.v1.Health/Watch',
    bytesAsTheyAre,
    bytesAsTheyAre,
    Buffer.alloc(0),
  );
  const answers: string[] = [];
  const ended = new Promise((resolve) => watch.once('error', resolve).once('end', resolve));
  const begun = new Promise((resolve) => watch.once('data', resolve));
  watch.on('data', (bytes: Buffer) => answers.push(bytes.toString('hex')));
  await begun;
  await server.stop({ graceMs: 2_000, streamGraceMs: 0 });
  await ended;
  raw.close();
  assert.deepEqual(answers, ['0801', '0802']);
});

test('a client that never ends its side of a connection delays a stop only while calls are running', {
  timeout: 30_000,
}, async (t) => {
  const running = Promise.withResolvers<void>();
  const release = Promise.withResolvers<{ readonly text: string }>();
  const slow = () => {
    running.resolve();
    return release.promise;
  };
  const server = await start({
    services: [
      service({
        definition: echoDefinition,
        implementation: { ...echo, echo: slow },
        authorization: { ...openRules, echo: { public: true } },
      }),
    ],
  });
  const silent = connectTcp({ host: '127.0.0.1', port: Number(server.address.split(':')[1]), allowHalfOpen: true });
  const emptySettings = Buffer.from('000000040000000000', 'hex');
  t.after(() => silent.destroy());
  silent.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), emptySettings]));
  await once(silent, 'data');
  const raw = new RawClient(server.address, grpcCredentials.createInsecure());
  t.after(() => raw.close());
  const answer = callRaw(raw, '/test.Echo/Echo', Buffer.from('{}').toString('hex'));
  await running.promise;
  const order: string[] = [];
  // The grace period is longer than the test.
  const stopped = server.stop({ graceMs: 3_600_000 }).then(() => order.push('stopped'));
  release.resolve({ text: 'late' });
  await answer.then(() => order.push('answered'));
  await stopped;
  assert.deepEqual(order, ['answered', 'stopped']);
});

test('a plain gRPC client gets DEADLINE_EXCEEDED at the maximum of the server', async () => {
  const server = await start({
    deadlineMaxMs: 1,
    services: [
      service({
        definition: echoDefinition,
        implementation: { ...echo, echo: () => new Promise<never>(() => undefined) },
        authorization: { ...openRules, echo: { public: true } },
      }),
    ],
  });
  const raw = new RawClient(server.address, grpcCredentials.createInsecure());
  await assert.rejects(callRaw(raw, '/test.Echo/Echo', Buffer.from('{}').toString('hex')), /4 DEADLINE_EXCEEDED/);
  raw.close();
  await server.stop();
});

describe('over TLS', () => {
  test('TLS 1.2 works only with authenticated encryption, also after a renewal', async (t) => {
    const authority = await testAuthority('ours');
    let current: ServerTls = await authority.issue();
    const renewals: (() => void)[] = [];
    const onRenewal = (told: () => void) => {
      renewals.push(told);
      return () => undefined;
    };
    const server = await start({ tls: { current: () => current, onRenewal } });
    t.after(() => server.stop());
    const [host = '', port] = server.address.split(':');
    const protocolWith = (ciphers: string): Promise<string | null> =>
      new Promise((resolve, reject) => {
        const options = { ca: authority.ca, maxVersion: 'TLSv1.2', ciphers } as const;
        const socket = connectTls({ host, port: Number(port), ALPNProtocols: ['h2'], ...options }, () => {
          resolve(socket.getProtocol());
          socket.destroy();
        });
        socket.once('error', reject);
      });
    const look = async () => {
      for (const suite of [
        'ECDHE-ECDSA-AES128-SHA256',
        'ECDHE-ECDSA-AES256-SHA',
        'ECDHE-RSA-AES128-SHA',
        'AES128-SHA',
      ]) {
        await assert.rejects(
          protocolWith(suite),
          /alert handshake failure|no shared cipher|no ciphers available/i,
          suite,
        );
      }
      assert.equal(await protocolWith('ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256'), 'TLSv1.2');
    };
    await new Promise((resolve) => setImmediate(resolve));
    await look();
    current = await authority.issue();
    for (const told of renewals) told();
    await look();
  });

  test('a client trusts only its authority; with mutual TLS it must present a certificate of that authority', async () => {
    const [ours, others] = await Promise.all([testAuthority('ours'), testAuthority('others')]);
    const server = await start({ tls: { ...(await ours.issue()), clientCa: ours.ca }, services: [echoService] });
    const call = async (tls: Parameters<typeof openChannel>[0]['tls']) => {
      const channel = openChannel({ address: server.address, tls });
      const client = connect({
        channel,
        definition: echoDefinition,
        clock: systemClock,
        random: systemRandom,
        tracer: trace.getTracer('test'),
        credentials: BEARER,
        audience: 'interlock:echo',
      });
      try {
        return await client.change({ text: 'a' });
      } finally {
        channel.close();
      }
    };
    const unavailable = (error: unknown) => error instanceof RpcFailure && error.code === 'UNAVAILABLE';
    assert.deepEqual(await call({ ca: ours.ca, ...(await ours.issue()) }), { text: 'a' });
    await assert.rejects(call({ ca: ours.ca }), unavailable);
    await assert.rejects(call({ ca: ours.ca, ...(await others.issue()) }), unavailable);
    await assert.rejects(call({ ca: others.ca, ...(await ours.issue()) }), unavailable);
    await assert.rejects(call('plaintext'), unavailable);
    await server.stop();
  });
});

test('rpc.server.call.duration counts calls by method and status', async () => {
  const { meter, read } = testMeter();
  const refusing: EchoHandlers = {
    ...echo,
    change: async () => {
      throw new Rejection('NOT_FOUND', 'THING_NOT_FOUND', 'the thing does not exist');
    },
  };
  const services = [service({ definition: echoDefinition, implementation: refusing, authorization: openRules })];
  const server = await start({ meter, services });
  const channel = openChannel({ address: server.address, tls: 'plaintext' });
  const seams = { clock: systemClock, random: systemRandom, tracer: trace.getTracer('test'), credentials: BEARER };
  const client = connect({ channel, definition: echoDefinition, audience: 'interlock:echo', ...seams });
  try {
    await client.echo({ text: 'a' });
    await assert.rejects(client.change({ text: 'a' }), Rejection);
    for await (const _ of client.list({ text: 'a' })) {
      // Reads to the end.
    }
  } finally {
    channel.close();
    await server.stop();
  }
  const found = (await read('rpc.server.call.duration')).map(
    ([by, value]) => `${by['rpc.method']} ${by['rpc.status_code']} ${(value as { count: number }).count}`,
  );
  const of = (method: string) => `${echoDefinition.fullName}/${method}`;
  assert.deepEqual(found, [`${of('Echo')} OK 1`, `${of('Change')} NOT_FOUND 1`, `${of('List')} OK 1`]);
});

describe('requests of unauthenticated callers', () => {
  let server: RunningServer;
  let raw: RawClient;
  before(async () => {
    const refusing: EchoHandlers = {
      ...echo,
      echo: async ({ text }) => {
        throw new Rejection('INVALID_ARGUMENT', 'NAME_INVALID', `name is "${text}"`, { field: 'name', value: text });
      },
      change: async (request) => request,
      join: async (requests) => {
        let text = '';
        for await (const request of requests) text += request.text;
        return { text };
      },
    };
    const rule = { public: true } as const;
    const authorization = { echo: rule, change: rule, list: rule, join: rule };
    const bound = service({ definition: echoDefinition, implementation: refusing, authorization });
    server = await start({ services: [bound] });
    raw = new RawClient(server.address, grpcCredentials.createInsecure());
  });
  after(async () => {
    raw.close();
    await server.stop();
  });

  for (const text of ['x'.repeat(60_000), '\u{1f511}'.repeat(14_000), 'a\ud83d']) {
    test(`a refusal that repeats ${text.length} characters of the request fits into the trailers`, async () => {
      const refused = callRaw(raw, '/test.Echo/Echo', Buffer.from(JSON.stringify({ text })).toString('hex'));
      const error = await refused.then(
        () => assert.fail('it was taken'),
        (thrown: ServiceError) => thrown,
      );
      assert.equal(error.code, status.INVALID_ARGUMENT, error.message);
      assert.match(error.details, /^name is "/);
      const trailers = Object.entries(error.metadata.toHttp2Headers()).map(([key, value]) => `${key}: ${value}`);
      assert.ok(trailers.join('').length + encodeURI(error.details).length < 8_192);
    });
  }

  test('bytes that cannot be decoded are refused as REQUEST_MALFORMED, alone and in a stream', async () => {
    const isMalformed = (error: ServiceError): true => {
      assert.equal(error.code, status.INVALID_ARGUMENT, error.message);
      const [details] = error.metadata.get('grpc-status-details-bin');
      assert.match(String(details), /REQUEST_MALFORMED/);
      return true;
    };
    const notJson = Buffer.from('{').toString('hex');
    await assert.rejects(callRaw(raw, '/test.Echo/Change', notJson), isMalformed);
    const joined = new Promise<Buffer | undefined>((resolve, reject) => {
      const call = raw.makeClientStreamRequest('/test.Echo/Join', bytesAsTheyAre, bytesAsTheyAre, (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
      call.write(Buffer.from('{"text":"a"}'));
      call.write(Buffer.from('{'));
      call.end();
    });
    await assert.rejects(joined, isMalformed);
  });
});
