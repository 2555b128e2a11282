import {
  MessagingServiceDefinition,
  type Replica as ReplicaResource,
} from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type EventStore, rowKeeper } from '@interlock/event-store';
import {
  type Bus,
  type MessagingApiOptions,
  messagingApi,
  meterMessaging,
  type ReadFeed,
  startConsumer,
  startFollower,
  startRelay,
} from '@interlock/messaging';
import {
  type Authorizer,
  type BoundService,
  type CachingAuthorizer,
  type Certificates,
  cachingAuthorizer,
  type KeySource,
  service,
  type Workload,
} from '@interlock/rpc';
import type { Clock, Logger, Random, Renewed, Scope } from '@interlock/runtime';
import type { Meter, Tracer } from '@opentelemetry/api';
import type { Assemble, Assembly, Seams } from './assembly.ts';
import type { Replica } from './partitions/replicas.ts';
import { openWorkPartitions, type WorkPartitions } from './partitions/work-partitions.ts';
import type { Peers } from './peers.ts';
import { publishedStreams } from './published-streams.ts';
import { workloads } from './settings.ts';

/** What surrounds one service, real or simulated. */
export interface ServiceEnvironment {
  readonly name: Workload;
  /** Name of this replica. A process of the same name takes over from the one before it. */
  readonly replica: string;
  readonly store: EventStore;
  readonly bus: Bus;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  readonly meter: Meter;
  readonly scope: Scope;
  /** Default: plain text, because one process has no network. */
  readonly tls?: Renewed<Certificates> | 'plaintext';
  readonly authzTtlMs: number;
  readonly partitionCount: number;
  /** How long after the last heartbeat of a replica others take its work partitions; default 5,000 ms. */
  readonly shareTtlMs?: number;
  /** Time between two watermarks of the relay; default 1,000 ms. */
  readonly watermarkMs?: number;
  /** After this time without a message a consumer reads the feed of its source; default 5,000 ms. */
  readonly silenceMs?: number;
}

/** A running service without its server. */
export interface Wired {
  readonly assembly: Assembly;
  /** What to serve: the service's own API, and MessagingService unless other processes serve it. */
  readonly services: readonly BoundService[];
  readonly keys: KeySource;
  readonly permissions: CachingAuthorizer;
}

/** Assembles a service and starts its consumers, its relay and its background work; all of it ends with the scope. */
export const wire = async <Settings>(
  around: ServiceEnvironment,
  settings: Settings,
  assemble: Assemble<Settings>,
): Promise<Wired> => {
  const { name, store, peers, clock, random, log, tracer, meter, scope } = around;
  const own: { authority?: Assembly['authority'] } = {};
  const check: Authorizer = (...question) => (own.authority?.check ?? peers.check)(...question);
  const keys: KeySource = () => (own.authority?.keys ?? peers.keys)();
  // Identity has the record itself. With a cached grant, a caller who has lost a role could assign it again.
  const authzTtlMs = name === 'identity' ? 0 : around.authzTtlMs;
  const permissions = cachingAuthorizer({ check, clock, authzTtlMs });

  const rows = rowKeeper({ store, clock, log });
  /** Fields of events that operators may read, by category. */
  const readable = new Map<string, readonly string[]>();
  const partitions = openWorkPartitions({
    store,
    clock,
    log,
    replica: around.replica,
    process: random.uuid(),
    ...(around.shareTtlMs === undefined ? {} : { ttlMs: around.shareTtlMs }),
  });
  const assembly = await assemble({
    store,
    openCategory: (definition) => {
      readable.set(definition.name, definition.readable ?? []);
      return rows.open(definition);
    },
    clock,
    random,
    log,
    tracer,
    meter,
    settings,
    authorize: permissions.authorize,
    cachedGrant: permissions.cachedGrant,
    forgetPermissions: permissions.invalidate,
    client: peers.client,
    follow: openFollowing(around),
    connectTo: peers.connectTo,
    partitions,
    tls: around.tls ?? 'plaintext',
    scope,
  });
  own.authority = assembly.authority;

  const { toFact } = assembly;
  const readableIn = (category: string): readonly string[] => readable.get(category) ?? [];
  const messaging =
    toFact === undefined ? [] : [startMessaging(around, { ...assembly, toFact }, { partitions, readable: readableIn })];
  const ending = new AbortController();
  const background = [rows.follow, partitions.run, ...(assembly.background ?? [])].map((run) => run(ending.signal));
  scope.defer('background work', () => {
    ending.abort();
    return Promise.all(background);
  });
  return { assembly, services: [...assembly.services, ...messaging], keys, permissions };
};

