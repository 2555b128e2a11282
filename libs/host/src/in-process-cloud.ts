import type { EventStore } from '@interlock/event-store';
import type { Bus } from '@interlock/messaging';
import {
  type Channel,
  cachingAuthorizer,
  type Definition,
  type InProcessServer,
  type Link,
  type RpcClient,
  RpcFailure,
  serveInProcess,
  type TokenFormat,
  tokenVerifier,
  type Workload,
} from '@interlock/rpc';
import { type Clock, createScope, type Logger, type Random, type Scope } from '@interlock/runtime';
import { createNoopMeter, type Meter, type Tracer } from '@opentelemetry/api';
import type { Assemble, Assembly } from './assembly.ts';
import { openPeers, type Peers } from './peers.ts';
import type { ProcessAssembly, ProcessSeams } from './process.ts';
import { type Wired, wire } from './wiring.ts';

/** A service of the cloud, with its settings already bound: `(seams) => assemble({ ...seams, settings })`. */
export type CloudService = Assemble<undefined>;

/** One process of a service. Replicas of a service share its store; they are numbered from 0. */
export interface Replica {
  readonly service: Workload;
  readonly replica: number;
}

/** Seams of one replica that differ from those of the whole cloud. */
export interface OwnSeams {
  /** The service over what only this replica has: the hardware it runs on. */
  readonly assemble?: CloudService;
  /** Instead of `assemble`: the replica is a process without a store and without the bus, as `hostProcess` runs one. */
  readonly assembleStoreless?: (seams: ProcessSeams<undefined>) => Promise<ProcessAssembly>;
  readonly store?: EventStore;
  readonly bus?: Bus;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Logger;
  readonly tracer?: Tracer;
}

/** What a cloud in one process needs. */
export interface InProcessCloudOptions {
  /** The services to run, by name. Identity is always among them. */
  readonly services: Partial<Readonly<Record<Workload, CloudService>>> & { readonly identity: CloudService };
  /** The store of a service. It outlives a restart of the service; the caller closes it. */
  readonly storeOf: (service: Workload) => EventStore;
  readonly bus: Bus;
  /** The secret of a service's own principal, as in identity's bootstrap. */
  readonly workloadOf: (service: Workload) => Credentials;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Default: a meter without effect. */
  readonly meter?: Meter;
  /** Deadline of a client outside for calls without their own, in milliseconds; default 10,000. In real time a busy machine may take longer. */
  readonly outsideDeadlineMs?: number;
  /** `iss` of the tokens that identity issues. */
  readonly issuer: string;
  /** How identity signs tokens. Default `rs256`. */
  readonly tokenFormat?: TokenFormat;
  /** Default 0: every permission is checked at identity. */
  readonly authzTtlMs?: number;
  readonly partitionCount?: number;
  /** Whether messages between services are encoded, as on a network. Default true. */
  readonly isEncoded?: boolean;
  /** Time between two watermarks of a relay; default 1,000 ms. */
  readonly watermarkMs?: number;
  /** How long after the last heartbeat of a replica others take its work partitions; default 5,000 ms. */
  readonly shareTtlMs?: number;
  /** After this time without a message a consumer reads the feed of its source; default 5,000 ms. */
  readonly silenceMs?: number;
  /** Seams of one replica, read at each of its starts: for example a faulty clock, or a store that it cannot reach. */
  readonly ownSeams?: (replica: Replica) => OwnSeams;
  /** What is between a caller (a replica, or a client outside) and a replica; by default nothing. */
  readonly linkBetween?: (from: Replica | 'outside', to: Replica) => Link;
  /** Which of the running replicas receives a call; by default the lowest. */
  readonly chooseReplica?: (running: readonly number[]) => number;
  /** Whether a replica receives calls that name its service only; by default each does. Others are called by their address. */
  readonly isCalledByService?: (replica: Replica) => boolean;
}

/** A principal's secret at identity. */
export interface Credentials {
  readonly id: string;
  readonly secret: string;
}

/** Several services in one process. */
export interface InProcessCloud {
  /** The services for a client with a secret of identity's. */
  as(principal: Credentials): Pick<Peers, 'client' | 'connectTo'>;
  /** Stops a replica: its work in progress ends, then its calls are UNAVAILABLE. */
  stop(service: Workload, replica?: number): Promise<void>;
  /**
   * Ends a replica as `kill -9` looks to the others: calls in flight fail, and nothing is closed. The owner of its seams makes sure
   * that it has no effect any more.
   */
  crash(service: Workload, replica?: number): void;
  /** Starts a stopped replica on the store of its service. */
  start(service: Workload, replica?: number): Promise<void>;
  /** Running replicas of a service. */
  running(service: Workload): readonly number[];
  close(): Promise<void>;
}

/** The address of one replica, for `Peers.connectTo`. */
export const addressOfReplica = ({ service, replica }: Replica): string => `${service}:${replica}`;

/** Servers of one service for which a client keeps a connection. */
const CONNECTIONS_MAX = 4;

