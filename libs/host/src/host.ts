import { type EventStore, openPostgresStore } from '@interlock/event-store';
import { type NatsBus, natsBus, type StreamState } from '@interlock/messaging';
import type { Workload } from '@interlock/rpc';
import type { ConfigOf, ConfigSpec, Startup } from '@interlock/runtime';
import type { Assemble, Seams } from './assembly.ts';
import type { Build } from './build.ts';
import type { Finding } from './probe-server.ts';
import {
  openProcess,
  openProcessPeers,
  type PartsWith,
  type ProcessOptions,
  type ProcessParts,
  runProcess,
  serveProcess,
  startSettings,
} from './process.ts';
import { isReachable, openPatiently } from './reaching.ts';
import { hostSpec } from './settings.ts';
import { openStoreAuthorities } from './tls.ts';
import { wire } from './wiring.ts';

/** What the `main.ts` of a service passes. */
export interface HostOptions<Spec extends ConfigSpec> extends ProcessOptions<typeof hostSpec, Spec> {
  readonly name: Workload;
  readonly assemble: (seams: HostSeams<ConfigOf<Spec>>) => ReturnType<Assemble<ConfigOf<Spec>>>;
}

/** The seams of a service with its own process. */
export interface HostSeams<Settings> extends Seams<Settings> {
  /**
   * Reports that this process has started and is not ready: `/readyz` responds with 503 from now on, and the launcher continues. Call it
   * when `assemble` waits without a limit.
   */
  readonly notReady: (reason: 'OTHER_HOST_FOLDER') => void;
}

/**
 * Runs one service as this process: reads the environment, opens store, bus and channels to the other services, assembles the
 * service and serves it, and on SIGTERM closes all of it in reverse order.
 */
export const hostService = <const Spec extends ConfigSpec>(options: HostOptions<Spec>): Promise<void> =>
  runProcess(options, (build, startup) => startHost(options, build, startup));

const startHost = async <const Spec extends ConfigSpec>(
  options: HostOptions<Spec>,
  build: Build,
  startup: Startup,
): Promise<{ readonly address: string }> => {
  const { name, env, assemble } = options;
  const { config, settings } = startSettings(options, hostSpec, build, startup.log);
  const host = options.hostOf?.(settings);
  const parts = await openProcess({ ...startup, name, workload: name, config, host }, build);
  const { clock, probes } = parts;
  const store = await openStore({ ...parts, config });
  const bus = await openBus({ ...parts, config, service: name });

  const notReady: HostSeams<unknown>['notReady'] = (reason) => {
    probes?.started(async () => [{ name: 'host_folder', isThere: false, counts: true }]);
    process.stdout.write(`${JSON.stringify({ notReady: true, service: name, reason })}\n`);
  };
  const { shareTtlMs, authzTtlMs, partitionCount } = config;
  const replica = config.replicaName ?? env.HOSTNAME ?? name;
  const divided = { replica, shareTtlMs, authzTtlMs, partitionCount };
  const { assembly, services, keys, permissions } = await wire(
    { ...parts, name, ...divided, store, bus, peers: openProcessPeers(parts) },
    settings,
    (seams) => assemble({ ...seams, notReady }),
  );
  const { onRefused, peerOf, server } = assembly;
  const address = await serveProcess(parts, {
    ...{ services, keys, authorize: permissions.authorize },
    isReady: () => isReachable(store, clock),
    ...(onRefused === undefined ? {} : { onRefused }),
    ...(peerOf === undefined ? {} : { peerOf }),
    ...server,
  });
  probes?.started(async () => [
    { name: 'store', isThere: await isReachable(store, clock), counts: true },
    // The bus was reached once, or the service would not have started. Later it does not count: without NATS only the responses of
    // a vault bound a revocation, so it must stay in service (decision 0009).
    { name: 'bus', isThere: bus.isConnected(), counts: false },
    ...streamFindings(bus.stream?.()),
    ...(assembly.findings?.() ?? []),
  ]);
  return { address };
};

type StoreSetting = 'databaseUrl' | 'databaseCaFile' | 'tlsReloadIntervalMs' | 'storeConnections' | 'startPatienceMs';

/** Opens the store, as patiently as the settings say; it closes with the scope. */
export const openStore = async ({
  config,
  scope,
  log,
  clock,
  meter,
}: PartsWith<Pick<typeof hostSpec, StoreSetting>> & Partial<Pick<ProcessParts, 'meter'>>): Promise<EventStore> => {
  const authorities = await openStoreAuthorities(config, { clock, log, scope });
  const { databaseUrl: url, storeConnections: maxConnections, startPatienceMs: patienceMs } = config;
  const optional = { ...(authorities && { authorities }), ...(meter && { meter }) };
  const store = await openPatiently(() => openPostgresStore({ url, clock, maxConnections, ...optional }), {
    clock,
    log,
    patienceMs,
    signal: scope.signal,
  });
  scope.defer('event store', () => store.close());
  return store;
};

const openBus = async ({
  service,
  config,
  scope,
  log,
  clock,
}: PartsWith<typeof hostSpec> & { readonly service: Workload }): Promise<NatsBus> => {
  const { natsSeedFile: seed, natsCaFile: caFile, natsNamespace: namespace } = config;
  const bus = await natsBus({
    servers: config.natsUrl.split(','),
    // With permissions on the servers, no other service can read the responses for this one.
    inboxPrefix: `_INBOX_${service}`,
    ...(seed === undefined ? {} : { seed }),
    ...(caFile === undefined ? {} : { caFile }),
    ...(namespace === undefined ? {} : { namespace }),
    clock,
    log,
    signal: scope.signal,
    own: { service, replicas: config.natsStreamReplicas },
  });
  scope.defer('bus', () => bus.close());
  return bus;
};

/**
 * What probes report about the stream of a service. A service is not ready before it has found its stream with the expected
 * configuration once: without it, no stored event is published. Later problems of the stream or of its copies take no replica out of
 * service, like an outage of the bus (decision 0009).
 */
export const streamFindings = (stream: StreamState | undefined): readonly Finding[] =>
  stream === undefined
    ? []
    : [
        { name: 'stream', isThere: stream.problem === '' && stream.copies > 0, counts: !stream.isVerified },
        { name: 'streamCopies', isThere: stream.copies >= stream.copiesWanted, counts: false },
      ];
