import { type EventStore, memoryStore, StoreUnavailable, type StreamName } from '@interlock/event-store';
import { publishedStreams } from '@interlock/host';
import type { Findings } from '@interlock/lab/judge/findings';
import { type Consumer, type Handler, type Handlers, startConsumer, type ToFact } from '@interlock/messaging';
import type { Workload } from '@interlock/rpc';
import { logger, type SeededRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type FeedOptions, readFeed } from '../../../libs/messaging/src/feed.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';

/** Chance that a commit of the witness is refused, or stored without an acknowledgement. */
const commitFails = 0.1;

/**
 * A consumer in the cloud whose effect is not idempotent: it records each fact that it receives. Its record must be what was
 * published, each fact once and in order (G7). The services' own effects decide nothing the second time, so a fact that takes
 * effect twice would not show in them.
 */
export class Witness {
  readonly #world: SimulatedCloud;
  readonly #source: Workload;
  readonly #random: SeededRandom;
  readonly #store: EventStore;
  readonly #feed: FeedOptions;
  readonly #notebook: StreamName;
  #isFaulty = true;
  #consumer: Consumer;

  constructor(parts: {
    readonly world: SimulatedCloud;
    readonly source: Workload;
    readonly toFact: ToFact;
    readonly partitionCount: number;
  }) {
    const { world, source, toFact, partitionCount } = parts;
    this.#world = world;
    this.#source = source;
    this.#random = world.random.fork(`witness of ${source}`);
    this.#notebook = `notebook-${source}`;
    this.#feed = { service: source, partitionCount, store: world.storeOf(source), toFact };
    this.#store = this.#faultyStore();
    this.#consumer = this.#start();
  }

  /** Stops its consumer during its work and starts another. */
  async restart(): Promise<void> {
    await this.#consumer.stop();
    this.#consumer = this.#start();
  }

  /** No commit fails from here on. */
  heal(): void {
    this.#isFaulty = false;
  }

  async checkAll(log: Findings): Promise<void> {
    const published = await this.#published();
    const events = await this.#store.read(this.#notebook);
    const noted = events.map(({ data }) => `${data.position} ${data.type} of ${data.stream}`);
    const wrong = published.findIndex((line, index) => noted[index] !== line);
    if (wrong < 0 && noted.length === published.length) return;
    const at = wrong < 0 ? published.length : wrong;
    const next = published[at] ?? 'nothing';
    log.violate(
      'G7',
      `every fact of ${this.#source} takes effect exactly once and in order; next: ${next}`,
      `${noted[at] ?? 'nothing'} after ${noted[at - 1] ?? 'nothing'}; ${noted.length} effects of ${published.length} facts`,
    );
  }

  async #published(): Promise<readonly string[]> {
    const { partitionCount } = this.#feed;
    const published: string[] = [];
    for (let afterPosition = 0; ; ) {
      const batch = await readFeed(this.#feed, { partition: 0, partitionCount, afterPosition, limit: 0 });
      published.push(...batch.facts.map((fact) => `${fact.position} ${fact.type} of ${fact.stream}`));
      if (batch.lastPosition <= afterPosition) return published;
      afterPosition = batch.lastPosition;
    }
  }

  #faultyStore(): EventStore {
    const store = memoryStore({ clock: this.#world.clock });
    const fails = (): boolean => this.#isFaulty && this.#random.chance(commitFails);
    return {
      ...store,
      async commit(commit, cause) {
        if (fails()) throw new StoreUnavailable('refused');
        const stored = await store.commit(commit, cause);
        if (fails()) throw new StoreUnavailable('stored without acknowledgement');
        return stored;
      },
    };
  }

  #start(): Consumer {
    const { clock, bus, settings } = this.#world;
    const { partitionCount } = this.#feed;
    const note: Handler = async ({ position, stream, version, type }) => {
      const expected = (await this.#store.read(this.#notebook)).length;
      const event = { type: 'Noted', schema: 1, data: { position, stream, version, type } };
      return { appends: [{ stream: this.#notebook, expected, events: [event] }] };
    };
    const handlers: Handlers = new Proxy({}, { get: () => note });
    return startConsumer({
      service: 'witness',
      source: this.#source,
      categories: publishedStreams[this.#source],
      handlers,
      readFeed: ({ partition, afterPosition }) =>
        readFeed(this.#feed, { partition, partitionCount, afterPosition, limit: 0 }),
      store: this.#store,
      bus,
      clock,
      random: this.#random,
      log: logger({ service: 'witness', clock, write: () => undefined }),
      tracer: trace.getTracer('witness'),
      partitionCount,
      silenceMs: settings.silenceMs,
    });
  }
}
