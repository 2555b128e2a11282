import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { type EventStore, type MemoryStore, memoryStore, type StoreImage } from '@interlock/event-store';
import { type InProcessCloud, inProcessCloud, type Peers, type Replica, workloads } from '@interlock/host';
import { type MemoryBus, memoryBus, subjectOf } from '@interlock/messaging';
import type { Workload } from '@interlock/rpc';
import { logger, type SeededRandom, seededRandom, type VirtualClock, virtualClock } from '@interlock/runtime';
import type { SlotMac } from '../../../services/disk/src/host/header/disk-header-format.ts';
import { platformKey } from '../../../services/disk/src/host/keys/platform-key.ts';
import type { MemoryVolumeFiles, VolumesImage } from '../../../services/disk/src/host/storage/volume-files.ts';
import { createMemorySealKeyStore } from '../../../services/key-vault/src/sealing/seal-key-store.ts';
import { createCopyPace } from '../faults/copy-pace.ts';
import { FaultControl } from '../faults/fault-control.ts';
import { type FaultRates, noCallFaults, noStoreFaults } from '../faults/fault-rates.ts';
import { installForgetfulSignals } from '../faults/forgetful-signals.ts';
import { linkBetween, type Throttling } from '../faults/network.ts';
import { openStorageRecord, type StorageRecord } from '../faults/storage-record.ts';
import { CipherWatch } from '../truth/cipher-watch.ts';
import { observedLink, type Responded } from '../truth/responses.ts';
import {
  type CloudSecrets,
  createDeployment,
  issuer,
  makeCloudSecrets,
  type People,
  type SimulatedSettings,
  simulatedSettings,
} from './deployment.ts';
import { openDiskHosts, type SimulatedHost } from './disk-hosts.ts';
import { type Committed, observedStore } from './observed-store.ts';
import { createCuts, isVmHost, nameOf, type Part, partOf } from './parts.ts';
import { firstMachine, Processes } from './processes.ts';
import type { SimulatedSpan } from './recorded-span.ts';
import { worldTracing } from './tracing.ts';
import { openGuests, type SimulatedGuests, type SimulatedVmHost } from './vm-hosts.ts';

export type { Committed } from './observed-store.ts';

/** The parts of a cloud that outlive its processes, and its foundation: the start of another world. */
export interface CloudImage {
  readonly cloudSecrets: CloudSecrets;
  readonly stores: ReadonlyMap<Workload, StoreImage>;
  /** Of each disk host. */
  readonly volumes: readonly VolumesImage[];
  readonly sealKeys: ReadonlyMap<string, Uint8Array>;
}

export interface SimulatedCloudOptions {
  /** The seed of everything: the same seed (and image) gives the same history. */
  readonly seed: number;
  readonly settings?: Partial<SimulatedSettings>;
  /** Processes with volumes beside a control process of disk; 0, the default: one process of disk has all volumes. */
  readonly diskHosts?: number;
  /** VM hosts, processes of compute that run its guests; 0, the default: compute runs them itself. */
  readonly vmHosts?: number;
  /** The initial content of storage. Its processes have ended, and the bus is empty. Default: an empty cloud. */
  readonly image?: CloudImage;
  /** Wall clock at the start of the world, in milliseconds since the Unix epoch. */
  readonly startMs?: number;
  /** See `worldTracing`. */
  readonly firstSpan?: number;
  /** Receives every span when it ends, with virtual times. Default: spans are not recorded. */
  readonly recordSpan?: (span: SimulatedSpan) => void;
  /** See `Network`. Default false. */
  readonly refusesForEnded?: boolean;
}

