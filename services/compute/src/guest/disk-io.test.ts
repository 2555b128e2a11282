import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { Client, credentials, experimental } from '@grpc/grpc-js';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import { startMutingProxy } from '@interlock/event-store/test-cut-connections';
import { type RunningServer, service, startServer } from '@interlock/rpc';
import { systemClock as clock, logger, systemRandom as random } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { GuestDisk } from '../guests/vm-host.ts';
import { connectionOptions, diskIo, IoError } from './disk-io.ts';
import { Whereabouts } from './whereabouts.ts';

const log = logger({ service: 'test', clock, write: () => {} });
const disk: GuestDisk = {
  disk: 'disks/d',
  lun: 0,
  isOs: true,
  sizeBytes: 4096,
  dataAddress: '',
  nbdAddress: '',
  accessToken: 'token',
  isContinued: false,
};
const never = new AbortController().signal;

/** Calls that reached the host. */
let calls = 0;
let refusal: string | undefined;
/** Where the disk is by now: the answer to the first call. */
let movedTo: string | undefined;
/** Where the disk is by now: the answer to each flush. */
let flushedAt: string | undefined;
/** While it is set, calls wait for it before they are answered. */
let holding: Promise<void> | undefined;
const data = service({
  definition: DiskDataServiceDefinition,
  implementation: {
    async *read() {
      calls += 1;
      await holding;
      yield { data: new Uint8Array(8) };
    },
    async write(requests) {
      calls += 1;
      if (refusal !== undefined) throw new Rejection('UNAVAILABLE', refusal, 'refused');
      if (movedTo !== undefined && calls === 1) {
        throw new Rejection('FAILED_PRECONDITION', 'DISK_NOT_HERE', 'moved', { resource: 'd', data_address: movedTo });
      }
      await holding;
      let writtenBytes = 0;
      for await (const { data: piece } of requests) writtenBytes += piece.length;
      return { writtenBytes };
    },
    async flush() {
      calls += 1;
      if (flushedAt !== undefined) {
        const metadata = { resource: 'd', data_address: flushedAt };
        throw new Rejection('FAILED_PRECONDITION', 'DISK_NOT_HERE', 'moved', metadata);
      }
      await holding;
      return {};
    },
  },
  authorization: { read: { public: true }, write: { public: true }, flush: { public: true } },
});
const host = (address: string): Promise<RunningServer> =>
  startServer({
    address,
    tls: 'plaintext',
    services: [data],
    authenticate: async () => assert.fail('the caller is not authenticated'),
    authorize: async () => assert.fail('the caller is not authorized'),
    clock,
    random,
    tracer: trace.getTracer('test'),
    log,
  });

const clients: Client[] = [];
after(() => {
  for (const client of clients) client.close();
});
const clientOf = (address: string): Client => {
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 100,
  });
  clients.push(client);
  return client;
};

test('the connection to a host that is gone times out within a minute, however long an operation may take', () => {
  const silenceOf = (timeoutMs: number) => {
    const options = connectionOptions(timeoutMs);
    return [options['grpc.keepalive_time_ms'], options['grpc.keepalive_timeout_ms']];
  };
  assert.deepEqual(silenceOf(5_000), [5_000, 5_000]);
  assert.deepEqual(silenceOf(90_000), [30_000, 30_000]);
});

test('a restart of the host delays reads, writes and flushes, and fails none', async () => {
  const first = await host('127.0.0.1:0');
  const io = diskIo(() => clientOf(first.address), disk, clock);
  await io.write(0, new Uint8Array(8), never);
  await first.stop();
  const waiting = [io.write(0, new Uint8Array(8), never), io.read(0, 8, never), io.flush(never)];
  const settled = await Promise.race([...waiting, clock.sleep(300).then(() => 'waiting')]);
  assert.equal(settled, 'waiting', 'nothing fails while the host is gone');
  const second = await host(first.address);
  await Promise.all(waiting);
  await second.stop();
});

