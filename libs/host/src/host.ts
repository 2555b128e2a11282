import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import { openPostgresStore } from '@interlock/event-store';
import { natsBus, type StreamState } from '@interlock/messaging';
import { openChannel, startServer, tokenVerifier, type Workload } from '@interlock/rpc';
import {
  ConfigError,
  type ConfigOf,
  type ConfigProblem,
  type ConfigSpec,
  describeConfig,
  readConfig,
  runService,
  startTelemetry,
  systemRandom,
  telemetryOptions,
} from '@interlock/runtime';
import type { Assemble, Seams } from './assembly.ts';
import { readBuild, versionLine } from './build.ts';
import { channelWish, openPeers } from './peers.ts';
import { type Finding, startProbes } from './probe-server.ts';
import { atMost, isReachable, openPatiently } from './reaching.ts';
import { hostSpec } from './settings.ts';
import { openStoreAuthorities, openTls } from './tls.ts';
import { wire } from './wiring.ts';

/** What one service's `main.ts` says. */
export interface HostOptions<Spec extends ConfigSpec> {
  readonly name: Workload;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Arguments of the process: `--version` prints what it is and ends. */
  readonly args: readonly string[];
  /** Settings of this service beside those of every service. */
  readonly settings: Spec;
  /** What is wrong with settings that are right one by one. */
  readonly problems?: (settings: ConfigOf<typeof hostSpec> & ConfigOf<Spec>) => readonly ConfigProblem[];
  readonly assemble: (seams: HostSeams<ConfigOf<Spec>>) => ReturnType<Assemble<ConfigOf<Spec>>>;
}

/** What a service of a process of its own gets beside the seams of any. */
export interface HostSeams<Settings> extends Seams<Settings> {
  /**
   * Says that this process has started and is not ready, and why: `/readyz` answers 503 from now on, and the launcher goes on.
   * Call it in place of an end of `assemble` that may never come.
   */
  readonly notReady: (reason: 'OTHER_HOST_FOLDER') => void;
}

/**
 * Runs one service as this process: reads the environment, opens store, bus and the ways to the others, assembles the
 * service, serves it, tells its facts and hears those of others, and on SIGTERM closes all that in reverse order.
 */
