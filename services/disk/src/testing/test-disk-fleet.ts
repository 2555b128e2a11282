import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiskDataServiceDefinition, DiskHostServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { type EventStore, memoryStore, StoreUnavailable, type StreamName } from '@interlock/event-store';
import { openTestStore } from '@interlock/event-store/test-database';
import {
  addressOfReplica,
  type CloudService,
  workloads as everyService,
  type InProcessCloud,
  inProcessCloud,
} from '@interlock/host';
import { openTestBus } from '@interlock/messaging/test-bus';
import { CALL_MAX_MS, type Link, type RpcClient, type Workload } from '@interlock/rpc';
import { createScope, logger, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { trace } from '@opentelemetry/api';
import { testIdentity } from '../../../identity/src/testing/test-identity.ts';
import { assemble } from '../assemble.ts';
import { type LeaseTerms, leaseDefaults } from '../host/keys/lease.ts';
import { folderVolumeFiles } from '../host/storage/volume-files.ts';
import { cuttable } from '../host/test-host-storage.ts';
import { assembleControl } from '../routing/assemble-control.ts';
import { callMaxMsOf } from '../settings.ts';
import { type CloudClients, type CloudDisks, cloudDisks, type DiskContent, diskContent } from './test-cloud-disks.ts';
import { clientsOf, servicesOf } from './test-disk-cloud.ts';
import { type HeldCopies, heldCopies } from './test-held-copies.ts';
import { shortened } from './test-short-files.ts';

/** A control process and disk hosts in one process with the real identity, key-vault and sets, on one Postgres and NATS. */
export interface DiskFleet extends CloudClients, CloudDisks, Pick<InProcessCloud, 'close'> {
  readonly log: string[];
  /** Reads and writes at the address that an open named. */
  at(dataAddress: string): DiskContent;
  /** Names of the principals of compute and of the administrator. */
  readonly names: { readonly compute: string; readonly administrator: string };
  /** The caller of each event of a stream. */
  callersOf(stream: StreamName): Promise<readonly string[]>;
  /** The volume id of the last move of a disk. */
  volumeOfMove(name: string): Promise<string>;
  /** The type of each event of a stream. */
  typesOf(stream: StreamName): Promise<readonly string[]>;
  /** The volumes of a host, as another process of disk calls it. */
  volumesAt(host: number): RpcClient<typeof DiskHostServiceDefinition>;
  /** Names of the volume files of a host, without locks. */
  volumeFiles(host: number): Promise<readonly string[]>;
  stopHost(host: number): Promise<void>;
  startHost(host: number): Promise<void>;
  /** Lets the calls to a host wait without a response, until the returned function is called. @param method only calls of this method */
  hang(host: number, method?: string): () => void;
  /** Whether a call to the host waits so. */
  isHung(host: number): boolean;
  /** The copies that a host makes. */
  copiesAt(host: number): Pick<HeldCopies, 'hold' | 'isHeld'>;
  /** Cuts a host off from the store, until the returned function is called. */
  cutStore(host: number): () => void;
}

/** Control is replica 0 of disk, and the host `disk-<n>` is replica n + 1. */
const replicaOf = (host: number) => ({ service: 'disk', replica: host + 1 }) as const;

/** A host of a fleet, and what a test does to it. */
interface HostOver {
  readonly folder: string;
  readonly service: CloudService;
  readonly storeLink: { isCut: boolean };
  readonly copies: HeldCopies;
}

/** A host with a folder of its own. */
const hostOver = async (
  scope: Scope,
  {
    host,
    master,
    leases,
    hostLeaseTtlMs,
  }: Pick<FleetTerms, 'leases' | 'hostLeaseTtlMs'> & {
    readonly host: number;
    readonly master: Uint8Array;
  },
): Promise<HostOver> => {
  const folder = await mkdtemp(join(tmpdir(), `interlock-disk-${host}-`));
  scope.defer('folder', () => rm(folder, { recursive: true }));
  const files = folderVolumeFiles(folder);
  scope.defer('volume files', () => files.close());
  const copies = heldCopies();
  const settings = {
    files: copies.over(shortened(files)),
    isOneOfMany: true,
    dataAddress: addressOfReplica(replicaOf(host)),
    snapshotLimits: { perDiskMax: 5, recentMax: 4, recentMs: 300_000 },
    leases,
    host: { name: `disk-${host}`, folder: `volumes of ${host}`, machine: 'this', ttlMs: hostLeaseTtlMs },
  };
  return {
    folder,
    copies,
    storeLink: { isCut: false },
    service: (seams) =>
      assemble({ ...seams, settings: { ...settings, masterKey: masterKey(Uint8Array.from(master)) } }),
  };
};

/** Times of the leases of a fleet. */
interface FleetTerms {
  readonly leases: LeaseTerms;
  readonly hostLeaseTtlMs: number;
}

/** Starts a control process and so many hosts. Only the first two pieces of a disk can be read and written. */
export const startDiskFleet = async (
  options: { readonly hosts: number; readonly leases?: Partial<LeaseTerms>; readonly hostLeaseTtlMs?: number } = {
    hosts: 2,
  },
): Promise<DiskFleet> => {
  const [clock, random] = [systemClock, systemRandom];
  const leases = { ...leaseDefaults, ...options.leases };
  const { hostLeaseTtlMs = 30_000 } = options;
  const scope = createScope();
  const master = random.bytes(32);
  const numbers = Array.from({ length: options.hosts }, (_, host) => host);
  const hosts = await Promise.all(numbers.map((host) => hostOver(scope, { host, master, leases, hostLeaseTtlMs })));
  const { store } = await openTestStore(scope, 'disk', { clock });
  const bus = await openTestBus(everyService);
  scope.defer('bus', () => bus.close());
  const stores = new Map<Workload, EventStore>([['disk', store]]);
  const identity = testIdentity(random);
  const log: string[] = [];
  const hung = new Map<number, Hung>();
  const settings = { hostLeaseTtlMs, callMaxMs: callMaxMsOf(leases) };
  const link: (replica: number) => Link = (replica) => (carry) => ({
    ...carry,
    once: async (...call) => {
      const waiting = hung.get(replica);
      if (waiting !== undefined && call[0].path.endsWith(waiting.method)) {
        waiting.callCount += 1;
        await untilAbort(waiting.until, call[2].signal);
      }
      return carry.once(...call);
    },
  });
  const cloud = await inProcessCloud({
    services: {
      ...servicesOf(identity),
      disk: (seams) => assembleControl({ ...seams, settings }),
    },
    storeOf: (service) => {
      const found = stores.get(service) ?? memoryStore({ clock });
      stores.set(service, found);
      return found;
    },
    workloadOf: (service) => identity.workloads[service],
    ownSeams: ({ service, replica }) => {
      const host = service === 'disk' ? hosts[replica - 1] : undefined;
      return host === undefined
        ? {}
        : { assemble: host.service, store: cuttable(store, host.storeLink, () => new StoreUnavailable('cut off')) };
    },
    linkBetween: (_from, { service, replica }) => (service === 'disk' ? link(replica) : (carry) => carry),
    ...{ bus, clock, random, issuer: identity.issuer },
    log: logger({ service: 'test', clock, write: (line) => log.push(line) }),
    tracer: trace.getTracer('test'),
    outsideDeadlineMs: CALL_MAX_MS,
  });
  scope.defer('cloud', () => cloud.close());
  for (const host of numbers) await cloud.start('disk', replicaOf(host).replica);
  const clients = clientsOf(cloud, identity);
  const outside = cloud.as(identity.administrator);
  return {
    ...{ log, ...clients, ...cloudDisks(clients, identity.administrator.name) },
    at: (address) => diskContent(outside.connectTo('disk', address).client(DiskDataServiceDefinition)),
    volumesAt: (host) =>
      cloud
        .as(identity.workloads.disk)
        .connectTo('disk', addressOfReplica(replicaOf(host)))
        .client(DiskHostServiceDefinition),
    names: { compute: `principals/${identity.workloads.compute.id}`, administrator: identity.administrator.name },
    volumeOfMove: async (name) => {
      const moves = (await store.read(`disk-${name}`)).filter(({ type }) => type === 'VolumeMoving');
      return String(Object(moves.at(-1)?.data).volumeId);
    },
    typesOf: async (stream) => (await store.read(stream)).map(({ type }) => type),
    callersOf: async (stream) => (await store.read(stream)).map(({ cause }) => cause.caller),
    volumeFiles: async (host) => (await readdir(hosts[host]?.folder ?? '')).toSorted(),
    stopHost: (host) => cloud.stop('disk', replicaOf(host).replica),
    copiesAt: (host) => hosts[host]?.copies ?? assert.fail(`no host ${host}`),
    startHost: (host) => cloud.start('disk', replicaOf(host).replica),
    ...disturbances(hosts, hung),
    close: () => scope.close(),
  };
};

/** What calls of one method wait for, or of every method. */
interface Hung {
  readonly method: string;
  readonly until: Promise<void>;
  callCount: number;
}

/** @param hung by replica: what its calls wait for */
const disturbances = (
  hosts: readonly { readonly storeLink: { isCut: boolean } }[],
  hung: Map<number, Hung>,
): Pick<DiskFleet, 'hang' | 'isHung' | 'cutStore'> => ({
  hang(host, method = '') {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { replica } = replicaOf(host);
    hung.set(replica, { method, until: promise, callCount: 0 });
    return () => {
      hung.delete(replica);
      resolve();
    };
  },
  isHung: (host) => (hung.get(replicaOf(host).replica)?.callCount ?? 0) > 0,
  cutStore(host) {
    const { storeLink } = hosts[host] ?? assert.fail(`no host ${host}`);
    storeLink.isCut = true;
    return () => {
      storeLink.isCut = false;
    };
  },
});

/** Waits for something, but not longer than the caller. */
const untilAbort = async (awaited: Promise<void>, signal: AbortSignal | undefined): Promise<void> => {
  const { promise, reject } = Promise.withResolvers<never>();
  signal?.addEventListener('abort', () => reject(new Error('the caller has gone')));
  await Promise.race([awaited, promise]);
};
