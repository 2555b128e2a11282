import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import { type EventStore, openPostgresStore } from '@interlock/event-store';
import { type NatsBus, natsBus, type StreamState } from '@interlock/messaging';
import { openChannel, startServer, tokenVerifier, type Workload } from '@interlock/rpc';
import {
  type Clock,
  ConfigError,
  type ConfigOf,
  type ConfigProblem,
  type ConfigSpec,
  describeConfig,
  type Logger,
  type Random,
  readConfig,
  runService,
  type Scope,
  type Startup,
  systemRandom,
  type telemetrySpec,
} from '@interlock/runtime';
import type { Meter, Tracer } from '@opentelemetry/api';
import type { Assemble, Seams } from './assembly.ts';
import { type Build, readBuild, versionLine } from './build.ts';
import { openPeers, type Peers, type PeersOptions } from './peers.ts';
import { type Finding, startProbes } from './probe-server.ts';
import { atMost, isReachable, openPatiently } from './reaching.ts';
import { hostSpec } from './settings.ts';
import { openStoreAuthorities, openTls } from './tls.ts';
import { type ServiceEnvironment, type Wired, wire } from './wiring.ts';

/** What the `main.ts` of a service passes. */
export interface HostOptions<Spec extends ConfigSpec> {
  readonly name: Workload;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Arguments of the process: `--version` prints its version and ends. */
  readonly args: readonly string[];
  /** Settings of this service, in addition to those of every service. */
  readonly settings: Spec;
  /** Problems of settings that are valid one by one. */
  readonly problems?: (settings: ConfigOf<typeof hostSpec> & ConfigOf<Spec>) => readonly ConfigProblem[];
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
export const hostService = async <const Spec extends ConfigSpec>(options: HostOptions<Spec>): Promise<void> => {
  const { name, env, args } = options;
  const build = readBuild();
  if (args.includes('--version')) {
    process.stdout.write(`${versionLine(name, build)}\n`);
    return;
  }
  await runService({ name, env, start: (startup) => startHost(options, build, startup) });
};

/** What the parts of a host share. */
interface HostParts {
  readonly name: Workload;
  readonly config: ConfigOf<typeof hostSpec>;
  readonly scope: Scope;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
  readonly meter: Meter;
}

const startHost = async <const Spec extends ConfigSpec>(
  { name, env, settings: spec, problems = () => [], assemble }: HostOptions<Spec>,
  build: Build,
  { scope, log, clock }: Startup,
): Promise<{ readonly address: string }> => {
  log.info('starting', { ...build });
  const { config, settings } = readSettings(env, spec, problems, ({ name: setting, got, expected }) =>
    log.warn('setting ignored', { setting, got, expected }),
  );
  log.info('settings', { ...describeConfig(hostSpec, config), ...describeConfig(spec, settings) });
  const base = { name, config, scope, log, clock, random: systemRandom };
  const parts: HostParts = { ...base, ...(await openTelemetry(base, build)) };

  const isStopping = () => scope.signal.aborted;
  const probes = config.probeAddress === undefined ? undefined : await startProbes(config.probeAddress, isStopping);
  scope.defer('probes', () => probes?.close());
  const tls = await openTls(config, { clock, log, meter: parts.meter, scope });
  const store = await openStore(parts);
  const bus = await openBus(parts);

  const notReady: HostSeams<unknown>['notReady'] = (reason) => {
    probes?.started(async () => [{ name: 'host_folder', isThere: false, counts: true }]);
    process.stdout.write(`${JSON.stringify({ notReady: true, service: name, reason })}\n`);
  };
  const { shareTtlMs, authzTtlMs, partitionCount } = config;
  const replica = config.replicaName ?? env.HOSTNAME ?? name;
  const divided = { replica, shareTtlMs, authzTtlMs, partitionCount };
  const wired = await wire(
    { ...parts, ...divided, store, bus, peers: openHostPeers(parts, tls), tls },
    settings,
    (seams) => assemble({ ...seams, notReady }),
  );
  const address = await serve(parts, wired, tls, store);
  probes?.started(async () => [
    { name: 'store', isThere: await isReachable(store, clock), counts: true },
    // The bus was reached once, or the service would not have started. Later it does not count: without NATS only the responses of
    // a vault bound a revocation, so it must stay in service (decision 0009).
    { name: 'bus', isThere: bus.isConnected(), counts: false },
    ...streamFindings(bus.stream?.()),
    ...(wired.assembly.findings?.() ?? []),
  ]);
  return { address };
};

/** What a process that is not a service itself shares with one: the gateway opens the same parts. */
type ProcessParts<Setting extends keyof typeof hostSpec> = Pick<HostParts, 'scope' | 'log' | 'clock' | 'random'> & {
  readonly config: Pick<ConfigOf<typeof hostSpec>, Setting>;
};

/**
 * Starts spans and metrics; they end with the scope. Only here is the SDK loaded: tests and commands import this module too.
 * @param name of the process
 */
export const openTelemetry = async (
  { name, config, scope, log, clock, random }: ProcessParts<keyof typeof telemetrySpec> & { readonly name: string },
  { version }: Build,
): Promise<Pick<HostParts, 'tracer' | 'meter'>> => {
  if (config.otelSdkDisabled) {
    const { disabledTelemetry } = await import('@interlock/runtime/disabled-telemetry');
    const telemetry = disabledTelemetry();
    scope.defer('telemetry', telemetry.shutdown);
    return telemetry;
  }
  const { lossLog, startTelemetry, telemetryOptions } = await import('@interlock/runtime/telemetry');
  const options = telemetryOptions(config);
  const losses = lossLog({ log, clock });
  const telemetry = startTelemetry({
    service: name,
    version,
    random,
    ...options,
    onLost: losses.note,
    onNotScraped: (error) => log.warn('metrics cannot be scraped', { error, ...options.prometheus }),
  });
  if (telemetry.meterProvider !== undefined) {
    const { measureRuntime } = await import('@interlock/runtime/runtime-metrics');
    scope.defer('runtime metrics', measureRuntime(telemetry.meterProvider));
  }
  // An unreachable collector must not use up the time to stop.
  scope.defer('telemetry', async () => {
    let isExported = false;
    const stopped = telemetry.shutdown().then(() => {
      isExported = true;
    });
    await atMost(LAST_EXPORT_MS, stopped, clock);
    losses.end();
    if (!isExported) log.warn('the last telemetry was not exported in time and is lost', { waitedMs: LAST_EXPORT_MS });
  });
  return telemetry;
};

type StoreSetting = 'databaseUrl' | 'databaseCaFile' | 'tlsReloadIntervalMs' | 'storeConnections' | 'startPatienceMs';

/** Opens the store, as patiently as the settings say; it closes with the scope. */
export const openStore = async ({
  config,
  scope,
  log,
  clock,
  meter,
}: ProcessParts<StoreSetting> & Partial<Pick<HostParts, 'meter'>>): Promise<EventStore> => {
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

const openBus = async ({ name, config, scope, log, clock }: HostParts): Promise<NatsBus> => {
  const { natsSeedFile: seed, natsCaFile: caFile, natsNamespace: namespace } = config;
  const bus = await natsBus({
    servers: config.natsUrl.split(','),
    // With permissions on the servers, no other service can read the responses for this one.
    inboxPrefix: `_INBOX_${name}`,
    ...(seed === undefined ? {} : { seed }),
    ...(caFile === undefined ? {} : { caFile }),
    ...(namespace === undefined ? {} : { namespace }),
    clock,
    log,
    signal: scope.signal,
    own: { service: name, replicas: config.natsStreamReplicas },
  });
  scope.defer('bus', () => bus.close());
  return bus;
};

type AddressSetting =
  | 'identityAddress'
  | 'keyVaultAddress'
  | 'diskEncryptionSetAddress'
  | 'diskAddress'
  | 'computeAddress'
  | 'rpcBalancing';

/** Opens channels to the services, at the addresses of the settings. */
export const channelOpener = (
  config: Pick<ConfigOf<typeof hostSpec>, AddressSetting>,
  tls: ServiceEnvironment['tls'] & {},
): PeersOptions['open'] => {
  const addresses: Readonly<Record<Workload, string>> = {
    identity: config.identityAddress,
    'key-vault': config.keyVaultAddress,
    'disk-encryption-set': config.diskEncryptionSetAddress,
    disk: config.diskAddress,
    compute: config.computeAddress,
  };
  const balancing = { 'grpc.service_config': serviceConfig(config.rpcBalancing) };
  return (peer, { messageBytesMax, channelOptions }, address = addresses[peer]) =>
    openChannel({
      address,
      tls,
      ...(messageBytesMax === undefined ? {} : { messageBytesMax }),
      channelOptions: { ...balancing, ...channelOptions },
    });
};

const openHostPeers = (
  { config, scope, clock, random, tracer }: HostParts,
  tls: ServiceEnvironment['tls'] & {},
): Peers =>
  openPeers({
    open: channelOpener(config, tls),
    workload: { id: config.workloadId, secret: config.workloadSecretFile },
    clock,
    random,
    tracer,
    scope,
  });

/** @returns the address of the server */
const serve = async (
  { name, config, scope, log, clock, random, tracer, meter }: HostParts,
  { assembly, services, keys, permissions }: Wired,
  tls: ServiceEnvironment['tls'] & {},
  store: EventStore,
): Promise<string> => {
  const server = await startServer({
    address: config.serviceAddress,
    tls,
    services,
    authenticate: tokenVerifier({ keys, issuer: config.tokenIssuer, audience: `interlock:${name}`, clock }),
    authorize: permissions.authorize,
    clock,
    random,
    tracer,
    meter,
    log,
    reflectionDescriptors: fileDescriptorSet,
    isReady: () => isReachable(store, clock),
    ...(assembly.onRefused === undefined ? {} : { onRefused: assembly.onRefused }),
    ...(assembly.peerOf === undefined ? {} : { peerOf: assembly.peerOf }),
    ...assembly.server,
  });
  scope.defer('server', () => server.stop({ graceMs: serverGraceMs(config.shutdownGraceMs) }));
  return server.address;
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

/**
 * How long a stopping service waits for the export of its last spans and metrics, in milliseconds. A collector needs a tenth of that;
 * while it is unreachable, the successor of this process waits as long (for the disks of a host, for example).
 */
const LAST_EXPORT_MS = 1_000;

/**
 * Reads the settings of every service and of this one.
 * @param onIgnored called with each invalid value of OpenTelemetry's variables
 * @throws ConfigError with all problems
 */
export const readSettings = <const Spec extends ConfigSpec>(
  env: HostOptions<Spec>['env'],
  spec: Spec,
  problems: NonNullable<HostOptions<Spec>['problems']>,
  onIgnored?: (problem: ConfigProblem) => void,
): { readonly config: ConfigOf<typeof hostSpec>; readonly settings: ConfigOf<Spec> } => {
  const all = readConfig(env, { ...hostSpec, ...spec }, onIgnored) as ConfigOf<typeof hostSpec> & ConfigOf<Spec>;
  const found = problems(all);
  if (found.length > 0) throw new ConfigError(found);
  return { config: all, settings: all };
};

/** The gRPC service configuration: which address of a name is called. */
const serviceConfig = (policy: 'pick_first' | 'round_robin'): string =>
  JSON.stringify({ loadBalancingConfig: [{ [policy]: {} }] });

/** The part of the time to stop for running calls; the rest is for consumers, the relay and the last spans. */
const serverGraceMs = (shutdownGraceMs: number): number => Math.floor(shutdownGraceMs * 0.7);