/** The whole cloud in one process, in virtual time, from one seed. */
export interface SimulatedCloud {
  readonly seed: number;
  readonly settings: SimulatedSettings;
  /** The content of storage at its start; undefined: none. */
  readonly begunWith: CloudImage | undefined;
  /** True time, for callers outside and for the verdict. Services with a skewed clock read another time. */
  readonly clock: VirtualClock;
  /** Wall clock of a service's machine with its offset; its drift comes on top. */
  clockOf(service: Workload): number;
  /** Random numbers for actions on the cloud; draws of the cloud itself do not shift them. */
  readonly random: SeededRandom;
  readonly people: People;
  readonly faults: FaultControl;
  /** Clients of the services for a principal with a secret. */
  as(principal: { readonly id: string; readonly secret: string }): Pick<Peers, 'client' | 'connectTo'>;
  /** The record of a service without faults in between: for the eyes of a verdict, not for the hands of an action. */
  storeOf(service: Workload): EventStore;
  readonly bus: MemoryBus;
  /** The processes with volumes: one of disk itself, or the disk hosts. */
  readonly diskHosts: readonly SimulatedHost[];
  /** Whether a control process of disk passes calls on to the disk hosts. */
  readonly hasControl: boolean;
  /** The volumes of a host, by its unique name. */
  volumesOf(host: string): MemoryVolumeFiles;
  /** The MAC with which the disk service authenticates the headers of a volume, for a fault that has its master key. */
  slotMac(volumeId: string): SlotMac;
  /** What the storage of volumes failed to do. */
  readonly storage: StorageRecord;
  readonly guests: SimulatedGuests;
  /** The processes that run guests for compute; empty: compute runs them. */
  readonly vmHosts: readonly SimulatedVmHost[];
  /** Unique names of the disk hosts that have the data key of an open disk in memory. */
  cipherHolders(disk: string): readonly string[];
  /** Calls the listener for every commit, at the moment when it is stored. */
  onCommit(listener: (committed: Committed) => void): void;
  /** Calls the listener with every response that reached its caller. */
  onResponse(listener: (responded: Responded) => void): void;
  /** Calls the listener whenever a service uses a server that it is cut off from. */
  onBlocked(listener: BlockedListener): void;
  /** Lines of the history: faults, and the texts of `note`. `<seconds> <line>` */
  readonly log: readonly string[];
  note(line: string): void;
  /** Lines of the services' own logs, in JSON. */
  readonly serviceLog: readonly string[];
  /** Does the work while virtual time passes as far as it has to. */
  run<Result>(work: () => Promise<Result>): Promise<Result>;
  /** The content of storage now. No write may be in progress. */
  image(): Promise<CloudImage>;
  /** Ends the world at once: nothing of it continues. */
  close(): void;
}

/** Receives a service, and the server from which it is cut off. */
type BlockedListener = (service: Workload, server: 'bus' | 'store') => void;

/** Time between two looks at the VM hosts that register, in milliseconds. */
const registeringMs = 100;
/** Longest history, in virtual time. */
const LIMIT_MS = 24 * 3_600_000;
/** No wait here is real, and one turn of the event loop takes as long as the work after most jumps of the clock. */
const jumpsATurn = 32;
/** Partitions of every service's facts. */
export const PARTITIONS = 1;

/** Storage, bus and network of a world, with their faults. The services run on these. */
const openSeams = (options: SimulatedCloudOptions, settings: SimulatedSettings) => {
  const { image } = options;
  const clock = virtualClock(options.startMs, jumpsATurn);
  const { recordSpan } = options;
  const tracing = worldTracing(
    options.firstSpan,
    recordSpan && { nowMs: inOrder(() => clock.now()), ended: recordSpan },
  );
  const chance = seededRandom(options.seed);
  const commitListeners: ((committed: Committed) => void)[] = [];
  const stores = new Map(
    workloads.map((service) => {
      const tracer = tracing.tracerOf(service);
      return [
        service,
        memoryStore({ clock, tracer, ...(image === undefined ? {} : { image: imageOf(image, service) }) }),
      ];
    }),
  );
  const bus = memoryBus({ clock, random: chance.fork('bus') });
  const copies = createCopyPace(clock, chance.fork('copies'));
  commitListeners.push(({ service, events }) => {
    if (service === 'disk') for (const event of events) copies.apply(event);
  });
  const { diskHosts: hostCount = 0 } = options;
  const diskHosts = openDiskHosts(hostCount, chance.fork('volumes'), image?.volumes);
  const volumesOf = (host: string): MemoryVolumeFiles => {
    const found = diskHosts.find(({ name }) => name === host);
    if (!found) throw new Error(`${host} is no disk host of this world`);
    return found.volumes;
  };
  const rates: FaultRates = {
    calls: noCallFaults(),
    stores: noStoreFaults(),
    volumes: (diskHosts[0] ?? unreachable()).rates,
    bus: bus.faults,
  };
  const ownChance = chance.fork('deployment');
  const cloudSecrets = image?.cloudSecrets ?? makeCloudSecrets(ownChance);
  return {
    settings,
    clock,
    chance,
    tracing,
    tracer: tracing.tracerOf('outside'),
    tracerOf: tracing.tracerOf,
    commitListeners,
    responseListeners: [] as ((responded: Responded) => void)[],
    blockedListeners: [] as BlockedListener[],
    /** Lines of the services' own logs. */
    serviceLog: [] as string[],
    storeOf: (service: Workload, by?: Replica): MemoryStore => {
      const store = stores.get(service);
      if (!store) throw new Error(`${service} is no service`);
      return observedStore({ service, by }, store, commitListeners);
    },
    bus,
    copies,
    rates,
    cuts: createCuts(),
    slow: new Map<Part, number>(),
    throttled: new Map<Part, Throttling>(),
    diskHosts,
    hasControl: hostCount > 0,
    volumesOf,
    storage: openStorageRecord(clock.monotonicMs),
    sealKeys: createMemorySealKeyStore(),
    ...openGuests(clock, options.vmHosts ?? 0),
    ciphers: new CipherWatch(),
    cloudSecrets,
    deployment: createDeployment(cloudSecrets, ownChance.fork('tokens'), settings),
  };
};

