import { existsSync } from 'node:fs';
import { spanStore } from '@interlock/lab/spans/span-store';
import { createScope, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { guestImageFolder } from '../guest-image/folder.ts';
import { type BlockDevices, openBlockDevices } from './block-devices.ts';
import { type Identities, openIdentities } from './bootstrap-identities.ts';
import { type Certificates, openCertificates } from './certificates.ts';
import { writeDescription } from './cloud-description.ts';
import { provideSpace } from './cloud-space.ts';
import type { LocalCloud, LocalCloudOptions } from './cloud-types.ts';
import { controlOf } from './control/cloud-control.ts';
import { serveControl } from './control/control-server.ts';
import { databaseUrlOf, openSettingsIn, routedHost, routedSettings } from './control/routes.ts';
import { holdDataFolder, LauncherError } from './data-folder.ts';
import { freePorts } from './free-port.ts';
import { startGuarded } from './guarded-process.ts';
import { endGuests, guestFoldersOf } from './guests.ts';
import { holdDatabases } from './held-databases.ts';
import { type Nats, startNats } from './nats.ts';
import { createStreams, partitionCountOf, removeStreams } from './nats-streams.ts';
import { type CloudSize, type Planned, planProcesses, portsOf } from './planned-processes.ts';
import { type Postgres, startPostgres } from './postgres.ts';
import { type ServiceProcess, startService } from './processes.ts';
import { type Crash, sayCrash } from './restartable.ts';
import {
  addressVariableOf,
  databaseOf,
  diskHostsFor,
  eachService,
  entryOf,
  type HostCounts,
  hostNamesOf,
  isHostName,
  type ProcessTarget,
  processNameOf,
  type ServiceName,
  serviceNames,
} from './services.ts';
import { type SpanReceiver, startSpanReceiver } from './span-receiver.ts';
import { exporterSettings } from './telemetry-exporters.ts';
import { forwardTelemetry } from './telemetry-forward.ts';

export type { LocalCloud, LocalCloudOptions } from './cloud-types.ts';

/**
 * Starts servers and services on free ports; resolves when every service serves. If anything fails, all that was started is
 * stopped. `cloud.json` in the data folder has all addresses while the cloud runs.
 * @throws LauncherError that says what is missing or failed
 */
export async function startLocalCloud(options: LocalCloudOptions): Promise<LocalCloud> {
  const scope = createScope();
  options.within?.defer('cloud', scope.close);
  try {
    return await new CloudLaunch(options, scope).start();
  } catch (error) {
    await scope.close();
    throw error;
  }
}

/** What services need to start. */
interface Ground {
  readonly postgres: Postgres;
  readonly nats: Nats;
  readonly identities: Identities;
  readonly certificates: Certificates;
  readonly addresses: Readonly<Record<ServiceName, string>>;
  /** Settings of every service. */
  readonly shared: Readonly<Record<string, string | undefined>>;
  /** The processes to start. */
  readonly planned: readonly Planned[];
}

/** The start of one cloud: first the servers, then what services need on them, then the services. */
class CloudLaunch {
  readonly #options: LocalCloudOptions;
  readonly #scope: Scope;
  readonly #services: readonly ServiceName[];
  readonly #name: string;
  readonly #replicas: number;
  readonly #hosts: HostCounts;
  readonly #clientAddressKey = Buffer.from(systemRandom.bytes(32)).toString('base64url');
  readonly #say: (line: string) => void;
  readonly #onCrash: (crash: Crash) => void;
  /** Services that run, by the names of their processes. */
  readonly #processes = new Map<string, ServiceProcess>();

  constructor(options: LocalCloudOptions, scope: Scope) {
    this.#options = options;
    this.#scope = scope;
    this.#services = options.services ?? serviceNames;
    this.#name = options.name ?? 'interlock';
    this.#replicas = options.replicas ?? 1;
    this.#hosts = { diskHosts: diskHostsFor(this.#replicas, options.diskHosts), vmHosts: options.vmHosts ?? 0 };
    this.#say = options.say ?? (() => undefined);
    this.#onCrash = options.onCrash ?? sayCrash;
  }

  async start(): Promise<LocalCloud> {
    const { data, env, entry = entryOf, takeTelemetry } = this.#options;
    for (const service of this.#services) {
      if (!existsSync(entry(service)))
        throw new LauncherError(`${entry(service)} does not exist: ${service} cannot be started.`);
    }
    this.#scope.defer('data folder', holdDataFolder(data));
    this.#scope.defer('space watch', provideSpace(this.#options, this.#say).stop);
    const { postgres, nats, certificates, ports } = await this.#startServers();
    const identities = await this.#prepareServers(postgres, nats);
    const forward = forwardTelemetry(env, this.#say);
    this.#scope.defer('forward of telemetry', () => forward?.stop());
    const onExport = (path: string, body: string): void => {
      takeTelemetry?.(path, body);
      forward?.take(path, body);
    };
    const receiver = await startSpanReceiver({
      store: spanStore(),
      file: data.path('spans.jsonl'),
      random: systemRandom,
      ...((takeTelemetry ?? forward) ? { onExport } : {}),
    });
    this.#scope.defer('span receiver', receiver.stop);

    const blockDevices = openBlockDevices(data);
    this.#scope.defer('block devices', async () => blockDevices.remove());
    const { addresses, planned } = planProcesses({ ...this.#size(), data, env, ports, blockDevices });
    const { guestParentPid, endGuests: endOfGuests } = await this.#guardGuests();
    const shared = this.#sharedSettings({
      certificates,
      identities,
      receiver,
      addresses,
      guestParentPid,
      blockDevices,
    });
    const ground: Ground = { postgres, nats, identities, certificates, addresses, shared, planned };
    await this.#startServices(ground, endOfGuests);
    const cloud = this.#cloud(ground, receiver);
    const { path: control } = await this.#serveControl(cloud);
    const description = {
      addresses: ground.addresses,
      authorityFile: certificates.authorityFile,
      administratorFile: identities.administratorFile,
    };
    writeDescription(data, { ...description, spans: receiver.endpoint, control }, this.#scope);
    return cloud;
  }

  /** Starts Postgres and NATS, unless they are given, while certificates are created and ports are chosen. */
  async #startServers() {
    const { data, env, postgresSettings, settings } = this.#options;
    const onCrash = (crash: Crash): void => this.#onCrash({ ...crash, restart: () => this.#restartServer(crash) });
    const started = <Server extends Postgres | Nats>(name: string, server: Server): Server => {
      this.#scope.defer(name, server.stop);
      const { description, pid } = server;
      this.#say(pid === undefined ? description : `${description}, process ${pid}`);
      return server;
    };
    const users = { namespace: this.#namespace(), partitionCount: partitionCountOf({ ...env, ...settings }) };
    const [postgres, nats, certificates, ports] = await Promise.all([
      startPostgres(data, env, {}, postgresSettings, onCrash).then((server) => started('Postgres', server)),
      startNats({ data, env, say: this.#say, users, onCrash }).then((server) => started('NATS', server)),
      openCertificates(data, systemClock.now()),
      freePorts(portsOf(this.#size())),
    ]);
    return { postgres, nats, certificates, ports };
  }

  async #restartServer(crash: Crash): Promise<number> {
    const since = performance.now();
    const pid = await crash.restart();
    this.#say(`${crash.name} serves again (process ${pid}, ${millisecondsSince(since)})`);
    return pid;
  }

  /** Creates databases, streams and identities. Given databases are locked for this data folder. */
  async #prepareServers(postgres: Postgres, nats: Nats): Promise<Identities> {
    const { data, env, settings, temporary } = this.#options;
    const databases = this.#services.map((service) => databaseOf(this.#name, service));
    await postgres.createDatabases(databases);
    if (temporary === true) {
      this.#scope.defer('databases', () => postgres.dropDatabases(databases));
      this.#scope.defer('streams', () => removeStreams(nats, `${this.#name}_`));
    }
    await createStreams(nats, { ...env, ...settings }, { services: this.#services, namespace: this.#namespace() });
    const identities = openIdentities(data, systemRandom);
    // The databases of a Postgres started here are in the data folder, which is locked already.
    if (postgres.pid === undefined && this.#services.includes('identity')) {
      const holder = { folder: data.root, administratorId: identities.administrator.principalId };
      const url = postgres.url(databaseOf(this.#name, 'identity'));
      this.#scope.defer('lock of the databases', await holdDatabases(url, holder));
    }
    return identities;
  }

  /** Guests outlive a compute that crashes. They end with this process, however that ends. */
  async #guardGuests() {
    const { data } = this.#options;
    data.folder('logs');
    const life = await startGuarded({
      command: 'sleep',
      args: ['infinity'],
      cwd: '/',
      output: data.path('logs', 'guests.log'),
      stopSignal: 'TERM',
      graceMs: 1_000,
    });
    const end = async (): Promise<void> => {
      await life.stop();
      await Promise.all(guestFoldersOf(data, this.#hosts.vmHosts).map(({ path }) => endGuests(path, systemClock)));
    };
    this.#scope.defer('guests', end);
    return { guestParentPid: life.pid, endGuests: end };
  }

  #sharedSettings(parts: {
    readonly certificates: Certificates;
    readonly identities: Identities;
    readonly receiver: SpanReceiver;
    readonly addresses: Readonly<Record<ServiceName, string>>;
    readonly guestParentPid: number;
    readonly blockDevices: BlockDevices;
  }): Ground['shared'] {
    const { certificates, identities, receiver, addresses, guestParentPid, blockDevices } = parts;
    const namespace = this.#namespace();
    return {
      ...(namespace === undefined ? {} : { NATS_NAMESPACE: namespace }),
      TLS_CERTIFICATE_FILE: certificates.certificateFile,
      TLS_KEY_FILE: certificates.keyFile,
      TLS_CA_FILE: certificates.authorityFile,
      ...exporterSettings(this.#options.env, receiver.endpoint, this.#options.takeTelemetry !== undefined),
      BOOTSTRAP_FILE: identities.bootstrapFile,
      ...Object.fromEntries(serviceNames.map((service) => [addressVariableOf(service), addresses[service]])),
      ...(this.#replicas === 1 ? {} : { RPC_BALANCING: 'round_robin' }),
      GUEST_PARENT_PID: String(guestParentPid),
      GUEST_IMAGE_FOLDER: guestImageFolder(this.#options.env),
      ...(this.#options.env.NBD_LISTEN === undefined ? blockDevices.settings : {}),
      ...this.#options.testControls?.settings,
      ...this.#options.settings,
    };
  }

  async #startServices(ground: Ground, endOfGuests: () => Promise<void>): Promise<void> {
    const { planned } = ground;
    // Deferred before the start, so that a stop during the start ends the services that run.
    this.#scope.defer('services', async () => {
      for (const service of this.#services.toReversed()) {
        const all = planned.filter((one) => one.service === service);
        await Promise.all(all.map(({ name }) => this.#processes.get(name)?.stop()));
        // When no compute starts guests any more, and while their disks are still served.
        if (service === 'compute') await endOfGuests();
      }
    });
    refuseEnded(this.#scope);
    await allOrFirstFailure(planned.map((one) => this.#startService(ground, one)));
    refuseEnded(this.#scope);
  }

  async #startService(ground: Ground, planned: Planned): Promise<void> {
    const { data, env, entry = entryOf, settingsOf, route } = this.#options;
    const since = performance.now();
    const { service, name, port, own } = planned;
    const isStoreless = planned.entry !== undefined;
    const { principalId, secretFile, masterKeyFile } = ground.identities.workloads[service];
    const from: ProcessTarget = isHostName(name) ? name : service;
    const process = await startService({
      name,
      entry: planned.entry ?? entry(service),
      env: {
        ...env,
        ...(isStoreless ? {} : ground.nats.settingsOf(service)),
        ...ground.shared,
        ...(route === undefined ? {} : routedSettings(route, { from, service }, ground)),
        SERVICE_ADDRESS: `127.0.0.1:${port}`,
        WORKLOAD_ID: principalId,
        WORKLOAD_SECRET_FILE: secretFile,
        ...(isStoreless
          ? {}
          : {
              DATABASE_URL: databaseUrlOf(ground.postgres, from, databaseOf(this.#name, service), route),
              MASTER_KEY_FILE: masterKeyFile,
            }),
        ...(service === 'key-vault' && { CLIENT_ADDRESS_KEY: this.#clientAddressKey }),
        ...own,
        ...(route === undefined || !isHostName(name) ? {} : routedHost(route, name, `localhost:${port}`)),
        ...settingsOf?.(service),
      },
      logFile: data.path('logs', `${name}.log`),
      onCrash: (crash) => this.#onCrash({ ...crash, restart: () => this.#restart(planned) }),
    });
    this.#processes.set(name, process);
    // A stop that started before this process ran did not end it.
    if (this.#scope.signal.aborted) await process.stop();
    this.#report(planned, process.pid, millisecondsSince(since));
  }

  async #restart(planned: Planned): Promise<number> {
    const since = performance.now();
    const process = this.#named(planned.name);
    await process.restart();
    if (this.#scope.signal.aborted) await process.stop();
    this.#report(planned, process.pid, millisecondsSince(since));
    return process.pid;
  }

  #report({ name, port }: Planned, pid: number, how: string): void {
    this.#say(`${name} serves on localhost:${port} (process ${pid}, ${how})`);
  }

  async #serveControl(cloud: LocalCloud) {
    const { data, env, settings } = this.#options;
    const server = await serveControl(controlOf(cloud, this.#services, this.#replicas, hostNamesOf(this.#hosts)), {
      data,
      clock: systemClock,
      say: this.#say,
      testControls: this.#options.testControls,
      describe: () => ({
        databaseUrls: cloud.databaseUrls,
        natsServers: cloud.nats.access.servers,
        guests: guestFoldersOf(data, this.#hosts.vmHosts),
        settings: { ...openSettingsIn(env), ...settings },
      }),
    });
    this.#scope.defer('control', server.close);
    return server;
  }

  #cloud(ground: Ground, { spans, endpoint }: SpanReceiver): LocalCloud {
    const { postgres, nats, addresses, certificates, identities } = ground;
    return {
      addresses,
      databaseUrls: eachService((service) => postgres.url(databaseOf(this.#name, service))),
      authorityFile: certificates.authorityFile,
      administrator: identities.administrator,
      spans,
      spansEndpoint: endpoint,
      clientAddressKey: this.#clientAddressKey,
      postgres,
      nats,
      ...this.#hosts,
      pid: (service, replica) => this.#running(service, replica).pid,
      kill: (service, replica) => this.#running(service, replica).kill(),
      restart: async (service, replica) => {
        const { name } = this.#running(service, replica);
        const planned = ground.planned.find((one) => one.name === name);
        if (planned === undefined) throw new Error(`${name} was not planned in this cloud`);
        await this.#restart(planned);
      },
      pause: (service, replica) => this.#running(service, replica).pause(),
      resume: (service, replica) => this.#running(service, replica).resume(),
      stop: () => this.#scope.close(),
    };
  }

  /** @throws Error for a process that was not started */
  #running(target: ProcessTarget, replica = 0): ServiceProcess {
    return this.#named(isHostName(target) ? target : processNameOf(target, replica));
  }

  #named(name: string): ServiceProcess {
    const found = this.#processes.get(name);
    if (found === undefined) throw new Error(`${name} was not started in this cloud`);
    return found;
  }

  #size(): CloudSize {
    return { services: this.#services, replicas: this.#replicas, ...this.#hosts };
  }

  #namespace(): string | undefined {
    return this.#name === 'interlock' ? undefined : this.#name;
  }
}

const millisecondsSince = (sinceMs: number): string => `${Math.round(performance.now() - sinceMs)} ms`;

/** @throws LauncherError when the cloud was closed while it started */
function refuseEnded({ signal }: Scope): void {
  if (signal.aborted) throw new LauncherError('The cloud was stopped while it started.');
}

/** Waits for all starts before it fails: the stop that follows then finds every process. */
async function allOrFirstFailure(starts: readonly Promise<void>[]): Promise<void> {
  const outcomes = await Promise.allSettled(starts);
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}
