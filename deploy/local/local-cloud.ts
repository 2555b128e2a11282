import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { createScope, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { type Administrator, openIdentities } from './bootstrap-identities.ts';
import { openCertificates } from './certificates.ts';
import { type DataFolder, holdDataFolder, LauncherError } from './data-folder.ts';
import { freePorts } from './free-port.ts';
import { startGuarded } from './guarded-process.ts';
import { endGuests } from './guests.ts';
import { holdDatabases } from './held-databases.ts';
import { metricsExporterOf } from './metrics-exporter.ts';
import { type Nats, startNats } from './nats.ts';
import { createStreams, partitionCountOf, removeStreams } from './nats-streams.ts';
import { type Postgres, startPostgres } from './postgres.ts';
import { type ServiceProcess, startService } from './processes.ts';
import { type Crash, sayCrash } from './restartable.ts';
import {
  addressVariableOf,
  databaseOf,
  entryOf,
  isOneAtATime,
  processNameOf,
  type ServiceName,
  serviceNames,
} from './services.ts';
import { startSpanReceiver } from './span-receiver.ts';
import { type SpanStore, spanStore } from './spans.ts';

/** What to start, and how. */
export interface LocalCloudOptions {
  /** A folder no other cloud is running on. */
  readonly data: DataFolder;
  /** `DATABASE_URL` and `NATS_URL`, where servers are given; `PATH`. Passed on to the services. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Which services; by default all. */
  readonly services?: readonly ServiceName[];
  /** Processes of each service; default 1. */
  readonly replicas?: number;
  /** Keeps clouds apart that share given servers: begins the names of databases, streams and subjects. */
  readonly name?: string;
  /** Removes its databases and streams when it stops: for given servers, which would keep them. */
  readonly temporary?: boolean;
  /** Settings for the services beside those the launcher makes: shorter times in tests, for example. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The same for one service alone: what it shows to a server. */
  readonly settingsOf?: (service: ServiceName) => Readonly<Record<string, string>>;
  /** Closes the cloud when it closes, also while the cloud is still starting. */
  readonly within?: Scope;
  /** Settings of a Postgres of our own, beside those the launcher makes. */
  readonly postgresSettings?: Readonly<Record<string, string>>;
  /** The file of each service. */
  readonly entry?: (service: ServiceName) => string;
  /** Progress, a line each. */
  readonly say?: (line: string) => void;
  /** A service, or a server of ours, that ended although nobody asked it to. By default its last words go to standard error. */
  readonly onCrash?: (crash: Crash) => void;
}

/**
 * A running cloud of separate processes. Services are named, their replicas numbered from 0; an unknown or not started one
 * is an error.
 */
export interface LocalCloud {
  /**
   * host:port of each service, the same for the life of the cloud; also of those not started. With several replicas as many,
   * separated by commas, but for disk: whichever of its processes has the volumes serves on the one address.
   */
  readonly addresses: Readonly<Record<ServiceName, string>>;
  /** The database of each service, over TCP. */
  readonly databaseUrls: Readonly<Record<ServiceName, string>>;
  /** PEM file of the authority that signed the services' certificate. */
  readonly authorityFile: string;
  /** PEM files of what callers show, where services want to see a certificate. Local ones do not. */
  readonly client?: { readonly certificateFile: string; readonly keyFile: string };
  readonly administrator: Administrator;
  readonly spans: SpanStore;
  readonly postgres: Postgres;
  readonly nats: Nats;
  pid(service: ServiceName, replica?: number): number;
  /** Ends with SIGKILL. */
  kill(service: ServiceName, replica?: number): Promise<void>;
  /** Starts again, stopping it first where it runs. */
  restart(service: ServiceName, replica?: number): Promise<void>;
  pause(service: ServiceName, replica?: number): void;
  resume(service: ServiceName, replica?: number): void;
  /** Stops everything in the reverse order. May be called more than once. */
  stop(): Promise<void>;
}

/**
 * Starts servers and services on free ports; resolves when every service serves. When anything fails, what was started is
 * stopped again. `cloud.json` in the data folder tells where everything is while it runs.
 * @throws LauncherError saying what is missing or went wrong.
 */
export async function startLocalCloud(options: LocalCloudOptions): Promise<LocalCloud> {
  const scope = createScope();
  options.within?.defer('cloud', scope.close);
  try {
    return await start(options, scope);
  } catch (error) {
    await scope.close();
    throw error;
  }
}

async function start(options: LocalCloudOptions, scope: Scope): Promise<LocalCloud> {
  const { data, env, services = serviceNames, name = 'interlock', entry = entryOf, say = () => undefined } = options;
  const { replicas = 1, onCrash = sayCrash } = options;
  const namespace = name === 'interlock' ? undefined : name;
  const partitionCount = partitionCountOf({ ...env, ...options.settings });
  for (const service of services) {
    if (!existsSync(entry(service)))
      throw new LauncherError(`${entry(service)} does not exist: ${service} cannot be started.`);
  }
  scope.defer('data folder', holdDataFolder(data));

  const onServerCrash = (crash: Crash): void =>
    onCrash({
      ...crash,
      restart: async () => {
        const since = performance.now();
        const pid = await crash.restart();
        say(`${crash.name} serves again (process ${pid}, ${Math.round(performance.now() - since)} ms)`);
        return pid;
      },
    });
  const sayServer = ({ description, pid }: Postgres | Nats): void =>
    say(pid === undefined ? description : `${description}, process ${pid}`);
  const [postgres, nats, certificates, ports] = await Promise.all([
    startPostgres(data, env, {}, options.postgresSettings, onServerCrash).then((started) => {
      scope.defer('Postgres', started.stop);
      sayServer(started);
      return started;
    }),
    startNats({ data, env, say, users: { namespace, partitionCount }, onCrash: onServerCrash }).then((started) => {
      scope.defer('NATS', started.stop);
      sayServer(started);
      return started;
    }),
    openCertificates(data, systemClock.now()),
    freePorts(serviceNames.length * replicas),
  ]);
  const databases = services.map((service) => databaseOf(name, service));
  await postgres.createDatabases(databases);
  if (options.temporary === true) {
    scope.defer('databases', () => postgres.dropDatabases(databases));
    scope.defer('streams', () => removeStreams(nats, `${name}_`));
  }
  await createStreams(nats, { ...env, ...options.settings }, { services, namespace });
  const identities = openIdentities(data, systemRandom);
  // On a server of its own they lie in the folder, which is held.
  if (postgres.pid === undefined && services.includes('identity')) {
    const holder = { folder: data.root, administratorId: identities.administrator.principalId };
    scope.defer('hold on the databases', await holdDatabases(postgres.url(databaseOf(name, 'identity')), holder));
  }
  const receiver = await startSpanReceiver({
    store: spanStore(),
    file: data.path('spans.jsonl'),
    random: systemRandom,
  });
  scope.defer('span receiver', receiver.stop);
  const numbers = Array.from({ length: replicas }, (_, replica) => replica);
  const portOf = (service: ServiceName, replica: number) =>
    ports[serviceNames.indexOf(service) * replicas + (isOneAtATime(service) ? 0 : replica)];
  // Called by name: TLS has no word for a server that is an address.
  const addresses = eachService((service) =>
    [...new Set(numbers.map((replica) => `localhost:${portOf(service, replica)}`))].join(','),
  );

  data.folder('logs');
  const life = await startGuarded({
    command: 'sleep',
    args: ['infinity'],
    cwd: '/',
    output: data.path('logs', 'guests.log'),
    stopSignal: 'TERM',
    graceMs: 1_000,
  });
  const endOfGuests = async () => {
    await life.stop();
    await endGuests(data.path('services', 'compute', 'guests'), systemClock);
  };
  scope.defer('guests', endOfGuests);

  const shared = {
    ...(namespace === undefined ? {} : { NATS_NAMESPACE: namespace }),
    TLS_CERTIFICATE_FILE: certificates.certificateFile,
    TLS_KEY_FILE: certificates.keyFile,
    TLS_CA_FILE: certificates.authorityFile,
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
    OTEL_METRICS_EXPORTER: metricsExporterOf(env),
    BOOTSTRAP_FILE: identities.bootstrapFile,
    ...Object.fromEntries(serviceNames.map((service) => [addressVariableOf(service), addresses[service]])),
    ...(replicas === 1 ? {} : { RPC_BALANCING: 'round_robin', STANDBY: 'true' }),
    // Guests outlive a compute that crashes, and end with the cloud, however that ends: this process lives as long.
    GUEST_PARENT_PID: String(life.pid),
    ...options.settings,
  };
  const processes = new Map<string, ServiceProcess>();
  const nameOf = (service: ServiceName, replica: number) => processNameOf(service, replica, replicas);
  const running = (service: ServiceName, replica = 0): ServiceProcess => {
    const found = processes.get(nameOf(service, replica));
    if (found === undefined) throw new Error(`${nameOf(service, replica)} was not started in this cloud`);
    return found;
  };
  const startOne = async (service: ServiceName, replica: number) => {
    const since = performance.now();
    const { principalId, secretFile, masterKeyFile } = identities.workloads[service];
    const own = nameOf(service, replica);
    const started = await startService({
      name: own,
      entry: entry(service),
      env: {
        ...env,
        ...nats.settingsOf(service),
        ...shared,
        SERVICE_ADDRESS: `127.0.0.1:${portOf(service, replica)}`,
        REPLICA_NAME: isOneAtATime(service) ? service : own,
        ...(isOneAtATime(service) && own !== service ? { STANDBY_NAME: own } : {}),
        DATABASE_URL: postgres.shortUrl(databaseOf(name, service)),
        DATA_FOLDER: data.folder('services', service),
        WORKLOAD_ID: principalId,
        WORKLOAD_SECRET_FILE: secretFile,
        MASTER_KEY_FILE: masterKeyFile,
        ...options.settingsOf?.(service),
      },
      logFile: data.path('logs', `${own}.log`),
      onCrash: (crash) => onCrash({ ...crash, restart: () => restartOne(service, replica) }),
      // One whose start is not over yet is told of then.
      onTakeover: (pid) => processes.has(own) && sayServing(service, replica, { pid, how: 'took over' }),
    });
    processes.set(own, started);
    // What came up after the stop had begun was not there to be stopped.
    if (scope.signal.aborted) await started.stop();
    sayServing(service, replica, { pid: started.pid, how: tookSince(since) });
  };
  const restartOne = async (service: ServiceName, replica: number): Promise<number> => {
    const since = performance.now();
    const own = running(service, replica);
    await own.restart();
    if (scope.signal.aborted) await own.stop();
    sayServing(service, replica, { pid: own.pid, how: tookSince(since) });
    return own.pid;
  };
  const tookSince = (since: number) => `${Math.round(performance.now() - since)} ms`;
  const sayServing = (service: ServiceName, replica: number, { pid, how }: { pid: number; how: string }): void => {
    const { name: own, isStandby } = running(service, replica);
    const does = isStandby ? 'stands by for' : 'serves on';
    // As `interlock status` calls it.
    const known = isOneAtATime(service) && !isStandby ? service : own;
    const log = known === own ? '' : `, log ${own}.log`;
    say(`${known} ${does} localhost:${portOf(service, replica)} (process ${pid}, ${how}${log})`);
  };
  const all = services.flatMap((service) => numbers.map((replica) => ({ service, replica })));
  // Registered before the start: a stop in the middle of it ends those that are there. In the order of their listing, not of their luck.
  scope.defer('services', async () => {
    for (const service of services.toReversed()) {
      await Promise.all(numbers.map((replica) => processes.get(nameOf(service, replica))?.stop()));
      // When nobody starts them any more, and while their disks are still served.
      if (service === 'compute') await endOfGuests();
    }
  });
  refuseEnded(scope);
  await allOrFirstFailure(all.map(({ service, replica }) => startOne(service, replica)));
  refuseEnded(scope);

  const { administrator, administratorFile } = identities;
  const { endpoint } = receiver;
  const cloudFile = data.path('cloud.json');
  const description = {
    pid: process.pid,
    addresses,
    authorityFile: certificates.authorityFile,
    administratorFile,
    spans: endpoint,
  };
  writeFileSync(cloudFile, `${JSON.stringify(description, undefined, 2)}\n`, { mode: 0o600 });
  scope.defer('cloud.json', () => rmSync(cloudFile, { force: true }));
  return {
    addresses,
    databaseUrls: eachService((service) => postgres.url(databaseOf(name, service))),
    authorityFile: certificates.authorityFile,
    administrator,
    spans: receiver.spans,
    postgres,
    nats,
    pid: (service, replica) => running(service, replica).pid,
    kill: (service, replica) => running(service, replica).kill(),
    restart: async (service, replica = 0) => {
      await restartOne(service, replica);
    },
    pause: (service, replica) => running(service, replica).pause(),
    resume: (service, replica) => running(service, replica).resume(),
    stop: () => scope.close(),
  };
}

/** @throws LauncherError when the cloud was closed while it started: what was started since is not left running */
function refuseEnded({ signal }: Scope): void {
  if (signal.aborted) throw new LauncherError('The cloud was stopped while it started.');
}

function eachService<Value>(make: (service: ServiceName) => Value): Record<ServiceName, Value> {
  return {
    identity: make('identity'),
    'key-vault': make('key-vault'),
    'disk-encryption-set': make('disk-encryption-set'),
    disk: make('disk'),
    compute: make('compute'),
  };
}

/** Waits for all, so that none is still starting when the failure of one leads to the stop of the others. */
async function allOrFirstFailure(starts: readonly Promise<void>[]): Promise<void> {
  const outcomes = await Promise.allSettled(starts);
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}