/** Lets a service follow facts until its scope is closed. */
const openFollowing = ({
  name,
  store,
  bus,
  clock,
  log,
  scope,
  partitionCount,
  silenceMs,
}: ServiceEnvironment): Seams<unknown>['follow'] => {
  const ending = new AbortController();
  scope.defer('followed facts', async () => ending.abort());
  return (following) =>
    startFollower({
      ...{ service: name, store, bus, clock, log, partitionCount, ...following },
      ...(silenceMs === undefined ? {} : { silenceMs }),
      categories: publishedStreams[following.source],
      signal: ending.signal,
    });
};

/** Starts the consumers and the relay of a service. @returns its MessagingService */
const startMessaging = (
  around: ServiceEnvironment,
  assembly: Assembly & Required<Pick<Assembly, 'toFact'>>,
  { partitions, readable }: { readonly partitions: WorkPartitions } & Required<Pick<MessagingApiOptions, 'readable'>>,
): BoundService => {
  const { name, store, bus, clock, random, log, tracer, meter, scope, partitionCount, silenceMs, watermarkMs } = around;
  const { keep } = partitions;
  const readFeed: ReadFeed = ({ source, signal, ...request }) => {
    const owner = workloads.find((workload) => workload === source);
    if (!owner) throw new Error(`${source} is not a service of this system`);
    return around.peers.client(owner, MessagingServiceDefinition).readFeed({ ...request, limit: 0 }, { signal });
  };
  const common = { service: name, store, bus, clock, random, log, tracer, partitionCount };
  const consumers = (assembly.reactions ?? []).map((reaction) =>
    startConsumer({
      ...common,
      ...(silenceMs === undefined ? {} : { silenceMs }),
      ...reaction,
      categories: publishedStreams[reaction.source],
      readFeed,
      keep,
    }),
  );
  scope.defer('consumers', () => Promise.all(consumers.map((consumer) => consumer.stop())));
  const { toFact } = assembly;
  const relay = startRelay({ ...common, ...(watermarkMs === undefined ? {} : { watermarkMs }), toFact, keep });
  scope.defer('relay', () => relay.stop());
  scope.defer('messaging metrics', meterMessaging({ ...common, meter, consumers, relay }));
  const replicas = async () => (await partitions.replicas()).map(replicaOf);
  return service({
    definition: MessagingServiceDefinition,
    implementation: messagingApi({ ...common, toFact, consumers, relay, replicas, readable }),
    authorization: {
      readFeed: { workload: workloads },
      readEvents: { action: 'platform/events/read', scope: () => '/' },
      listParkedFacts: { action: 'platform/messaging/read', scope: () => '/' },
      replayParkedFact: { action: 'platform/messaging/write', scope: () => '/' },
      getRelay: { action: 'platform/messaging/read', scope: () => '/' },
      listConsumers: { action: 'platform/messaging/read', scope: () => '/' },
      listReplicas: { action: 'platform/messaging/read', scope: () => '/' },
    },
  });
};

const replicaStates = {
  working: 'WORKING',
  gone: 'GONE',
  'other folder': 'OTHER_HOST_FOLDER',
} as const;

const replicaOf = ({ name, state, partitionCount, goneAt }: Replica): ReplicaResource => ({
  name: `replicas/${name}`,
  state: replicaStates[state],
  shareCount: partitionCount,
  goneTime: goneAt === undefined ? undefined : new Date(goneAt),
});
