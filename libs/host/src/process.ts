import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import {
  type BoundService,
  type Certificates,
  cachingAuthorizer,
  openChannel,
  type ServerOptions,
  startServer,
  tokenVerifier,
  type Workload,
} from '@interlock/rpc';
import {
  type Clock,
  ConfigError,
  type ConfigOf,
  type ConfigProblem,
  type ConfigSpec,
  describeConfig,
  type Logger,
  type Random,
  type Renewed,
  readConfig,
  runService,
  type Scope,
  type Startup,
  systemRandom,
  type telemetrySpec,
} from '@interlock/runtime';
import type { Meter, Tracer } from '@opentelemetry/api';
import type { Seams } from './assembly.ts';
import { type Build, readBuild, versionLine } from './build.ts';
import { openPeers, type Peers, type PeersOptions } from './peers.ts';
import { type Probes, startProbes } from './probe-server.ts';
import { atMost } from './reaching.ts';
import { processSpec } from './settings.ts';
import { openTls } from './tls.ts';

/** What the `main.ts` of a process passes, with a store or without one. */
export interface ProcessOptions<Base extends ConfigSpec, Spec extends ConfigSpec> {
  /** Name of the process, for its log, its spans and `--version`. */
  readonly name: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Arguments of the process: `--version` prints its version and ends. */
  readonly args: readonly string[];
  /** Settings of this process, in addition to those of every process of its kind. */
  readonly settings: Spec;
  /** The name of a disk host or VM host by its settings, for its spans: `disk-0`; absent or undefined for any other process. */
  readonly hostOf?: (settings: ConfigOf<Spec>) => string | undefined;
  /** Problems of settings that are valid one by one. */
  readonly problems?: (settings: ConfigOf<Base> & ConfigOf<Spec>) => readonly ConfigProblem[];
}

/** The seams of a process without a store. */
export type ProcessSeams<Settings> = Pick<
  Seams<Settings>,
  'clock' | 'random' | 'log' | 'tracer' | 'meter' | 'settings' | 'client' | 'tls' | 'scope'
>;

/** A process without a store: its API and its background work. */
export interface ProcessAssembly {
  readonly services: readonly BoundService[];
  /** Started once the process serves; each returns when `signal` is aborted. */
  readonly background: readonly ((signal: AbortSignal) => Promise<void>)[];
}

/** Options of `hostProcess`. */
export interface StorelessOptions<Spec extends ConfigSpec> extends ProcessOptions<typeof processSpec, Spec> {
  /** The service to which the process belongs: it has that service's principal, and callers need a token for that service. */
  readonly workload: Workload;
  readonly assemble: (seams: ProcessSeams<ConfigOf<Spec>>) => Promise<ProcessAssembly>;
}

/** Runs a process without a store and without the bus, with the settings, telemetry, probes, TLS and tokens of a service. */
export const hostProcess = <const Spec extends ConfigSpec>(options: StorelessOptions<Spec>): Promise<void> =>
  runProcess(options, async (build, startup) => {
    const { name, workload, assemble } = options;
    const { config, settings } = startSettings(options, processSpec, build, startup.log);
    const host = options.hostOf?.(settings);
    const parts = await openProcess({ ...startup, name, workload, config, host }, build);
    const peers = openProcessPeers(parts);
    const { scope, clock } = parts;
    const assembly = await assemble({ ...parts, settings, client: peers.client });
    const { authorize } = cachingAuthorizer({ check: peers.check, clock, authzTtlMs: config.authzTtlMs });
    const address = await serveProcess(parts, { services: assembly.services, keys: peers.keys, authorize });
    const ending = new AbortController();
    const background = assembly.background.map((run) => run(ending.signal));
    scope.defer('background work', () => {
      ending.abort();
      return Promise.all(background);
    });
    parts.probes?.started(async () => []);
    return { address };
  });

/** Prints the version if that is asked for; else runs the process until it is stopped. */
export const runProcess = async (
  { name, env, args }: Pick<ProcessOptions<ConfigSpec, ConfigSpec>, 'name' | 'env' | 'args'>,
  start: (build: Build, startup: Startup) => Promise<{ readonly address: string }>,
): Promise<void> => {
  const build = readBuild();
  if (args.includes('--version')) process.stdout.write(`${versionLine(name, build)}\n`);
  else await runService({ name, env, start: (startup) => start(build, startup) });
};

/**
 * Reads the settings of a process, and logs them with its version. Invalid values of OpenTelemetry's variables are logged and ignored.
 * @param base the settings of every process of its kind
 * @throws ConfigError with all problems
 */
