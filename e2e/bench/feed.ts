import { type Cause, type EventStore, openPostgresStore, type StreamName } from '@interlock/event-store';
import { type Nats, startNats } from '@interlock/local/nats.ts';
import { removeStreams } from '@interlock/local/nats-streams.ts';
import { startPostgres } from '@interlock/local/postgres.ts';
import { ensureStreams, type Handler, messagingApi, natsBus, startConsumer, startRelay } from '@interlock/messaging';
import { logger, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { BenchOptions } from './bench.ts';
import { type FeedFloor, openFeedFloor } from './feed-floor.ts';
import { inTurns, type Measurement, measurement, percentile, quantilesOf, rounded } from './measure.ts';

const cause: Cause = {
  correlationId: 'bench',
  causationId: 'bench',
  caller: 'system:bench',
  traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
};
const data = { name: 'x'.repeat(120), version: 'y'.repeat(32), at: 1_700_000_000_000 };
const payload = Buffer.from(JSON.stringify(data));
const streams: readonly StreamName[] = Array.from({ length: 256 }, (_, n): StreamName => `counter-${n}`);
const copies = 'copy_v1';
const defaultEvents = 20_000;
const perSecond = 1_000;
/** Messages of the floor under way in a run of many; the more, the better for it, up to about here. */
const floorWindow = 1_000;

/**
 * From a commit in one service to its effect in another: store, relay, JetStream, consumer, and a handler that puts a row
 * in the commit that moves the consumer's place.
 *
 * - value: events a second, `--size` events (20,000 by default) committed 256 at a time, until the last has taken effect
 * - floor: as many messages on plain JetStream with one UPDATE a message, of as many partitions, each acknowledged behind it
 * - `p50`, `p99` and the floor's: from the answer to a commit (the call of publish) until the effect is stored, at 1,000
 *   events a second, in ms; `latencyRatio` is between the medians
 */
export const feed = async (
  { smoke, size, data: folder }: BenchOptions,
  scope: Scope,
): Promise<readonly Measurement[]> => {
  const events = Math.ceil((size ?? (smoke ? streams.length : defaultEvents)) / streams.length) * streams.length;
  const postgres = await startPostgres(folder, process.env);
  scope.defer('Postgres', postgres.stop);
  const nats = await startNats({ data: folder, env: process.env, say: console.error });
  scope.defer('NATS', nats.stop);
  const databases = ['source', 'sink'].map((name) => `bench_feed_${name}_${process.pid}`);
  const [sourceName = '', sinkName = ''] = databases;
  await postgres.createDatabases(databases);
  scope.defer('databases', () => postgres.dropDatabases(databases));
  const sinkUrl = postgres.shortUrl(sinkName);
  const pipe = await openPipe({ sourceUrl: postgres.shortUrl(sourceName), sinkUrl, nats }, scope);
  const floor = await openFeedFloor({ nats, databaseUrl: sinkUrl, streams, payload }, scope);

  const samples = await inTurns(smoke ? 1 : 5, {
    value: () => pipe.commitMany(events / streams.length),
    floor: () => tellMany(floor, events),
  });
  const seconds = smoke ? 0.1 : 5;
  const latencies = await atRate(seconds, (stream) => pipe.commitOne(stream));
  const floorLatencies = await atRate(seconds, (stream) => timedTell(floor, stream));
  const [p50, floorP50] = [percentile(latencies, 0.5), percentile(floorLatencies, 0.5)];
  const rates = (took: readonly number[]): readonly number[] => took.map((ms) => (events / ms) * 1000);
  return [
    measurement({ bench: 'feed', size: events, unit: 'events/s' }, rates(samples.value), rates(samples.floor), {
      p50: rounded(p50),
      p99: rounded(percentile(latencies, 0.99)),
      floorP50: rounded(floorP50),
      floorP99: rounded(percentile(floorLatencies, 0.99)),
      latencyRatio: rounded(p50 / floorP50),
      latencyMsQuantiles: quantilesOf(latencies),
      floorLatencyMsQuantiles: quantilesOf(floorLatencies),
    }),
  ];
};

const openPipe = async (
  urls: { readonly sourceUrl: string; readonly sinkUrl: string; readonly nats: Nats },
  scope: Scope,
) => {
  const parts = { clock: systemClock, random: systemRandom };
  const log = logger({ service: 'bench', clock: systemClock, write: (line) => console.error(line) });
  const [source, sink] = await Promise.all([
    openPostgresStore({ url: urls.sourceUrl, ...parts }),
    openPostgresStore({ url: urls.sinkUrl, ...parts }),
  ]);
  scope.defer('stores', () => Promise.all([source.close(), sink.close()]).then(() => undefined));
  const namespace = `benchfeed${process.pid}`;
  await ensureStreams(
    urls.nats.access,
    { services: ['source'], namespace, bytesMax: 256 * 1024 ** 2 },
    { clock: systemClock, patienceMs: 10_000 },
  );
  scope.defer('streams', () => removeStreams(urls.nats, `${namespace}_`));
  const busOptions = { ...urls.nats.access, clock: systemClock, namespace, log };
  const [out, into] = await Promise.all([natsBus(busOptions), natsBus(busOptions)]);
  scope.defer('buses', () => Promise.all([out.close(), into.close()]).then(() => undefined));

  const tracer = trace.getTracer('bench');
  const toFact = () => ({ type: 'Counted', payload });
  const relay = startRelay({ service: 'source', store: source, bus: out, toFact, log, tracer, ...parts });
  scope.defer('relay', () => relay.stop());
  const api = messagingApi({ service: 'source', store: source, toFact, consumers: [], relay, clock: systemClock, log });
  const effects = effectsOf(sink);
  const consumer = startConsumer({
    service: 'sink',
    source: 'source',
    categories: ['counter'],
    handlers: { Counted: copy },
    store: effects.store,
    bus: into,
    readFeed: ({ partition, partitionCount, afterPosition }) =>
      api.readFeed({ partition, partitionCount, afterPosition, limit: 0 }),
    log,
    tracer,
    ...parts,
  });
  scope.defer('consumer', () => consumer.stop());

  const versions = new Map<StreamName, number>(streams.map((stream) => [stream, 0]));
  const append = (stream: StreamName) => {
    const expected = versions.get(stream) ?? 0;
    versions.set(stream, expected + 1);
    return { stream, expected, events: [{ type: 'Counted', schema: 1, data }] };
  };
  const lastCommit = new Map<StreamName, Promise<unknown>>();
  return {
    /** So many events of every stream, a commit for each. Resolves when all have taken effect. */
    async commitMany(each: number): Promise<void> {
      const last = streams.map((stream) => effects.when(stream, (versions.get(stream) ?? 0) + each));
      for (let n = 0; n < each; n++) await source.commit({ appends: streams.map(append) }, cause);
      await Promise.all(last);
    },
    /** @returns ms from the answer to the commit until the effect is stored */
    async commitOne(stream: StreamName): Promise<number> {
      const own = append(stream);
      const effect = effects.when(stream, own.expected + 1);
      // One stream's commits follow each other.
      const before = lastCommit.get(stream) ?? Promise.resolve();
      const committed = before.then(() => source.commit({ appends: [own] }, cause));
      lastCommit.set(stream, committed);
      await committed;
      const since = performance.now();
      return Math.max(0, (await effect) - since);
    },
  };
};

/** The effect of a fact: a row that says how far its stream has come. */
const copy: Handler = async ({ stream, version }) => ({
  rows: [{ table: copies, key: stream, row: { version }, version, removed: [], added: [] }],
});

/** The consumer's store, and when an effect was stored in it. */
const effectsOf = (sink: EventStore) => {
  const waiting = new Map<string, (atMs: number) => void>();
  const store: EventStore = {
    ...sink,
    async commit(commit, why) {
      const committed = await sink.commit(commit, why);
      const atMs = performance.now();
      for (const { table, key, version } of commit.rows ?? []) {
        if (table === copies) waiting.get(`${key} ${version}`)?.(atMs);
      }
      return committed;
    },
  };
  return {
    store,
    /** @returns when the effect of this version of the stream was stored, on the clock of `performance.now` */
    when: (stream: string, version: number): Promise<number> =>
      new Promise((resolve) => {
        const name = `${stream} ${version}`;
        waiting.set(name, (atMs) => {
          waiting.delete(name);
          resolve(atMs);
        });
      }),
  };
};

const tellMany = async (floor: FeedFloor, events: number): Promise<void> => {
  let left = events;
  await Promise.all(
    Array.from({ length: Math.min(floorWindow, events) }, async () => {
      while (left-- > 0) await floor.tell(streams[left % streams.length] ?? '');
    }),
  );
};

const timedTell = async (floor: FeedFloor, stream: string): Promise<number> => {
  const since = performance.now();
  await floor.tell(stream);
  return performance.now() - since;
};

/** Calls at a fixed rate, whether or not earlier ones have ended. @returns what each of them measured */
const atRate = async (
  seconds: number,
  measure: (stream: StreamName) => Promise<number>,
): Promise<readonly number[]> => {
  const count = Math.ceil(seconds * perSecond);
  const measured: Promise<number>[] = [];
  const since = performance.now();
  while (measured.length < count) {
    const due = Math.min(count, Math.ceil(((performance.now() - since) * perSecond) / 1000));
    while (measured.length < due) measured.push(measure(streams[measured.length % streams.length] ?? 'counter-0'));
    await systemClock.sleep(1);
  }
  return Promise.all(measured);
};
