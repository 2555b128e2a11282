import { type EventStore, openPostgresStore, type StreamName } from '@interlock/event-store';
import { type Nats, startNats } from '@interlock/local/nats.ts';
import { removeStreams } from '@interlock/local/nats-streams.ts';
import { ensureStreams, type Handler, messagingApi, natsBus, startConsumer, startRelay } from '@interlock/messaging';
import { logger, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { benchOf, openDatabases } from './bench.ts';
import { benchCause, eventData } from './event.ts';
import { openFeedFloor } from './feed-floor.ts';
import { alternate, inFlight, percentile, quantilesOf, rounded, timed } from './measure.ts';

const payload = Buffer.from(JSON.stringify(eventData));
const streams: readonly StreamName[] = Array.from({ length: 256 }, (_, n): StreamName => `counter-${n}`);
const streamAt = (n: number): StreamName => streams[n % streams.length] ?? 'counter-0';
const copies = 'copy_v1';
const latencyPerSecond = 1_000;
/** Messages of the floor in flight. More do not make it faster. */
const floorWindow = 1_000;

/**
 * From a commit in one service to its effect in another: store, relay, JetStream, consumer, and a handler that writes a row
 * in the commit that moves the consumer's cursor.
 * - value: events a second, `size` events committed 256 at a time, until the last has taken effect
 * - floor: as many messages on plain JetStream, with as many partitions and one acknowledged UPDATE a message
 * - `p50`, `p99`, `floorP50`, `floorP99`: ms from the end of the commit (floor: the call of publish) until the effect is stored, at 1,000 events a second
 */
export const feed = benchOf(
  { name: 'feed', unit: 'events/s', sizes: [20_000], smoke: streams.length },
  async ({ size, options: { data }, scope, usually }) => {
    const each = Math.ceil(size / streams.length);
    const events = each * streams.length;
    const { urls } = await openDatabases('feed', ['source', 'sink'], data, scope);
    const nats = await startNats({ data, env: process.env, say: console.error });
    scope.defer('NATS', nats.stop);
    const pipe = await openPipe(urls, nats, scope);
    const publishToFloor = await openFeedFloor({ nats, databaseUrl: urls.sink, streams, payload }, scope);

    const samples = await alternate(usually(5), {
      value: () => pipe.commitMany(each),
      floor: () => inFlight(floorWindow, events, (n) => publishToFloor(streamAt(n))),
    });
    const seconds = usually(5, 0.1);
    const latencies = await atRate(seconds, (stream) => pipe.commitOne(stream));
    const floorLatencies = await atRate(seconds, (stream) => timed(() => publishToFloor(stream)));
    const [p50, floorP50] = [percentile(latencies, 0.5), percentile(floorLatencies, 0.5)];
    const rates = (took: readonly number[]): readonly number[] => took.map((ms) => (events / ms) * 1000);
    const details = {
      p50: rounded(p50),
      p99: rounded(percentile(latencies, 0.99)),
      floorP50: rounded(floorP50),
      floorP99: rounded(percentile(floorLatencies, 0.99)),
      latencyRatio: rounded(p50 / floorP50),
      latencyMsQuantiles: quantilesOf(latencies),
      floorLatencyMsQuantiles: quantilesOf(floorLatencies),
    };
    return { values: rates(samples.value), floors: rates(samples.floor), size: events, details };
  },
);

/** Two stores with a relay, a bus and a consumer between them. */
const openPipe = async (
  urls: { readonly source: string; readonly sink: string },
  nats: Nats,
  scope: Scope,
): Promise<Pipe> => {
  const parts = { clock: systemClock, random: systemRandom, tracer: trace.getTracer('bench') };
  const log = logger({ service: 'bench', clock: systemClock, write: (line) => console.error(line) });
  const openStore = async (url: string): Promise<EventStore> => {
    const store = await openPostgresStore({ url, ...parts });
    scope.defer('store', () => store.close());
    return store;
  };
  const source = await openStore(urls.source);
  const effects = new Effects(await openStore(urls.sink));
  const namespace = `benchfeed${process.pid}`;
  const limits = { services: ['source' as const], namespace, bytesMax: 256 * 1024 ** 2 };
  await ensureStreams(nats.access, limits, { clock: systemClock, patienceMs: 10_000 });
  scope.defer('streams', () => removeStreams(nats, `${namespace}_`));
  const openBus = async () => {
    const bus = await natsBus({ ...nats.access, clock: systemClock, namespace, log });
    scope.defer('bus', () => bus.close());
    return bus;
  };
  const toFact = () => ({ type: 'Counted', payload });
  const relay = startRelay({ service: 'source', store: source, bus: await openBus(), toFact, log, ...parts });
  scope.defer('relay', () => relay.stop());
  const api = messagingApi({ service: 'source', store: source, toFact, consumers: [], relay, clock: systemClock, log });
  const consumer = startConsumer({
    service: 'sink',
    source: 'source',
    categories: ['counter'],
    handlers: { Counted: copy },
    store: effects.store,
    bus: await openBus(),
    readFeed: (request) => api.readFeed({ ...request, limit: 0 }),
    log,
    ...parts,
  });
  scope.defer('consumer', () => consumer.stop());
  return new Pipe(source, effects);
};

/** The effect of a fact: a row with the version of its stream. */
const copy: Handler = async ({ stream, version }) => ({
  rows: [{ table: copies, key: stream, row: { version }, version, removed: [], added: [] }],
});

/** Commits to the source and waits for effects in the sink. */
class Pipe {
  readonly #source: EventStore;
  readonly #effects: Effects;
  readonly #versions = new Map<StreamName, number>(streams.map((stream) => [stream, 0]));
  readonly #lastCommit = new Map<StreamName, Promise<unknown>>();

  constructor(source: EventStore, effects: Effects) {
    this.#source = source;
    this.#effects = effects;
  }

  /** Commits this many events to every stream; resolves when all have taken effect. */
  async commitMany(each: number): Promise<void> {
    const last = streams.map((stream) => this.#effects.stored(stream, (this.#versions.get(stream) ?? 0) + each));
    for (let n = 0; n < each; n++)
      await this.#source.commit({ appends: streams.map((stream) => this.#append(stream)) }, benchCause);
    await Promise.all(last);
  }

  /** @returns ms from the end of the commit until its effect is stored */
  async commitOne(stream: StreamName): Promise<number> {
    const append = this.#append(stream);
    const effect = this.#effects.stored(stream, append.expected + 1);
    // The commits of one stream follow one another.
    const before = this.#lastCommit.get(stream) ?? Promise.resolve();
    const committed = before.then(() => this.#source.commit({ appends: [append] }, benchCause));
    this.#lastCommit.set(stream, committed);
    await committed;
    const since = performance.now();
    return Math.max(0, (await effect) - since);
  }

  #append(stream: StreamName) {
    const expected = this.#versions.get(stream) ?? 0;
    this.#versions.set(stream, expected + 1);
    return { stream, expected, events: [{ type: 'Counted', schema: 1, data: eventData }] };
  }
}

/** The consumer's store, which reports when an effect was stored in it. */
class Effects {
  readonly store: EventStore;
  readonly #waiting = new Map<string, (atMs: number) => void>();

  constructor(sink: EventStore) {
    this.store = {
      ...sink,
      commit: async (commit, why) => {
        const committed = await sink.commit(commit, why);
        const atMs = performance.now();
        for (const { table, key, version } of commit.rows ?? [])
          if (table === copies) this.#waiting.get(`${key} ${version}`)?.(atMs);
        return committed;
      },
    };
  }

  /** @returns `performance.now()` when the effect of this version of the stream was stored */
  async stored(stream: string, version: number): Promise<number> {
    const name = `${stream} ${version}`;
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#waiting.set(name, resolve);
    const atMs = await promise;
    this.#waiting.delete(name);
    return atMs;
  }
}

/** Calls at a fixed rate, whether or not earlier calls have ended. @returns the measurement of each */
const atRate = async (
  seconds: number,
  measure: (stream: StreamName) => Promise<number>,
): Promise<readonly number[]> => {
  const count = Math.ceil(seconds * latencyPerSecond);
  const measured: Promise<number>[] = [];
  const since = performance.now();
  while (measured.length < count) {
    const due = Math.min(count, Math.ceil(((performance.now() - since) * latencyPerSecond) / 1000));
    while (measured.length < due) measured.push(measure(streamAt(measured.length)));
    await systemClock.sleep(1);
  }
  return Promise.all(measured);
};
