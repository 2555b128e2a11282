import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type Commit, type EventStore, memoryStore, StoreUnavailable, type StreamName } from '@interlock/event-store';
import { type Logger, logger, type Random, seededRandom, type VirtualClock, virtualClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type Consumer, startConsumer } from './consumer.ts';
import type { ReadFeed } from './consumer-options.ts';
import type { ToFact } from './facts.ts';
import { readFeed } from './feed.ts';
import type { Handler } from './handlers.ts';
import type { Keep } from './keep.ts';
import { type MemoryBus, memoryBus } from './memory-bus.ts';
import { type Relay, startRelay } from './relay.ts';

/** Faults outside of the bus; numbers are probabilities. */
export interface WorldFaults {
  /** A commit is not stored, and fails. */
  refuse: number;
  /** A commit is stored, and fails nevertheless. */
  storeAndFail: number;
  /** The source is unreachable. */
  feed: number;
  /** Runs before each commit of a relay or consumer: another process is faster between its read and its commit. */
  beforeCommit: (commit: Commit) => Promise<void>;
}

/** A source service `src` and a consuming service `dst`, each with a store of its own, in virtual time. */
export interface World {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly log: Logger;
  readonly lines: readonly string[];
  readonly bus: MemoryBus;
  readonly faults: WorldFaults;
  /** The stores without faults, for the test itself. */
  readonly source: EventStore;
  readonly sink: EventStore;
  /** Number of calls for the feed of the source. */
  readonly feedCalls: () => number;
  append(stream: StreamName, ...types: string[]): Promise<void>;
  startRelay(keep?: Keep): Relay;
  /** @param handler for every fact type the tests use; default `copyHandler` */
  startConsumer(handler?: Handler): Consumer;
  /** The published facts of a stream, and their copies by the consumer: `<version> <type>`, in order. */
  told(stream: StreamName): Promise<readonly string[]>;
  copied(stream: StreamName): Promise<readonly string[]>;
  /** Whether every published fact of these streams has taken effect, exactly once and in order. */
  isComplete(streams: readonly StreamName[]): Promise<boolean>;
}

const PARTITIONS = 2;
const tracer = trace.getTracer('test');
/** Categories of the streams that tests publish. */
export const CATEGORIES = ['disk', 'thing', 'a'] as const;
export const FACT_TYPES = ['Created', 'Changed', 'Gone', 'Poison'] as const;

export const toFact: ToFact = ({ type, data }) =>
  type === 'Secret' ? null : { type, payload: Buffer.from(JSON.stringify(data)) };

/** Name of the stream into which the consumer copies the facts of a stream. */
const copyOf = (stream: string): StreamName => `copy-${stream}`;

/** Appends one event to the copy of the fact's stream: a second effect, a lost one or a wrong order would show in it. */
export const copyHandler =
  (store: EventStore): Handler =>
  async (fact: Fact) => {
    const stream = copyOf(fact.stream);
    const expected = (await store.read(stream)).length;
    const event = { type: 'Copied', schema: 1, data: { version: fact.version, type: fact.type } };
    return { appends: [{ stream, expected, events: [event] }] };
  };

export const testWorld = (seed = 1): World => {
  const clock = virtualClock();
  const random = seededRandom(seed);
  const faults: WorldFaults = { refuse: 0, storeAndFail: 0, feed: 0, beforeCommit: async () => undefined };
  const lines: string[] = [];
  const log = logger({ service: 'test', clock, write: (line) => lines.push(line) });
  const bus = memoryBus({ clock, random });
  const source = memoryStore({ clock });
  const sink = memoryStore({ clock });
  const happens = (probability: number): boolean => probability > 0 && random.fraction() < probability;
  let calls = 0;

  const faulty = (store: EventStore): EventStore => ({
    ...store,
    async commit(commit: Commit, cause) {
      await faults.beforeCommit(commit);
      if (happens(faults.refuse)) throw new StoreUnavailable('refused');
      const result = await store.commit(commit, cause);
      if (happens(faults.storeAndFail)) throw new StoreUnavailable('stored, and reported as failed');
      return result;
    },
  });
  const feed: ReadFeed = async ({ partition, partitionCount, afterPosition }) => {
    calls += 1;
    if (happens(faults.feed)) throw new Error('source not reached');
    const options = { service: 'src', partitionCount, store: source, toFact };
    return readFeed(options, { partition, partitionCount, afterPosition, limit: 3 });
  };
  const told = async (stream: StreamName): Promise<readonly string[]> =>
    (await source.read(stream))
      .filter(({ type }) => type !== 'Secret')
      .map(({ version, type }) => `${version} ${type}`);
  const copied = async (stream: StreamName): Promise<readonly string[]> =>
    (await sink.read(copyOf(stream))).map(({ data }) => `${data.version} ${data.type}`);

  return {
    clock,
    random,
    log,
    lines,
    bus,
    faults,
    source,
    sink,
    feedCalls: () => calls,
    async append(stream, ...types) {
      const expected = (await source.read(stream)).length;
      const events = types.map((type) => ({ type, schema: 1, data: {} }));
      const cause = { correlationId: `correlation-${stream}`, causes: [], caller: 'principals/p' };
      await source.commit({ appends: [{ stream, expected, events }] }, cause);
    },
    startRelay: (keep) =>
      startRelay({
        service: 'src',
        store: faulty(source),
        bus,
        toFact,
        clock,
        random,
        log,
        tracer,
        partitionCount: PARTITIONS,
        ...(keep === undefined ? {} : { keep }),
      }),
    startConsumer(handler = copyHandler(sink)) {
      const handlers = Object.fromEntries(FACT_TYPES.map((type) => [type, handler]));
      const store = faulty(sink);
      const parts = { store, bus, clock, random, log, tracer, partitionCount: PARTITIONS };
      return startConsumer({
        service: 'dst',
        source: 'src',
        categories: CATEGORIES,
        handlers,
        readFeed: feed,
        ...parts,
      });
    },
    told,
    copied,
    async isComplete(streams) {
      for (const stream of streams) {
        if ((await told(stream)).join() !== (await copied(stream)).join()) return false;
      }
      return true;
    },
  };
};

/** Relay of a service whose own facts the test ignores. */
export const idleRelay = { position: () => 0, outage: () => undefined };
