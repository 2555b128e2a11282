import type {
  Consumer as ConsumerResource,
  FactBatch,
  ListConsumersRequest,
  ListConsumersResponse,
  ListParkedFactsRequest,
  ListParkedFactsResponse,
  ListReplicasRequest,
  ListReplicasResponse,
  ReadEventsRequest,
  ReadEventsResponse,
  ReadFeedRequest,
  Relay as RelayResource,
  ReplayParkedFactRequest,
  ReplayParkedFactResponse,
  Replica,
} from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type EventStore, Rejection, StoreUnavailable } from '@interlock/event-store';
import type { Clock, Logger } from '@interlock/runtime';
import type { Bus } from './bus.ts';
import type { Consumer } from './consumer.ts';
import { cursorOf } from './fact-applier.ts';
import type { ToFact } from './facts.ts';
import { readFeed } from './feed.ts';
import { messageOf } from './handlers.ts';
import { isParkedKey, parkedFacts, toParkedFact } from './parked.ts';
import { RELAY_CURSOR } from './published-progress.ts';
import type { Relay } from './relay.ts';
import { replayParked } from './replay.ts';
import { readEvents, type StoredEventsOptions } from './stored-events.ts';
import { DEFAULT_PARTITION_COUNT } from './subjects.ts';

const PAGE_MAX = 1_000;
const PARKED_PAGE_DEFAULT = 100;
const EVENTS_PAGE_DEFAULT = 500;

export interface MessagingApiOptions {
  readonly service: string;
  readonly store: EventStore;
  readonly toFact: ToFact;
  readonly consumers: readonly Consumer[];
  readonly relay: Pick<Relay, 'position' | 'outage'>;
  readonly bus?: Pick<Bus, 'stream'>;
  /** The processes of the service, by name; none by default. */
  readonly replicas?: () => Promise<readonly Replica[]>;
  readonly readable?: StoredEventsOptions['readable'];
  readonly clock: Clock;
  readonly log: Logger;
  /** Partitions of this service's facts; default 4. */
  readonly partitionCount?: number;
}

/** MessagingService without its transport: register each function under the RPC of the same name. */
export interface MessagingApi {
  readFeed(request: ReadFeedRequest): Promise<FactBatch>;
  readEvents(request: ReadEventsRequest): Promise<ReadEventsResponse>;
  listParkedFacts(request: ListParkedFactsRequest): Promise<ListParkedFactsResponse>;
  replayParkedFact(
    request: ReplayParkedFactRequest,
    call: { readonly signal: AbortSignal },
  ): Promise<ReplayParkedFactResponse>;
  listConsumers(request: ListConsumersRequest): Promise<ListConsumersResponse>;
  getRelay(): Promise<RelayResource>;
  listReplicas(request: ListReplicasRequest): Promise<ListReplicasResponse>;
}

export const messagingApi = (options: MessagingApiOptions): MessagingApi => {
  const { store, consumers, relay, replicas, partitionCount = DEFAULT_PARTITION_COUNT } = options;
  const parked = parkedFacts(store);

  const describe = async (consumer: Consumer): Promise<readonly ConsumerResource[]> => {
    const { source, partitionCount: count } = consumer;
    const consumed = new Map(consumer.status().map((status) => [status.partition, status]));
    return Promise.all(
      Array.from({ length: count }, async (_, partition) => {
        const here = consumed.get(partition);
        return {
          name: `consumers/${source}-${partition}`,
          source,
          partition,
          position: here?.position ?? (await store.cursor(cursorOf(source, partition))),
          gap: here?.gap ?? 0,
          lagMs: here?.lagMs ?? 0,
          parkedCount: (await parked.ofPartition(source, partition)).count,
          receivedElsewhere: here === undefined,
        };
      }),
    );
  };

  return {
    readFeed: (request) => readFeed({ ...options, partitionCount }, request),

    readEvents({ afterPosition, pageSize }) {
      const limit = pageSizeOf(pageSize, EVENTS_PAGE_DEFAULT);
      return readEvents(options, { after: afterPosition, limit });
    },

    async listParkedFacts({ pageSize, pageToken }) {
      const limit = pageSizeOf(pageSize, PARKED_PAGE_DEFAULT);
      // The fact may have been replayed since, so only the form of the key is checked.
      if (pageToken && !isParkedKey(pageToken)) throw pageTokenInvalid();
      const { items, next } = await parked.list({ limit, ...(pageToken ? { after: pageToken } : {}) });
      return { parkedFacts: items.map(({ row }) => toParkedFact(row)), nextPageToken: next ?? '' };
    },

    replayParkedFact({ name }, { signal }) {
      const sources = consumers.map((consumer) => ({
        source: consumer.source,
        handlers: consumer.handlers,
        partitionCount: consumer.partitionCount,
      }));
      return replayParked({ ...options, sources }, name, signal);
    },

    async getRelay() {
      const [head, stored] = await Promise.all([store.head(), store.cursor(RELAY_CURSOR)]);
      // A relay that has not started yet knows less than the one before it.
      const position = Math.max(relay.position(), stored);
      const outage = relay.outage(true);
      const stream = options.bus?.stream?.();
      return {
        position,
        gap: Math.max(0, head - position),
        failingSince: outage && new Date(outage.since),
        problem: outage ? messageOf(outage.error) : '',
        streamCopies: stream?.copies ?? 0,
        streamCopiesWanted: stream?.copiesWanted ?? 0,
        streamProblem: stream?.problem ?? '',
        failing: outage === undefined ? 'SERVER_UNSPECIFIED' : isOfStore(outage.error) ? 'STORE' : 'BUS',
      };
    },

    async listConsumers(request) {
      const all = (await Promise.all(consumers.map(describe))).flat();
      const sorted = all.toSorted((a, b) => (a.source < b.source ? -1 : Number(a.source > b.source)));
      const [page, nextPageToken] = pageOf(sorted, request);
      return { consumers: page, nextPageToken };
    },

    async listReplicas(request) {
      const [page, nextPageToken] = pageOf((await replicas?.()) ?? [], request);
      return { replicas: page, nextPageToken };
    },
  };
};

const isOfStore = (error: unknown): boolean => error instanceof StoreUnavailable;

/** A page of a list in memory, and the token of the next one: the name of the last item. */
const pageOf = <Item extends { readonly name: string }>(
  all: readonly Item[],
  { pageSize, pageToken }: { readonly pageSize: number; readonly pageToken: string },
): readonly [page: Item[], nextPageToken: string] => {
  const limit = pageSizeOf(pageSize, PAGE_MAX);
  const from = pageToken ? all.findIndex(({ name }) => name === pageToken) + 1 : 0;
  if (pageToken && from === 0) throw pageTokenInvalid();
  const page = all.slice(from, from + limit);
  return [page, from + limit >= all.length ? '' : (page.at(-1)?.name ?? '')];
};

const pageTokenInvalid = (): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'PAGE_TOKEN_INVALID',
    'page_token must be the next_page_token of an earlier response',
    { field: 'page_token' },
  );

/** A larger page size than the maximum counts as the maximum, as in every list. */
const pageSizeOf = (pageSize: number, byDefault: number): number => {
  if (Number.isInteger(pageSize) && pageSize >= 0) return Math.min(pageSize || byDefault, PAGE_MAX);
  const message = `page_size must be from 1 to ${PAGE_MAX}, or 0 for ${byDefault} (got ${pageSize})`;
  throw new Rejection('INVALID_ARGUMENT', 'PAGE_SIZE_INVALID', message, { page_size: String(pageSize) });
};