/** Readings of one virtual millisecond, each a microsecond later, so that what starts later has a later time. */
const inOrder = (now: () => number): (() => number) => {
  let last = 0;
  let micros = 0;
  return () => {
    const ms = now();
    micros = ms === last ? Math.min(micros + 1, 999) : 0;
    last = ms;
    return ms + micros / 1_000;
  };
};

type Seams = ReturnType<typeof openSeams>;

const processesOver = (seams: Seams): Processes =>
  new Processes({
    ...seams,
    random: seams.chance.fork('processes'),
    driver: seams.own,
    servicesOver: seams.deployment.services,
    write: (line) => seams.serviceLog.push(line),
    onBlocked: (...blocked) => {
      for (const listener of seams.blockedListeners) listener(...blocked);
    },
  });

const startServices = (
  seams: Seams,
  processes: Processes,
  { refusesForEnded = false }: SimulatedCloudOptions,
): Promise<InProcessCloud> => {
  const { settings, clock, chance, deployment, rates, responseListeners } = seams;
  const network = { ...seams, random: chance.fork('network'), faults: rates.calls, refusesForEnded };
  const choice = chance.fork('replicas');
  const endOf = (replica: Replica | 'outside') =>
    replica === 'outside'
      ? { part: replica, gate: undefined }
      : { part: partOf(replica), gate: processes.gateOf(replica) };
  return inProcessCloud({
    ...seams,
    services: deployment.services({ ...seams, machine: firstMachine, diskHost: undefined, driver: seams.own }),
    workloadOf: (service) => deployment.people.workloads[service],
    random: chance.fork('outside'),
    log: logger({ service: 'outside', clock, write: (line) => seams.serviceLog.push(line) }),
    issuer,
    tokenFormat: deployment.tokenFormat,
    authzTtlMs: settings.authzTtlMs,
    partitionCount: PARTITIONS,
    isEncoded: false,
    watermarkMs: settings.watermarkMs,
    silenceMs: settings.silenceMs,
    shareTtlMs: settings.shareTtlMs,
    ownSeams: (replica) => processes.begin(replica),
    linkBetween: (from, to) =>
      observedLink(
        linkBetween(network, endOf(from), endOf(to)),
        { service: to.service, caller: from === 'outside' ? undefined : from },
        clock.monotonicMs,
        responseListeners,
      ),
    chooseReplica: (running) => choice.pick(running),
    // Disk hosts and VM hosts are called by their address.
    isCalledByService: (replica) => !isVmHost(replica) && (replica.service !== 'disk' || replica.replica === 0),
  });
};

