import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import { MessagingServiceDefinition } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { openPostgresStore } from '@interlock/event-store';
import { messagingApi, natsBus, type ReadFeed, startConsumer, startRelay } from '@interlock/messaging';
import {
  type Authorizer,
  cachingAuthorizer,
  type KeySource,
  type ServerTls,
  service,
  startServer,
  tokenVerifier,
  type Workload,
} from '@interlock/rpc';
import {
  type ConfigOf,
  type ConfigSpec,
  describeConfig,
  readConfig,
  runService,
  startTelemetry,
  systemRandom,
  telemetryOptions,
} from '@interlock/runtime';
import type { Assemble, Assembly } from './assembly.ts';
import { openPeers } from './peers.ts';
import { hostSpec, workloads } from './settings.ts';

/** What one service's `main.ts` says. */
export interface HostOptions<Spec extends ConfigSpec> {
  readonly name: Workload;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Settings of this service beside those of every service. */
  readonly settings: Spec;
  readonly assemble: Assemble<ConfigOf<Spec>>;
}

/**
 * Runs one service as this process: reads the environment, opens store, bus and the ways to the others, assembles the
 * service, serves it, tells its facts and hears those of others, and on SIGTERM closes all that in reverse order.
 */
export const hostService = <const Spec extends ConfigSpec>({
  name,
  env,
  settings: spec,
  assemble,
}: HostOptions<Spec>): Promise<void> =>
  runService({
    name,
    env,
    start: async ({ scope, log, clock }) => {
      const config = readConfig(env, hostSpec);
      const settings = readConfig(env, spec);
      log.info('settings', { ...describeConfig(hostSpec, config), ...describeConfig(spec, settings) });
      const random = systemRandom;
      const telemetry = startTelemetry({ service: name, random, ...telemetryOptions(config) });
      scope.defer('telemetry', () => telemetry.shutdown());
      const { tracer } = telemetry;

      const store = await openPostgresStore({
        url: config.databaseUrl,
        clock,
        random,
        maxConnections: config.storeConnections,
      });
      scope.defer('event store', () => store.close());
      const bus = await natsBus({
        servers: [config.natsUrl],
        clock,
        ...(config.natsNamespace === undefined ? {} : { namespace: config.natsNamespace }),
        report: (problem, error) => log.warn(problem, { error }),
      });
      scope.defer('bus', () => bus.close());

      const peers = openPeers({
        addresses: {
          identity: config.identityAddress,
          'key-vault': config.keyVaultAddress,
          'disk-encryption-set': config.diskEncryptionSetAddress,
          disk: config.diskAddress,
          compute: config.computeAddress,
        },
        tls: config.transport === 'plaintext' ? 'plaintext' : { ca: required(config.tlsCaFile, 'TLS_CA_FILE') },
        workload: { id: config.workloadId, secret: config.workloadSecretFile },
        clock,
        random,
        tracer,
        scope,
      });
      const assembled: { authority?: Assembly['authority'] } = {};
      const check: Authorizer = (...question) => (assembled.authority?.check ?? peers.check)(...question);
      const keys: KeySource = () => (assembled.authority?.keys ?? peers.keys)();
      const permissions = cachingAuthorizer({ check, clock, authzTtlMs: config.authzTtlMs });

      const assembly = await assemble({
        store,
        clock,
        random,
        log,
        tracer,
        settings,
        authorize: permissions.authorize,
        forgetPermissions: permissions.invalidate,
        client: peers.client,
        scope,
      });
      assembled.authority = assembly.authority;

      const { partitionCount } = config;
      const readFeed: ReadFeed = ({ source, signal, ...request }) => {
        const owner = workloads.find((workload) => workload === source);
        if (!owner) throw new Error(`${source} is no service of ours`);
        return peers.client(owner, MessagingServiceDefinition).readFeed({ ...request, limit: 0 }, { signal });
      };
      const common = { service: name, store, bus, clock, random, log, tracer, partitionCount };
      const consumers = (assembly.reactions ?? []).map((reaction) =>
        startConsumer({ ...common, ...reaction, readFeed }),
      );
      scope.defer('consumers', () => Promise.all(consumers.map((consumer) => consumer.stop())));
      const relay = startRelay({ ...common, toFact: assembly.toFact });
      scope.defer('relay', () => relay.stop());

      const background = new AbortController();
      const work = (assembly.background ?? []).map((run) => run(background.signal));
      scope.defer('background work', () => {
        background.abort();
        return Promise.all(work);
      });

      const messaging = service({
        definition: MessagingServiceDefinition,
        implementation: messagingApi({ ...common, toFact: assembly.toFact, consumers }),
        authorization: {
          readFeed: { workload: workloads },
          listParkedFacts: { action: 'platform/messaging/read', scope: () => '/' },
          replayParkedFact: { action: 'platform/messaging/write', scope: () => '/' },
          listConsumers: { action: 'platform/messaging/read', scope: () => '/' },
        },
      });
      const server = await startServer({
        address: config.serviceAddress,
        tls: config.transport === 'plaintext' ? 'plaintext' : serverTls(config),
        services: [...assembly.services, messaging],
        authenticate: tokenVerifier({ keys, issuer: config.tokenIssuer, audience: `interlock:${name}`, clock }),
        authorize: permissions.authorize,
        clock,
        random,
        tracer,
        log,
        reflectionDescriptors: fileDescriptorSet,
        ...assembly.server,
      });
      scope.defer('server', () => server.stop());
      return { address: server.address };
    },
  });

const serverTls = (config: ConfigOf<typeof hostSpec>): ServerTls => ({
  certificate: required(config.tlsCertificateFile, 'TLS_CERTIFICATE_FILE'),
  key: required(config.tlsKeyFile, 'TLS_KEY_FILE'),
});

const required = <Value>(value: Value | undefined, variable: string): Value => {
  if (value !== undefined) return value;
  throw new Error(
    `${variable} is not set: give it, or say TRANSPORT=plaintext where something else secures the network`,
  );
};