/**
 * Runs services in one process, over seams from the caller: memory stores and bus for tests and the simulation, or real ones.
 * Calls between them use the same client and server pipelines as gRPC: tokens, permissions, errors, traces.
 */
export const inProcessCloud = async (options: InProcessCloudOptions): Promise<InProcessCloud> => {
  const cloud = new Cloud(options);
  await cloud.start('identity');
  for (const service of Object.keys(options.services) as Workload[]) await cloud.start(service);
  return cloud;
};

interface Running {
  readonly server: InProcessServer;
  readonly scope: Scope;
}

/** What a replica serves, and for a service with a store the limits of its server. */
type Served = Omit<Wired, 'assembly'> & { readonly assembly?: Omit<Assembly, 'services'> };

/** Assembles a process without a store, and starts its background work, which ends with the scope. */
const wireStoreless = async (
  around: Omit<ProcessSeams<undefined>, 'settings' | 'client' | 'tls'> & {
    readonly peers: Peers;
    readonly authzTtlMs: number;
  },
  assemble: NonNullable<OwnSeams['assembleStoreless']>,
): Promise<Served> => {
  const { peers, authzTtlMs, ...seams } = around;
  const { clock, scope } = seams;
  const { services, background } = await assemble({
    ...seams,
    settings: undefined,
    client: peers.client,
    tls: 'plaintext',
  });
  const permissions = cachingAuthorizer({ check: peers.check, clock, authzTtlMs });
  const ending = new AbortController();
  const running = background.map((run) => run(ending.signal));
  scope.defer('background work', () => {
    ending.abort();
    return Promise.all(running);
  });
  return { services, keys: peers.keys, permissions };
};

class Cloud implements InProcessCloud {
  readonly #options: InProcessCloudOptions;
  readonly #running = new Map<Workload, Map<number, Running>>();
  /** The last server of each replica that was stopped, by address. */
  readonly #stopped = new Map<string, InProcessServer>();
  /** Names of replicas that are starting; a crash removes them. */
  readonly #starting = new Set<string>();
  readonly #outside = createScope();

  constructor(options: InProcessCloudOptions) {
    this.#options = options;
  }

  as = (principal: Credentials): Pick<Peers, 'client' | 'connectTo'> =>
    this.#peersOf('outside', principal, this.#options, this.#outside);