export const hostService = async <const Spec extends ConfigSpec>({
  name,
  env,
  args,
  settings: spec,
  problems = () => [],
  assemble,
}: HostOptions<Spec>): Promise<void> => {
  const build = readBuild();
  if (args.includes('--version')) {
    process.stdout.write(`${versionLine(name, build)}\n`);
    return;
  }
  await runService({
    name,
    env,
    start: async ({ scope, log, clock }) => {
      log.info('starting', { ...build });
      const { config, settings } = readSettings(env, spec, problems, ({ name: setting, got, expected }) =>
        log.warn('setting ignored', { setting, got, expected }),
      );
      log.info('settings', { ...describeConfig(hostSpec, config), ...describeConfig(spec, settings) });
      const random = systemRandom;
      const telemetry = startTelemetry({
        service: name,
        version: build.version,
        random,
        ...telemetryOptions(config),
        onNotScraped: (error) =>
          log.warn('metrics cannot be scraped', { error, ...telemetryOptions(config).prometheus }),
      });
      // A collector that is gone must not use up the time there is to stop.
      scope.defer('telemetry', () => atMost(LAST_EXPORT_MS, telemetry.shutdown(), clock));
      const { tracer, meter } = telemetry;

      const isStopping = () => scope.signal.aborted;
      const probes = config.probeAddress === undefined ? undefined : await startProbes(config.probeAddress, isStopping);
      scope.defer('probes', () => probes?.close());

      const tls = await openTls(config, { clock, log, meter, scope });
      const authorities = await openStoreAuthorities(config, { clock, log, scope });
      const url = config.databaseUrl;
      const store = await openPatiently(
        () =>
          openPostgresStore({
            url,
            clock,
            random,
            maxConnections: config.storeConnections,
            ...(authorities === undefined ? {} : { authorities }),
          }),
        { clock, log, patienceMs: config.startPatienceMs, signal: scope.signal },
      );
      scope.defer('event store', () => store.close());
      const bus = await natsBus({
        servers: config.natsUrl.split(','),
        // Answers meant for one service are read by no other, where the servers have permissions.
        inboxPrefix: `_INBOX_${name}`,
        ...(config.natsSeedFile === undefined ? {} : { seed: config.natsSeedFile }),
        ...(config.natsCaFile === undefined ? {} : { caFile: config.natsCaFile }),
        clock,
        signal: scope.signal,
        own: { service: name, replicas: config.natsStreamReplicas },
        ...(config.natsNamespace === undefined ? {} : { namespace: config.natsNamespace }),
        log,
      });
      scope.defer('bus', () => bus.close());

      const addresses: Readonly<Record<Workload, string>> = {
        identity: config.identityAddress,
        'key-vault': config.keyVaultAddress,
        'disk-encryption-set': config.diskEncryptionSetAddress,
        disk: config.diskAddress,
        compute: config.computeAddress,
      };
      const balancing = { 'grpc.service_config': serviceConfig(config.rpcBalancing) };
      const peers = openPeers({
        open: (peer, wish) => {
          const { channelOptions, ...rest } = channelWish(wish);
          return openChannel({
            address: addresses[peer],
            tls,
            ...rest,
            channelOptions: { ...balancing, ...channelOptions },
          });
        },
        workload: { id: config.workloadId, secret: config.workloadSecretFile },
        clock,
        random,
        tracer,
        scope,
      });
      const notReady: HostSeams<unknown>['notReady'] = (reason) => {
        probes?.started(async () => [{ name: 'host_folder', isThere: false, counts: true }]);
        process.stdout.write(`${JSON.stringify({ standby: true, service: name, reason })}\n`);
      };
      const wired = await wire(
        {
          name,
          replica: config.replicaName ?? env.HOSTNAME ?? name,
          standbyName: config.standbyName,
          shareTtlMs: config.shareTtlMs,
          store,
          bus,
          peers,
          clock,
          random,
          log,
          tracer,
          meter,
          scope,
          tls,
          authzTtlMs: config.authzTtlMs,
          partitionCount: config.partitionCount,
        },
        settings,
        (seams) => assemble({ ...seams, notReady }),
      );
      const server = await startServer({
        address: config.serviceAddress,
        tls,
        services: wired.services,
        authenticate: tokenVerifier({
          keys: wired.keys,
          issuer: config.tokenIssuer,
          audience: `interlock:${name}`,
          clock,
        }),
        authorize: wired.permissions.authorize,
        clock,
        random,
        tracer,
        meter,
        log,
        reflectionDescriptors: fileDescriptorSet,
        isReady: () => isReachable(store, clock),
        ...(wired.assembly.onRefused === undefined ? {} : { onRefused: wired.assembly.onRefused }),
        ...wired.assembly.server,
      });
      scope.defer('server', () => server.stop({ graceMs: serverGraceMs(config.shutdownGraceMs) }));
      probes?.started(async () => [
        { name: 'store', isThere: await isReachable(store, clock), counts: true },
        // Reached once, or the service would not have started. From then on a vault that cannot tell its facts must all
        // the same be asked: without NATS its answers are all that bounds a revocation (decision 0009).
        { name: 'bus', isThere: bus.isConnected(), counts: false },
        ...streamFindings(bus.stream?.()),
        ...(wired.assembly.findings?.() ?? []),
      ]);
      return { address: server.address };
    },
  });
};

/**
 * What probes report of the stream of a service. A service is not ready before its stream was found once as an operator should have
 * created it: without it, nothing it stores is published. What becomes of the stream later takes no replica out of service, as little
 * as a bus that goes away does (decision 0009); nor do copies on a server that is down.
 */
export const streamFindings = (stream: StreamState | undefined): readonly Finding[] =>
  stream === undefined
    ? []
    : [
        { name: 'stream', isThere: stream.problem === '' && stream.copies > 0, counts: !stream.isVerified },
        { name: 'streamCopies', isThere: stream.copies >= stream.copiesWanted, counts: false },
      ];

/**
 * How long the end of a service waits for its last spans and metrics to be taken, in milliseconds. A collector that is there
 * takes a tenth of that; while one is not, whoever comes after this process waits as long (the disks of a host, for example).
 */
const LAST_EXPORT_MS = 1_000;

/**
 * Reads the settings of every service and those of this one.
 * @param onIgnored called with each value of OpenTelemetry's variables that cannot be used
 * @throws ConfigError with every problem of both
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

/** The gRPC service configuration: which of the addresses behind a name is called. */
const serviceConfig = (policy: 'pick_first' | 'round_robin'): string =>
  JSON.stringify({ loadBalancingConfig: [{ [policy]: {} }] });

/** What calls under way may take of the time to stop; the rest is for consumers, the relay and the last spans. */
const serverGraceMs = (shutdownGraceMs: number): number => Math.floor(shutdownGraceMs * 0.7);
