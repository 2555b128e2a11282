import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { type EventStore, openConnections, openPostgresStore, type StreamName } from '@interlock/event-store';
import { type Logger, logger, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { Bus } from './bus.ts';
import { type Consumer, startConsumer } from './consumer.ts';
import { readFeed } from './feed.ts';
import { natsBus } from './nats-bus.ts';
import { type Relay, startRelay } from './relay.ts';
import { ensureStreams } from './streams.ts';
import { startTestNatsServer, type TestNatsServer } from './test-nats-server.ts';
import { copyHandler, FACT_TYPES, toFact } from './test-world.ts';

const STREAMS: readonly StreamName[] = Array.from({ length: 20 }, (_, index): StreamName => `disk-${index}`);
const cause = { correlationId: 'c', causes: [], caller: 'p' };
const parts = { clock: systemClock, random: systemRandom, tracer: trace.getTracer('test') };
const lines: string[] = [];
const log: Logger = logger({ service: 'test', clock: systemClock, write: (line) => lines.push(line) });

/** A Postgres store in its own database. */
const openStore = async (): Promise<{ store: EventStore; drop: () => Promise<void> }> => {
  const server = process.env.DATABASE_URL;
  if (!server) throw new Error('DATABASE_URL is not set: this test needs a Postgres 17 server');
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const admin = openConnections(server, { maxConnections: 1 });
  await admin.unsafe(`create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const store = await openPostgresStore({ url: url.href, clock: systemClock });
  return {
    store,
    async drop() {
      await store.close();
      await admin.unsafe(`drop database ${name} with (force)`);
      await admin.end({ timeout: 1 });
    },
  };
};

let server: TestNatsServer;
const buses: Bus[] = [];
let source: Awaited<ReturnType<typeof openStore>>;
let sink: Awaited<ReturnType<typeof openStore>>;

before(async () => {
  [server, source, sink] = await Promise.all([startTestNatsServer(), openStore(), openStore()]);
  await createStream();
});
after(async () => {
  await Promise.all(buses.map((bus) => bus.close()));
  await Promise.all([source?.drop(), sink?.drop(), server?.remove()]);
});

const createStream = (): Promise<void> =>
  ensureStreams({ servers: [server.url] }, { services: ['src'] }, { clock: systemClock, patienceMs: 0 });
const openBus = async (): Promise<Bus> => {
  const bus = await natsBus({ servers: [server.url], clock: systemClock, publishTimeoutMs: 1_000 });
  buses.push(bus);
  return bus;
};
const relayOn = async (): Promise<Relay> =>
  startRelay({ ...parts, service: 'src', store: source.store, bus: await openBus(), toFact, log });
const consumerOn = async (): Promise<Consumer> => {
  const handlers = Object.fromEntries(FACT_TYPES.map((type) => [type, copyHandler(sink.store)]));
  const feed = { service: 'src', partitionCount: 4, store: source.store, toFact };
  return startConsumer({
    ...parts,
    service: 'dst',
    source: 'src',
    categories: ['disk'],
    handlers,
    store: sink.store,
    bus: await openBus(),
    log,
    readFeed: ({ partition, partitionCount, afterPosition }) =>
      readFeed(feed, { partition, partitionCount, afterPosition, limit: 0 }),
  });
};

const append = async (rounds: number): Promise<void> => {
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all(
      STREAMS.map(async (stream) => {
        const expected = (await source.store.read(stream)).length;
        const events = ['Changed', 'Secret', 'Changed'].map((type) => ({ type, schema: 1, data: {} }));
        await source.store.commit({ appends: [{ stream, expected, events }] }, cause);
      }),
    );
  }
};

const isComplete = async (): Promise<boolean> => {
  for (const stream of STREAMS) {
    const told = (await source.store.read(stream))
      .filter(({ type }) => type !== 'Secret')
      .map(({ version }) => version);
    const copied = (await sink.store.read(`copy-${stream}`)).map(({ data }) => data.version);
    assert.deepEqual(
      copied,
      told.slice(0, copied.length),
      `the copies of ${stream} are the first of its published facts`,
    );
    if (copied.length < told.length) return false;
  }
  return true;
};
const until = async (condition: () => Promise<boolean>): Promise<void> => {
  while (!(await condition())) await systemClock.sleep(20);
};

test('on Postgres and NATS, each fact takes effect once and in order while NATS restarts and loses its data (G7)', {
  timeout: 180_000,
}, async () => {
  let relay = await relayOn();
  let consumer = await consumerOn();
  await append(5);
  await until(isComplete);

  const during = append(10);
  await server.kill();
  await during;
  await server.start();
  await append(2);
  await until(isComplete);

  await Promise.all([relay.stop(), consumer.stop()]);
  await append(3);
  [relay, consumer] = [await relayOn(), await consumerOn()];
  await until(isComplete);

  await server.kill();
  await server.wipe();
  await append(3);
  await server.start();
  await createStream();
  await append(1);
  await until(isComplete);
  await until(async () => consumer.status().every(({ gap }) => gap === 0));

  const head = await source.store.head();
  await until(async () => (await source.store.cursor('relay')) === head);
  await Promise.all([relay.stop(), consumer.stop()]);
});
