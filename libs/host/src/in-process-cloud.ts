import type { EventStore } from '@interlock/event-store';
import type { Bus } from '@interlock/messaging';
import {
  type Channel,
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
import type { Assemble } from './assembly.ts';
import { openPeers, type Peers } from './peers.ts';
import { wire } from './wiring.ts';

/** A service of the cloud, with its settings already bound: `(seams) => assemble({ ...seams, settings })`. */
export type CloudService = Assemble<undefined>;

/** One process of a service. Replicas of a service share its store; they are numbered from 0. */
export interface Replica {
  readonly service: Workload;
  readonly replica: number;
}

/** What a replica has to itself where it is not what the whole cloud has. */
export interface OwnSeams {
  /** The service put together over what this replica alone has: the hardware it runs on. */
  readonly assemble?: CloudService;
  readonly store?: EventStore;
  readonly bus?: Bus;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Logger;
  readonly tracer?: Tracer;
}

export interface InProcessCloudOptions {
  /** The services to run, by name. Identity is always among them. */
  readonly services: Partial<Readonly<Record<Workload, CloudService>>> & { readonly identity: CloudService };
  /** The store of a service. It outlives a restart of the service; whoever made it closes it. */
  readonly storeOf: (service: Workload) => EventStore;
  readonly bus: Bus;
  /** The secret of a service's own principal, as identity's bootstrap has it. */
  readonly workloadOf: (service: Workload) => { readonly id: string; readonly secret: string };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Default: one that measures nothing. */
  readonly meter?: Meter;
  /** `iss` of the tokens, as identity issues them. */
  readonly issuer: string;
  /** How tokens are signed, as identity does it. Default `rs256`. */
  readonly tokenFormat?: TokenFormat;
  /** Default 0: every permission is asked anew. */
  readonly authzTtlMs?: number;
  readonly partitionCount?: number;
  /** Whether messages are encoded on their way between services, as a network does it. Default true. */
  readonly isEncoded?: boolean;
  /** Time between two watermarks of a relay; default 1,000 ms. */
  readonly watermarkMs?: number;
  /** How long after the last word of a replica others do its share of the work; default 5,000 ms. */
  readonly shareTtlMs?: number;
  /** After this long without a message a consumer asks its source; default 5,000 ms. */
  readonly silenceMs?: number;
  /** Seams of one replica alone, asked for at each of its starts: a clock that goes wrong, a store it is cut off from. */
  readonly ownSeams?: (replica: Replica) => OwnSeams;
  /** What lies between a caller (a replica, or somebody outside) and a replica; by default nothing. */
  readonly linkBetween?: (from: Replica | 'outside', to: Replica) => Link;
  /** Which of the running replicas takes a call; by default the lowest. */
  readonly chooseReplica?: (running: readonly number[]) => number;
}

/** Several services in one process. */
export interface InProcessCloud {
  /** The services as somebody sees them who has a secret of identity's. */
  as(principal: { readonly id: string; readonly secret: string }): Pick<Peers, 'client'>;
  /** Stops a replica in good order: what it has in hand ends, then its calls are UNAVAILABLE. */
  stop(service: Workload, replica?: number): Promise<void>;
  /**
   * Ends a replica as `kill -9` would look to the others: calls in flight fail, and nothing of it is closed. Whoever
   * gave it its seams sees to it that it comes to nothing any more.
   */
  crash(service: Workload, replica?: number): void;
  /** Starts a stopped replica on the store of its service. */
  start(service: Workload, replica?: number): Promise<void>;
  /** Replicas of a service that answer. */
  running(service: Workload): readonly number[];
  close(): Promise<void>;
}

interface Running {
  readonly server: InProcessServer;
  readonly scope: Scope;
}

/** Servers of one service a client keeps a way to. */
const clientsMax = 4;

/**
 * Runs services in one process, over seams passed in: memory stores and bus for tests and the simulation, or real ones.
 * Calls between them go through the same client and server pipelines as over gRPC: tokens, permissions, errors, traces.
 */
export const inProcessCloud = async (options: InProcessCloudOptions): Promise<InProcessCloud> => {
  const { issuer, partitionCount = 1, authzTtlMs = 0, chooseReplica = lowest } = options;
  const running = new Map<Workload, Map<number, Running>>();
  const starting = new Set<string>();
  const outside = createScope();
  const replicasOf = (service: Workload): Map<number, Running> => {
    const found = running.get(service) ?? new Map<number, Running>();
    running.set(service, found);
    return found;
  };

  /** A way to a service that finds it anew at every call, so that services may start in any order and restart. */
  const channelTo = (from: Replica | 'outside', service: Workload): Channel => ({
    peer: service,
    client: <D extends Definition>(definition: D, middleware: Parameters<Channel['client']>[1]) => {
      const made = new Map<InProcessServer, RpcClient<D>>();
      const clientOf = (replica: number, server: InProcessServer): RpcClient<D> => {
        const known = made.get(server);
        if (known) return known;
        // Those of servers that were stopped are not needed again.
        if (made.size >= clientsMax) made.clear();
        const link = options.linkBetween?.(from, { service, replica });
        const client = server.channelOver(link).client(definition, middleware);
        made.set(server, client);
        return client;
      };
      const callOf =
        (method: string | symbol) =>
        (...call: unknown[]): unknown => {
          const replicas = replicasOf(service);
          const [only = 0] = replicas.keys();
          const replica = replicas.size > 1 ? chooseReplica([...replicas.keys()]) : only;
          // A stopped one still answers UNAVAILABLE, through the client's own pipeline and its retries.
          const server = replicas.get(replica)?.server ?? stopped.get(service);
          if (!server) throw new RpcFailure('UNAVAILABLE', String(method), service, 'the service has not been started');
          return Reflect.apply(Reflect.get(clientOf(replica, server), method), undefined, call);
        };
      const calls = new Map<string | symbol, ReturnType<typeof callOf>>();
      return new Proxy({} as RpcClient<D>, {
        get: (_, method) => {
          // A client is looked at for `then` when it is returned from an async function.
          if (method === 'then') return undefined;
          const known = calls.get(method) ?? callOf(method);
          calls.set(method, known);
          return known;
        },
      });
    },
    close: () => {},
  });
  /** The last server of a service that does not run. */
  const stopped = new Map<Workload, InProcessServer>();
  const peersOf = (
    from: Replica | 'outside',
    workload: { readonly id: string; readonly secret: string },
    around: Pick<InProcessCloudOptions, 'clock' | 'random' | 'tracer'>,
    scope: Scope,
  ): Peers => openPeers({ open: (service) => channelTo(from, service), workload, ...around, scope });

  const start = async (service: Workload, replica = 0): Promise<void> => {
    const usual = options.services[service];
    const name = `${service} ${replica}`;
    if (!usual || replicasOf(service).has(replica) || starting.has(name)) return;
    starting.add(name);
    const scope = createScope();
    try {
      const self: Replica = { service, replica };
      const {
        clock,
        random,
        log,
        tracer,
        meter = createNoopMeter(),
        bus,
        watermarkMs,
        silenceMs,
        shareTtlMs,
      } = options;
      const shared = { clock, random, log, tracer, meter, bus, store: options.storeOf(service) };
      const { assemble = usual, ...own } = options.ownSeams?.(self) ?? {};
      const seams = { ...shared, ...own };
      const peers = peersOf(self, options.workloadOf(service), seams, scope);
      const pace = {
        ...(watermarkMs === undefined ? {} : { watermarkMs }),
        ...(silenceMs === undefined ? {} : { silenceMs }),
        ...(shareTtlMs === undefined ? {} : { shareTtlMs }),
      };
      const around = { name: service, replica: name, ...seams, peers, scope, partitionCount, authzTtlMs, ...pace };
      const wired = await wire(around, undefined, assemble);
      const authenticate = tokenVerifier({
        keys: wired.keys,
        issuer,
        audience: `interlock:${service}`,
        clock: seams.clock,
        refetchMs: 0,
        ...(options.tokenFormat === undefined ? {} : { format: options.tokenFormat }),
      });
      const { messageBytesMax, deadlineMaxMs } = wired.assembly.server ?? {};
      const server = serveInProcess({
        name: service,
        services: wired.services,
        authenticate,
        authorize: wired.permissions.authorize,
        clock: seams.clock,
        random: seams.random,
        tracer: seams.tracer,
        meter: seams.meter,
        log: seams.log,
        ...(wired.assembly.onRefused === undefined ? {} : { onRefused: wired.assembly.onRefused }),
        ...(messageBytesMax === undefined ? {} : { messageBytesMax }),
        ...(deadlineMaxMs === undefined ? {} : { deadlineMaxMs }),
        ...(options.isEncoded === undefined ? {} : { isEncoded: options.isEncoded }),
      });
      // Crashed while it started: it never answers.
      if (starting.has(name)) replicasOf(service).set(replica, { server, scope });
      else server.crash();
    } finally {
      starting.delete(name);
    }
  };

  const takeOut = (service: Workload, replica: number): Running | undefined => {
    const found = replicasOf(service).get(replica);
    replicasOf(service).delete(replica);
    if (found) stopped.set(service, found.server);
    return found;
  };
  const stop = async (service: Workload, replica = 0): Promise<void> => {
    const found = takeOut(service, replica);
    found?.server.stop();
    await found?.scope.close();
  };

  await start('identity');
  for (const service of Object.keys(options.services) as Workload[]) await start(service);
  return {
    start,
    stop,
    crash(service, replica = 0) {
      starting.delete(`${service} ${replica}`);
      takeOut(service, replica)?.server.crash();
    },
    running: (service) => [...replicasOf(service).keys()],
    as: (principal) => peersOf('outside', principal, options, outside),
    async close() {
      for (const [service, replicas] of [...running].reverse()) {
        for (const replica of [...replicas.keys()]) await stop(service, replica);
      }
      await outside.close();
    },
  };
};

const lowest = (running: readonly number[]): number => Math.min(...running);