/** The address of the host of target `moving:`; undefined while its name cannot be resolved. */
let whereabouts: string | undefined;
class MovingResolver implements experimental.Resolver {
  private readonly listener: experimental.ResolverListener;
  constructor(_target: unknown, listener: experimental.ResolverListener) {
    this.listener = listener;
  }
  updateResolution(): void {
    const [host = '', port] = (whereabouts ?? '').split(':');
    const found =
      whereabouts === undefined
        ? unknownName
        : experimental.statusOrFromValue([{ addresses: [{ host, port: Number(port) }] }]);
    // As slow as a name server: with an immediate response, lookups and connection attempts would loop.
    void clock.sleep(20).then(() => this.listener(found, {}, null, ''));
  }
  destroy(): void {}
  static getDefaultAuthority = (): string => 'host';
}
const unknownName = experimental.statusOrFromError<experimental.Endpoint[]>({ code: 14, details: 'no such name' });
experimental.registerResolver('moving', MovingResolver);

test('G5: a guest finds its host at a new address while the old address accepts connections and does not respond', async () => {
  const first = await host('127.0.0.1:0');
  whereabouts = first.address;
  const io = diskIo(() => clientOf('moving:host'), disk, clock);
  await io.write(0, new Uint8Array(8), never);
  await first.stop();
  const waiting = io.write(0, new Uint8Array(8), never);
  await clock.sleep(300);
  // From here on its name is unknown, and the old address does not respond.
  whereabouts = undefined;
  const connected: Socket[] = [];
  const silent = createServer((socket) => connected.push(socket));
  silent.listen(Number(first.address.split(':')[1]), '127.0.0.1');
  await once(silent, 'connection');
  const second = await host('127.0.0.1:0');
  whereabouts = second.address;
  await waiting;
  for (const socket of connected) socket.destroy();
  silent.close();
  await second.stop();
});

test('G5: the guest reconnects when its connection to the host no longer responds', async () => {
  const running = await host('127.0.0.1:0');
  const proxy = await startMutingProxy('127.0.0.1', Number(running.address.split(':')[1]));
  const client = new Client(`127.0.0.1:${proxy.port}`, credentials.createInsecure(), connectionOptions(200));
  clients.push(client);
  const io = diskIo(() => client, disk, clock, { timeoutMs: 60_000 });
  await io.write(0, new Uint8Array(8), never);
  proxy.mute();
  await io.write(0, new Uint8Array(8), never);
  proxy.close();
  await running.stop();
});

test('G5: operations that the host has received when their connection ends are repeated', async () => {
  const running = await host('127.0.0.1:0');
  const sockets: Socket[] = [];
  const between = createServer((near) => {
    const far = connect(Number(running.address.split(':')[1]), '127.0.0.1');
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) {
      socket.on('error', () => undefined);
      sockets.push(socket);
    }
  });
  between.listen(0, '127.0.0.1');
  await once(between, 'listening');
  const io = diskIo(() => clientOf(`127.0.0.1:${(between.address() as AddressInfo).port}`), disk, clock, {
    timeoutMs: 60_000,
  });
  calls = 0;
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  holding = held;
  const waiting = [io.write(0, new Uint8Array(8), never), io.read(0, 8, never), io.flush(never)];
  const all = Promise.all(waiting);
  all.catch(() => undefined);
  while (calls < waiting.length) await clock.sleep(5);
  holding = undefined;
  for (const socket of sockets) socket.destroy();
  await all.finally(() => {
    release();
    between.close();
    for (const socket of sockets) socket.destroy();
  });
  assert.equal(calls, 2 * waiting.length);
  await running.stop();
});

test('an operation that the host refuses is not retried', async () => {
  const running = await host('127.0.0.1:0');
  const io = diskIo(() => clientOf(running.address), disk, clock);
  calls = 0;
  refusal = 'KEY_VAULT_UNREACHABLE';
  await assert.rejects(
    io.write(0, new Uint8Array(8), never),
    (error) => error instanceof IoError && error.reason === 'KEY_VAULT_UNREACHABLE',
  );
  assert.equal(calls, 1);
  await running.stop();
});