  running = (service: Workload): readonly number[] => [...this.#replicasOf(service).keys()];

  start = async (service: Workload, replica = 0): Promise<void> => {
    const assemble = this.#options.services[service];
    const name = `${service} ${replica}`;
    if (!assemble || this.#replicasOf(service).has(replica) || this.#starting.has(name)) return;
    this.#starting.add(name);
    try {
      const started = await this.#startReplica({ service, replica }, assemble);
      // If it crashed during its start, it never responds.
      if (this.#starting.has(name)) this.#replicasOf(service).set(replica, started);
      else started.server.crash();
    } finally {
      this.#starting.delete(name);
    }
  };

  stop = async (service: Workload, replica = 0): Promise<void> => {
    const found = this.#remove(service, replica);
    found?.server.stop();
    await found?.scope.close();
  };

  crash = (service: Workload, replica = 0): void => {
    this.#starting.delete(`${service} ${replica}`);
    this.#remove(service, replica)?.server.crash();
  };

  close = async (): Promise<void> => {
    for (const [service, replicas] of [...this.#running].reverse()) {
      for (const replica of [...replicas.keys()]) await this.stop(service, replica);
    }
    await this.#outside.close();
  };

  async #startReplica(self: Replica, usual: CloudService): Promise<Running> {
    const { clock, random, log, tracer, meter = createNoopMeter(), bus, ...options } = this.#options;
    const { service, replica } = self;
    const scope = createScope();
    const { assemble = usual, assembleStoreless, ...own } = options.ownSeams?.(self) ?? {};
    const seams = { clock, random, log, tracer, meter, bus, store: options.storeOf(service), ...own };
    const peers = this.#peersOf(self, options.workloadOf(service), seams, scope);
    const { watermarkMs, silenceMs, shareTtlMs, partitionCount = 1, authzTtlMs = 0 } = options;
    if (assembleStoreless) {
      const wired = await wireStoreless({ ...seams, peers, scope, authzTtlMs }, assembleStoreless);
      return { server: this.#serve(service, wired, seams), scope };
    }
    const pace = {
      ...(watermarkMs === undefined ? {} : { watermarkMs }),
      ...(silenceMs === undefined ? {} : { silenceMs }),
      ...(shareTtlMs === undefined ? {} : { shareTtlMs }),
    };
    const name = { name: service, replica: `${service} ${replica}` };
    const wired = await wire(
      { ...name, ...seams, peers, scope, partitionCount, authzTtlMs, ...pace },
      undefined,
      assemble,
    );
    return { server: this.#serve(service, wired, seams), scope };
  }

  #serve(
    service: Workload,
    { assembly = {}, services, keys, permissions }: Served,
    seams: Pick<InProcessCloudOptions, 'clock' | 'random' | 'log' | 'tracer'> & { readonly meter: Meter },
  ): InProcessServer {
    const { issuer, tokenFormat, isEncoded } = this.#options;
    const { messageBytesMax, deadlineMaxMs } = assembly.server ?? {};
    const { clock, random, log, tracer, meter } = seams;
    const authenticate = tokenVerifier({
      keys,
      issuer,
      audience: `interlock:${service}`,
      clock,
      refetchMs: 0,
      ...(tokenFormat === undefined ? {} : { format: tokenFormat }),
    });
    return serveInProcess({
      name: service,
      services,
      authenticate,
      authorize: permissions.authorize,
      clock,
      random,
      tracer,
      meter,
      log,
      ...(assembly.onRefused === undefined ? {} : { onRefused: assembly.onRefused }),
      ...(assembly.peerOf === undefined ? {} : { peerOf: assembly.peerOf }),
      ...(messageBytesMax === undefined ? {} : { messageBytesMax }),
      ...(deadlineMaxMs === undefined ? {} : { deadlineMaxMs }),
      ...(isEncoded === undefined ? {} : { isEncoded }),
    });
  }

  #replicasOf(service: Workload): Map<number, Running> {
    const found = this.#running.get(service) ?? new Map<number, Running>();
    this.#running.set(service, found);
    return found;
  }

  #remove(service: Workload, replica: number): Running | undefined {
    const found = this.#replicasOf(service).get(replica);
    this.#replicasOf(service).delete(replica);
    if (found) this.#stopped.set(addressOfReplica({ service, replica }), found.server);
    return found;
  }

  #peersOf(
    from: Replica | 'outside',
    workload: Credentials,
    seams: Pick<InProcessCloudOptions, 'clock' | 'random' | 'tracer'>,
    scope: Scope,
  ): Peers {
    const open = (service: Workload, _options: unknown, address?: string) => this.#channelTo(from, service, address);
    const { outsideDeadlineMs: deadlineMs } = this.#options;
    const patience = from === 'outside' && deadlineMs !== undefined ? { deadlineMs } : {};
    const { clock, random, tracer } = seams;
    return openPeers({ open, workload, clock, random, tracer, scope, ...patience });
  }

  /** A channel that looks up the server at every call, so that services may start in any order and restart. */
  #channelTo(from: Replica | 'outside', service: Workload, address = ''): Channel {
    const only = address === '' ? undefined : Number(address.slice(address.lastIndexOf(':') + 1));
    return {
      peer: address || service,
      client: (definition, middleware) => this.#clientOf(from, { service, only }, definition, middleware),
      close: () => {},
    };
  }

  #clientOf<D extends Definition>(
    from: Replica | 'outside',
    { service, only }: { readonly service: Workload; readonly only: number | undefined },
    definition: D,
    middleware: Parameters<Channel['client']>[1],
  ): RpcClient<D> {
    const clients = new Map<InProcessServer, RpcClient<D>>();
    const clientFor = (replica: number, server: InProcessServer): RpcClient<D> => {
      const known = clients.get(server);
      if (known) return known;
      // Clients of stopped servers are not needed any more.
      if (clients.size >= CONNECTIONS_MAX) clients.clear();
      const link = this.#options.linkBetween?.(from, { service, replica });
      const client = server.channelOver(link).client(definition, middleware);
      clients.set(server, client);
      return client;
    };
    const callOf =
      (method: string | symbol) =>
      (...call: unknown[]): unknown => {
        const { replica, server } = this.#serverOf(service, only);
        if (!server) throw new RpcFailure('UNAVAILABLE', String(method), service, 'the service has not been started');
        return Reflect.apply(Reflect.get(clientFor(replica, server), method), undefined, call);
      };
    const calls = new Map<string | symbol, ReturnType<typeof callOf>>();
    return new Proxy({} as RpcClient<D>, {
      get: (_, method) => {
        // A client that an async function returns is checked for `then`.
        if (method === 'then') return undefined;
        const known = calls.get(method) ?? callOf(method);
        calls.set(method, known);
        return known;
      },
    });
  }

  /** A stopped server responds with UNAVAILABLE, through the client's own pipeline and its retries. */
  #serverOf(
    service: Workload,
    wanted: number | undefined,
  ): { readonly replica: number; readonly server: InProcessServer | undefined } {
    const replicas = this.#replicasOf(service);
    const { chooseReplica = lowest, isCalledByService = () => true } = this.#options;
    const running = [...replicas.keys()].filter((replica) => isCalledByService({ service, replica }));
    const [first = 0] = running;
    const replica = wanted ?? (running.length > 1 ? chooseReplica(running) : first);
    return {
      replica,
      server: replicas.get(replica)?.server ?? this.#stopped.get(addressOfReplica({ service, replica })),
    };
  }
}

const lowest = (running: readonly number[]): number => Math.min(...running);