/** Starts the cloud, and the disk hosts and VM hosts beside it. */
const startCloud = async (
  seams: Seams,
  processes: Processes,
  options: SimulatedCloudOptions,
): Promise<InProcessCloud> => {
  const cloud = await startServices(seams, processes, options);
  for (const { replica } of seams.hasControl ? seams.diskHosts : []) await cloud.start('disk', replica.replica);
  for (const { replica } of seams.vmHosts) await cloud.start('compute', replica.replica);
  if (seams.vmHosts.length > 0) await untilRegistered(seams, cloud);
  return cloud;
};

/** Waits until compute may start machines at every VM host. */
const untilRegistered = async ({ clock, vmHosts, deployment }: Seams, cloud: InProcessCloud): Promise<void> => {
  const compute = cloud.as(deployment.people.administrator).client('compute', ComputeServiceDefinition);
  const isServing = async (): Promise<boolean> =>
    (await compute.listVmHosts({})).vmHosts.filter(({ liveness }) => liveness === 'SERVING').length === vmHosts.length;
  while (!(await isServing())) await clock.sleep(registeringMs);
};

const imageOfWorld = async ({ sealKeys, cloudSecrets, storeOf, diskHosts }: Seams): Promise<CloudImage> => {
  const records = new Map<string, Uint8Array>();
  for (const id of await sealKeys.ids()) {
    const found = await sealKeys.read(id);
    if (found.status === 'present') records.set(id, found.record);
  }
  return {
    cloudSecrets,
    stores: new Map(workloads.map((service) => [service, storeOf(service).image()])),
    volumes: diskHosts.map(({ volumes }) => volumes.image()),
    sealKeys: records,
  };
};

/**
 * Creates a cloud of all five services over simulated seams, and runs until they serve. One world at a time, because it
 * uses the tracing of the process.
 */
export const createSimulatedCloud = async (options: SimulatedCloudOptions): Promise<SimulatedCloud> => {
  installForgetfulSignals();
  const seams = openSeams(options, { ...simulatedSettings, ...options.settings });
  const { clock, chance, ciphers, diskHosts, commitListeners, responseListeners, blockedListeners } = seams;
  for (const [id, record] of options.image?.sealKeys ?? []) await seams.sealKeys.create(id, record);
  const processes = processesOver(seams);
  const cloud = await clock.drive(startCloud(seams, processes, options));
  const log: string[] = [];
  const note = (line: string): void => {
    log.push(`${(clock.monotonicMs() / 1_000).toFixed(3)} ${line}`);
  };
  const faults = new FaultControl({
    ...seams,
    cloud,
    processes,
    services: workloads,
    subjectsOf: (service) => Array.from({ length: PARTITIONS }, (_, partition) => subjectOf(service, partition)),
    loseMemory: (replica) => {
      const host = diskHosts.find((one) => nameOf(one.replica) === nameOf(replica));
      host?.volumes.crash();
      if (host) ciphers.forget(host.name);
    },
    log: note,
  });
  return {
    ...seams,
    seed: options.seed,
    begunWith: options.image,
    clockOf: (service) => Math.floor(clock.now() + processes.skewOf({ service, replica: 0 }).offsetMs),
    random: chance.fork('history'),
    people: seams.deployment.people,
    faults,
    as: (principal) => cloud.as(principal),
    slotMac: platformKey(seams.cloudSecrets.masterKeys.disk, chance.fork('headers')).slotMac,
    cipherHolders: (disk) => ciphers.holders(disk),
    onCommit: (listener) => {
      commitListeners.push(listener);
    },
    onResponse: (listener) => {
      responseListeners.push(listener);
    },
    onBlocked: (listener) => {
      blockedListeners.push(listener);
    },
    log,
    note,
    run: (work) => clock.drive(work(), LIMIT_MS),
    image: () => imageOfWorld(seams),
    close() {
      seams.tracing.close();
      for (const service of workloads) {
        for (const replica of cloud.running(service)) {
          processes.kill({ service, replica });
          cloud.crash(service, replica);
        }
      }
    },
  };
};

const unreachable = (): never => {
  throw new Error('a world has a disk host');
};

const imageOf = ({ stores }: CloudImage, service: Workload): StoreImage => {
  const found = stores.get(service);
  if (!found) throw new Error(`the image has no store of ${service}`);
  return found;
};
