import {
  MessagingServiceDefinition,
  type Replica as ReplicaResource,
} from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type EventStore, rowKeeper } from '@interlock/event-store';
import { type Bus, messagingApi, meterMessaging, type ReadFeed, startConsumer, startRelay } from '@interlock/messaging';
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
import type { Assemble, Assembly } from './assembly.ts';
import type { Peers } from './peers.ts';
import { publishedStreams } from './published-streams.ts';
import { workloads } from './settings.ts';
import { openShares, type Replica } from './shares/shares.ts';

/** What surrounds one service, real or simulated. */
export interface Surroundings {
  readonly name: Workload;
  /** Names this replica among those of the service; a process of the same name takes over from the one before it. */
  readonly replica: string;
  /** Names this process while it stands by; default: one of its own each time. */
  readonly standbyName?: string | undefined;
  readonly store: EventStore;
  readonly bus: Bus;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  readonly meter: Meter;
  readonly scope: Scope;
  /** Default: plain text, as there is no network in one process. */
  readonly tls?: Renewed<Certificates> | 'plaintext';
  readonly authzTtlMs: number;
  readonly partitionCount: number;
  /** How long after the last word of a replica others do its share of the work; default 5,000 ms. */
  readonly shareTtlMs?: number;
  /** Time between two watermarks of the relay; default 1,000 ms. */
  readonly watermarkMs?: number;
  /** After this long without a message the source is asked; default 5,000 ms. */
  readonly silenceMs?: number;
}

/** A service at work, but for the server that answers for it. */
export interface Wired {
  readonly assembly: Assembly;
  /** What to serve: the service's own API and MessagingService. */
  readonly services: readonly BoundService[];
  readonly keys: KeySource;
  readonly permissions: CachingAuthorizer;
}

/** Assembles a service and starts its consumers, its relay and its background work; all of it ends with the scope. */
export const wire = async <Settings>(
  around: Surroundings,
  settings: Settings,
  assemble: Assemble<Settings>,
): Promise<Wired> => {
  const { name, store, bus, peers, clock, random, log, tracer, meter, scope, partitionCount } = around;
  const own: { authority?: Assembly['authority'] } = {};
  const check: Authorizer = (...question) => (own.authority?.check ?? peers.check)(...question);
  const keys: KeySource = () => (own.authority?.keys ?? peers.keys)();
  // Identity has the record itself. By a yes that it remembered, whoever has lost a role could give it back to themselves.
  const authzTtlMs = name === 'identity' ? 0 : around.authzTtlMs;
  const permissions = cachingAuthorizer({ check, clock, authzTtlMs });

  const rows = rowKeeper({ store, clock, log });
  const shares = openShares({
    store,
    clock,
    log,
    replica: around.replica,
    standbyName: around.standbyName,
    process: random.uuid(),
    ...(around.shareTtlMs === undefined ? {} : { ttlMs: around.shareTtlMs }),
  });
  const assembly = await assemble({
    store,
    openCategory: rows.open,
    clock,
    random,
    log,
    tracer,
    meter,
    settings,
    authorize: permissions.authorize,
    forgetPermissions: permissions.invalidate,
    client: peers.client,
    shares,
    tls: around.tls ?? 'plaintext',
    scope,
  });
  own.authority = assembly.authority;

  const readFeed: ReadFeed = ({ source, signal, ...request }) => {
    const owner = workloads.find((workload) => workload === source);
    if (!owner) throw new Error(`${source} is no service of ours`);
    return peers.client(owner, MessagingServiceDefinition).readFeed({ ...request, limit: 0 }, { signal });
  };
  const common = { service: name, store, bus, clock, random, log, tracer, partitionCount };
  const hearing = around.silenceMs === undefined ? common : { ...common, silenceMs: around.silenceMs };
  const telling = around.watermarkMs === undefined ? common : { ...common, watermarkMs: around.watermarkMs };
  const consumers = (assembly.reactions ?? []).map((reaction) =>
    startConsumer({
      ...hearing,
      ...reaction,
      categories: publishedStreams[reaction.source],
      readFeed,
      keep: shares.keep,
    }),
  );
  scope.defer('consumers', () => Promise.all(consumers.map((consumer) => consumer.stop())));
  const relay = startRelay({ ...telling, toFact: assembly.toFact, keep: shares.keep });
  scope.defer('relay', () => relay.stop());
  scope.defer('messaging metrics', meterMessaging({ ...common, meter, consumers, relay }));

  const ending = new AbortController();
  const background = [rows.follow, shares.run, ...(assembly.background ?? [])].map((run) => run(ending.signal));
  scope.defer('background work', () => {
    ending.abort();
    return Promise.all(background);
  });

  const messaging = service({
    definition: MessagingServiceDefinition,
    implementation: messagingApi({
      ...common,
      toFact: assembly.toFact,
      consumers,
      relay,
      replicas: async () => (await shares.replicas()).map(replicaOf),
    }),
    authorization: {
      readFeed: { workload: workloads },
      listParkedFacts: { action: 'platform/messaging/read', scope: () => '/' },
      replayParkedFact: { action: 'platform/messaging/write', scope: () => '/' },
      getRelay: { action: 'platform/messaging/read', scope: () => '/' },
      listConsumers: { action: 'platform/messaging/read', scope: () => '/' },
      listReplicas: { action: 'platform/messaging/read', scope: () => '/' },
    },
  });
  return { assembly, services: [...assembly.services, messaging], keys, permissions };
};

const replicaStates = {
  working: 'WORKING',
  standby: 'STANDBY',
  gone: 'GONE',
  'other folder': 'OTHER_HOST_FOLDER',
} as const;

const replicaOf = ({ name, state, shareCount, goneAt }: Replica): ReplicaResource => ({
  name: `replicas/${name}`,
  state: replicaStates[state],
  shareCount,
  goneTime: goneAt === undefined ? undefined : new Date(goneAt),
});
