import type { EventStore } from '@interlock/event-store';
import type { Bus } from '@interlock/messaging';
import {
  type Channel,
  type Definition,
  type InProcessServer,
  type RpcClient,
  RpcFailure,
  serveInProcess,
  tokenVerifier,
  type Workload,
} from '@interlock/rpc';
import { type Clock, createScope, type Logger, type Random, type Scope } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { Assemble } from './assembly.ts';
import { openPeers, type Peers } from './peers.ts';
import { wire } from './wiring.ts';

/** A service of the cloud, with its settings already bound: `(seams) => assemble({ ...seams, settings })`. */
export type CloudService = Assemble<undefined>;

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
  /** `iss` of the tokens, as identity issues them. */
  readonly issuer: string;
  /** Default 0: every permission is asked anew. */
  readonly authzTtlMs?: number;
  readonly partitionCount?: number;
}

/** Several services in one process. */
export interface InProcessCloud {
  /** The services as somebody sees them who has a secret of identity's. */
  as(principal: { readonly id: string; readonly secret: string }): Pick<Peers, 'client'>;
  /** Stops a service as a crash would look to the others: its calls are UNAVAILABLE until it is started again. */
  stop(service: Workload): Promise<void>;
  /** Starts a stopped service on its store. */
  start(service: Workload): Promise<void>;
  close(): Promise<void>;
}

/**
 * Runs services in one process, over seams passed in: memory stores and bus for tests and the simulation, or real ones.
 * Calls between them go through the same client and server pipelines as over gRPC: tokens, permissions, errors, traces.
 */
export const inProcessCloud = async (options: InProcessCloudOptions): Promise<InProcessCloud> => {
  const { clock, random, log, tracer, bus } = options;
  const servers = new Map<Workload, InProcessServer>();
  const running = new Map<Workload, Scope>();
  const outside = createScope();

  /** A way to a service that finds it anew at every call, so that services may start in any order and restart. */
  const channelTo = (name: Workload): Channel => ({
    peer: name,
    client: <D extends Definition>(definition: D, middleware: Parameters<Channel['client']>[1]) =>
      new Proxy({} as RpcClient<D>, {
        get: (_, method) =>
          // A client is looked at for `then` when it is returned from an async function.
          method === 'then'
            ? undefined
            : (...call: unknown[]) => {
                // A stopped one still answers UNAVAILABLE, through the client's own pipeline and its retries.
                const server = servers.get(name);
                if (!server)
                  throw new RpcFailure('UNAVAILABLE', String(method), name, 'the service has not been started');
                const client = server.channel.client(definition, middleware);
                return Reflect.apply(Reflect.get(client, method), client, call);
              },
      }),
    close: () => {},
  });
  const peersOf = (workload: { readonly id: string; readonly secret: string }, scope: Scope): Peers =>
    openPeers({ open: channelTo, workload, clock, random, tracer, scope });

  const start = async (name: Workload): Promise<void> => {
    const service = options.services[name];
    if (!service || running.has(name)) return;
    const scope = createScope();
    const { issuer, partitionCount = 1, authzTtlMs = 0 } = options;
    const around = { name, bus, clock, random, log, tracer, scope, partitionCount, authzTtlMs };
    const peers = peersOf(options.workloadOf(name), scope);
    const wired = await wire({ ...around, store: options.storeOf(name), peers }, undefined, service);
    const authenticate = tokenVerifier({
      keys: wired.keys,
      issuer,
      audience: `interlock:${name}`,
      clock,
      refetchMs: 0,
    });
    const { messageBytesMax } = wired.assembly.server ?? {};
    const server = serveInProcess({
      name,
      services: wired.services,
      authenticate,
      authorize: wired.permissions.authorize,
      clock,
      random,
      tracer,
      log,
      ...(wired.assembly.onRefused === undefined ? {} : { onRefused: wired.assembly.onRefused }),
      ...(messageBytesMax === undefined ? {} : { messageBytesMax }),
    });
    servers.set(name, server);
    running.set(name, scope);
  };

  const stop = async (name: Workload): Promise<void> => {
    const scope = running.get(name);
    running.delete(name);
    servers.get(name)?.stop();
    await scope?.close();
  };

  await start('identity');
  for (const name of Object.keys(options.services) as Workload[]) await start(name);
  return {
    start,
    stop,
    as: (principal) => peersOf(principal, outside),
    async close() {
      for (const name of [...running.keys()].reverse()) await stop(name);
      await outside.close();
    },
  };
};