export const startSettings = <const Base extends ConfigSpec, const Spec extends ConfigSpec>(
  { env, settings: spec, problems = () => [] }: Pick<ProcessOptions<Base, Spec>, 'env' | 'settings' | 'problems'>,
  base: Base,
  build: Build,
  log: Logger,
): { readonly config: ConfigOf<Base>; readonly settings: ConfigOf<Spec> } => {
  log.info('starting', { ...build });
  const all = readConfig(env, { ...base, ...spec }, ({ name: setting, got, expected }) =>
    log.warn('setting ignored', { setting, got, expected }),
  ) as ConfigOf<Base> & ConfigOf<Spec>;
  const found = problems(all);
  if (found.length > 0) throw new ConfigError(found);
  log.info('settings', { ...describeConfig(base, all), ...describeConfig(spec, all) });
  return { config: all, settings: all };
};

/** What the parts of a process share. */
export interface ProcessParts {
  readonly name: string;
  readonly workload: Workload;
  readonly config: ConfigOf<typeof processSpec>;
  readonly scope: Scope;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
  readonly meter: Meter;
  /** Where its probes are served, if anywhere. */
  readonly probes: Probes | undefined;
  readonly tls: Renewed<Certificates> | 'plaintext';
}

/** Opens what every process has before it serves: telemetry, probes and certificates. All of it ends with the scope. */
export const openProcess = async (
  parts: Startup & Pick<ProcessParts, 'name' | 'workload' | 'config'> & { readonly host: string | undefined },
  build: Build,
): Promise<ProcessParts> => {
  const { name, workload, config, scope, log, clock, host } = parts;
  const base = { name, workload, config, scope, log, clock, random: systemRandom };
  const telemetry = await openTelemetry({ ...base, host }, build);
  const isStopping = () => scope.signal.aborted;
  const probes = config.probeAddress === undefined ? undefined : await startProbes(config.probeAddress, isStopping);
  scope.defer('probes', () => probes?.close());
  const tls = await openTls(config, { clock, log, meter: telemetry.meter, scope });
  return { ...base, ...telemetry, probes, tls };
};

/** What the gateway, which is no service, opens of the same parts. */
export type PartsWith<Settings extends ConfigSpec> = Pick<ProcessParts, 'scope' | 'log' | 'clock' | 'random'> & {
  readonly config: ConfigOf<Settings>;
};

/**
 * Starts spans and metrics; they end with the scope. Only here is the SDK loaded: tests and commands import this module too.
 * @param name of the process
 */
export const openTelemetry = async (
  parts: PartsWith<typeof telemetrySpec> & { readonly name: string; readonly host?: string | undefined },
  { version }: Build,
): Promise<Pick<ProcessParts, 'tracer' | 'meter'>> => {
  const { name, host, config, scope, log, clock, random } = parts;
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
    host,
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

type AddressSetting =
  | 'identityAddress'
  | 'keyVaultAddress'
  | 'diskEncryptionSetAddress'
  | 'diskAddress'
  | 'computeAddress'
  | 'rpcBalancing';

/** Opens channels to the services, at the addresses of the settings. */
export const channelOpener = (
  config: Pick<ConfigOf<typeof processSpec>, AddressSetting>,
  tls: ProcessParts['tls'],
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

/** Opens the channels to the services, with the tokens of the process's own principal. */
export const openProcessPeers = ({ config, scope, clock, random, tracer, tls }: ProcessParts): Peers =>
  openPeers({
    open: channelOpener(config, tls),
    workload: { id: config.workloadId, secret: config.workloadSecretFile },
    clock,
    random,
    tracer,
    scope,
  });

/** What a process serves, and who may call it. */
export type Served = Pick<ServerOptions, 'services' | 'authorize'> &
  Partial<ServerOptions> & { readonly keys: Parameters<typeof tokenVerifier>[0]['keys'] };

/** Serves the API of a process until its scope is closed. @returns the address of the server */
export const serveProcess = async (
  { workload, config, scope, log, clock, random, tracer, meter, tls }: ProcessParts,
  { keys, ...served }: Served,
): Promise<string> => {
  const server = await startServer({
    address: config.serviceAddress,
    tls,
    authenticate: tokenVerifier({ keys, issuer: config.tokenIssuer, audience: `interlock:${workload}`, clock }),
    clock,
    random,
    tracer,
    meter,
    log,
    reflectionDescriptors: fileDescriptorSet,
    ...served,
  });
  scope.defer('server', () => server.stop({ graceMs: serverGraceMs(config.shutdownGraceMs) }));
  return server.address;
};

/**
 * How long a stopping service waits for the export of its last spans and metrics, in milliseconds. A collector needs a tenth of that;
 * while it is unreachable, the successor of this process waits as long (for the disks of a host, for example).
 */
const LAST_EXPORT_MS = 1_000;

/** The gRPC service configuration: which address of a name is called. */
const serviceConfig = (policy: 'pick_first' | 'round_robin'): string =>
  JSON.stringify({ loadBalancingConfig: [{ [policy]: {} }] });

/** The part of the time to stop for running calls; the rest is for consumers, the relay and the last spans. */
const serverGraceMs = (shutdownGraceMs: number): number => Math.floor(shutdownGraceMs * 0.7);
