import { type EventStore, memoryStore, StoreUnavailable, type StreamName } from '@interlock/event-store';
import { publishedStreams } from '@interlock/host';
import { type Consumer, type Handler, type Handlers, startConsumer, type ToFact } from '@interlock/messaging';
import type { Workload } from '@interlock/rpc';
import { logger } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { readFeed } from '../../../libs/messaging/src/feed.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { HistoryLog } from '../runs/history-log.ts';

/** Chance that a commit of the witness is refused, or stored without its writer hearing of it. */
const commitFails = 0.1;

/**
 * A consumer of its own in the cloud, whose effect is not idempotent: it writes down each fact it is given. What it wrote
 * must be what was told, each once and in order (G7). The services' own effects decide nothing the second time, so a fact
 * that takes effect twice would not show in them.
 */
export const openWitness = (parts: {
  readonly world: SimulatedCloud;
  readonly log: HistoryLog;
  readonly source: Workload;
  readonly toFact: ToFact;
  readonly partitionCount: number;
}) => {
  const { world, log, source, toFact, partitionCount } = parts;
  const { clock } = world;
  const random = world.random.fork(`witness of ${source}`);
  const store = memoryStore({ clock, random });
  let isFaulty = true;
  const faulty: EventStore = {
    ...store,
    async commit(wish, cause) {
      if (isFaulty && random.chance(commitFails)) throw new StoreUnavailable('refused');
      const stored = await store.commit(wish, cause);
      if (isFaulty && random.chance(commitFails)) throw new StoreUnavailable('stored, but nobody knows');
      return stored;
    },
  };
  const notebook: StreamName = `notebook-${source}`;
  const feed = { service: source, partitionCount, store: world.storeOf(source), toFact };

  const note: Handler = async ({ position, stream, version, type }) => {
    const expected = (await store.read(notebook)).length;
    const event = { type: 'Noted', schema: 1, data: { position, stream, version, type } };
    return { appends: [{ stream: notebook, expected, events: [event] }] };
  };
  const handlers: Handlers = new Proxy({}, { get: () => note });
  const start = (): Consumer =>
    startConsumer({
      service: 'witness',
      source,
      categories: publishedStreams[source],
      handlers,
      readFeed: ({ partition, afterPosition }) =>
        readFeed(feed, { partition, partitionCount, afterPosition, limit: 0 }),
      store: faulty,
      bus: world.bus,
      clock,
      random,
      log: logger({ service: 'witness', clock, write: () => undefined }),
      tracer: trace.getTracer('witness'),
      partitionCount,
      silenceMs: world.settings.silenceMs,
    });
  let consumer = start();

  return {
    /** A consumer that is ended and begun anew in the middle of its work. */
    async restart(): Promise<void> {
      await consumer.stop();
      consumer = start();
    },
    /** Nothing goes wrong from here on. */
    heal(): void {
      isFaulty = false;
    },
    async checkAll(): Promise<void> {
      const told: string[] = [];
      for (let position = 0; ; ) {
        const batch = await readFeed(feed, { partition: 0, partitionCount, afterPosition: position, limit: 0 });
        told.push(...batch.facts.map((fact) => `${fact.position} ${fact.type} of ${fact.stream}`));
        if (batch.lastPosition <= position) break;
        position = batch.lastPosition;
      }
      const noted = (await store.read(notebook)).map(({ data }) => `${data.position} ${data.type} of ${data.stream}`);
      const wrong = told.findIndex((line, index) => noted[index] !== line);
      if (wrong < 0 && noted.length === told.length) return;
      const at = wrong < 0 ? told.length : wrong;
      log.violate(
        'G7',
        `every fact of ${source} takes effect exactly once and in order; next: ${told[at] ?? 'nothing'}`,
        `${noted[at] ?? 'nothing'} after ${noted[at - 1] ?? 'nothing'}; ${noted.length} effects of ${told.length} facts`,
      );
    },
  };
};