test('an operation on an unreachable host fails with DEADLINE_EXCEEDED after its time limit', async () => {
  const gone = await host('127.0.0.1:0');
  await gone.stop();
  const io = diskIo(() => clientOf(gone.address), disk, clock, { timeoutMs: 200 });
  await assert.rejects(io.flush(never), (error) => error instanceof IoError && error.reason === 'DEADLINE_EXCEEDED');
});

test('a stop does not wait for an unreachable host', async () => {
  const gone = await host('127.0.0.1:0');
  await gone.stop();
  const io = diskIo(() => clientOf(gone.address), disk, clock);
  const stopping = new AbortController();
  const waiting = assert.rejects(io.flush(stopping.signal), (error) => error instanceof IoError);
  stopping.abort();
  await waiting;
});

test('G6: an operation whose disk moves to another host is repeated there, and the next ones go there at once', async () => {
  const [from, to] = [await host('127.0.0.1:0'), await host('127.0.0.1:0')];
  const called: string[] = [];
  const io = diskIo(
    (address) => {
      called.push(address);
      return clientOf(address);
    },
    { ...disk, dataAddress: from.address },
    clock,
  );
  calls = 0;
  refusal = undefined;
  movedTo = to.address;
  try {
    await io.write(0, new Uint8Array(8), never);
    assert.deepEqual([calls, called], [2, [from.address, to.address]]);
    await from.stop({ graceMs: 0 });
    await io.flush(never);
    assert.equal(calls, 3);
  } finally {
    movedTo = undefined;
    await to.stop({ graceMs: 0 });
  }
});

test('G3: a guest finds a disk that moved while nothing was read or written, and whose former host is gone', async () => {
  const [from, to, service] = [await host('127.0.0.1:0'), await host('127.0.0.1:0'), await host('127.0.0.1:0')];
  await from.stop({ graceMs: 0 });
  const io = diskIo(clientOf, { ...disk, dataAddress: from.address }, clock, { diskAddresses: [service.address] });
  calls = 0;
  refusal = undefined;
  flushedAt = to.address;
  try {
    await io.write(0, new Uint8Array(8), never);
    assert.equal(calls, 2, 'one question to the disk service, and one write');
    await io.read(0, 8, never);
    assert.equal(calls, 3, 'the next one goes there at once');
  } finally {
    flushedAt = undefined;
    await Promise.all([to, service].map((one) => one.stop({ graceMs: 0 })));
  }
});

test('G3: a guest whose host is away for a while stays with it, and asks seldom whether its disk has moved', async () => {
  const asked: number[] = [];
  const whereabouts = new Whereabouts(async () => void asked.push(nowMs), ['disk:1'], { now: () => nowMs });
  let nowMs = 1_700_000_000_000;
  const from = nowMs;
  for (; nowMs < from + 60_000; nowMs += 500) await whereabouts.look();
  assert.deepEqual(
    asked.map((at) => (at - from) / 1_000),
    [0, 1, 3, 7, 15, 25, 35, 45, 55],
  );
  nowMs += 60_000;
  await whereabouts.look();
  nowMs += 1_000;
  await whereabouts.look();
  assert.equal(asked.length, 11, 'after a quiet time the questions are close together again');
});

test('G3: each process of the disk service is asked in turn, and one that does not respond delays the answer only', async () => {
  const silent = createServer();
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const [from, to, service] = [await host('127.0.0.1:0'), await host('127.0.0.1:0'), await host('127.0.0.1:0')];
  await from.stop({ graceMs: 0 });
  const io = diskIo(clientOf, { ...disk, dataAddress: from.address }, clock, {
    timeoutMs: 30_000,
    diskAddresses: [`127.0.0.1:${(silent.address() as AddressInfo).port}`, service.address],
  });
  calls = 0;
  flushedAt = to.address;
  try {
    await io.write(0, new Uint8Array(8), never);
    assert.equal(calls, 2);
  } finally {
    flushedAt = undefined;
    silent.close();
    await Promise.all([to, service].map((one) => one.stop({ graceMs: 0 })));
  }
});
