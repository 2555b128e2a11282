import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import type { OpenDisksRequest } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type EventStore, openPostgresStore } from '@interlock/event-store';
import { createTestDatabase } from '@interlock/event-store/test-database';
import { type CloudService, type Credentials, type InProcessCloud, inProcessCloud, workloads } from '@interlock/host';
import type { Recording } from '@interlock/lab/judge/recording/replay';
import type { Bus } from '@interlock/messaging';
import { openTestBus } from '@interlock/messaging/test-bus';
import type { Definition, RpcClient, Workload } from '@interlock/rpc';
import { createScope, logger, type Rate, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { assemble as assembleCompute } from '../../services/compute/src/assemble.ts';
import { openLosses } from '../../services/compute/src/losses/losses.ts';
import { assemble as assembleDisk } from '../../services/disk/src/assemble.ts';
import { type LeaseTerms, leaseDefaults } from '../../services/disk/src/host/keys/lease.ts';
import { folderVolumeFiles, type VolumeFiles } from '../../services/disk/src/host/storage/volume-files.ts';
import { assemble as assembleSets } from '../../services/disk-encryption-set/src/assemble.ts';
import { assemble as assembleIdentity } from '../../services/identity/src/assemble.ts';
import { assemble as assembleKeyVault } from '../../services/key-vault/src/assemble.ts';
import { createRsaPool } from '../../services/key-vault/src/rsa/pool.ts';
import { openFileSealKeyStore } from '../../services/key-vault/src/sealing/file-seal-key-store.ts';
import { type Founding, foundCloud } from '../simulation/cloud/deployment.ts';
import { closedGate, type Gate, type GatedDriver, gatedDriver } from './gated-driver.ts';

/** The five services in one process, over real Postgres, NATS, RSA and files, with guests that the test controls. */
export interface Place {
  readonly cloud: InProcessCloud;
  readonly driver: GatedDriver;
  /** `principals/<uuid>` of the administrator, as whom the clients call. */
  readonly administrator: string;
  /** Its secret. */
  readonly credentials: Credentials;
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  readonly keyVault: RpcClient<typeof KeyVaultServiceDefinition>;
  readonly sets: RpcClient<typeof DiskEncryptionSetServiceDefinition>;
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  readonly data: RpcClient<typeof DiskDataServiceDefinition>;
  readonly compute: RpcClient<typeof ComputeServiceDefinition>;
  /** Holds the response of the disk service once it has opened this number of the machine's disks. */
  holdOpened(vm: string, disksCount: number): Gate;
  /** Restarts key-vault with a rate limit for each vault's keys; `undefined`: none. */
  limitVaults(vault: Rate | undefined): Promise<void>;
  /**
   * Number of the newest loss of a key version that compute has received; 0 for none. Machines also stop by reports of
   * disk hosts, which may arrive before the set has published the loss.
   */
  receivedLoss(key: { readonly set: string; readonly keyVersion: string }): Promise<number>;
  /** Everything that the services stored, for the oracle. */
  recording(): Promise<Recording>;
  close(): Promise<void>;
}

/** With this key a gateway of the place proves the addresses of its clients. */
export const clientAddressKey = 'shared by the gateway and key-vault of a place';

/** Options of a place. */
export interface PlaceTerms {
  readonly leases?: LeaseTerms;
  readonly startTimeoutMs?: number;
}

/** No lease ends within a test, and no start times out. */
const calm: Required<PlaceTerms> = { leases: leaseDefaults, startTimeoutMs: 60_000 };

/** The subscription of all resources. */
export const subscription = 'subscriptions/s1';

const issuer = 'https://identity.test';

/** Starts a place on the servers of `DATABASE_URL` and `NATS_URL`. Its databases and streams are removed with it. */
export const openPlace = async (terms: PlaceTerms = {}): Promise<Place> => {
  const scope = createScope();
  try {
    return await open(scope, { ...calm, ...terms });
  } catch (error) {
    await scope.close();
    throw error;
  }
};

/** The parts from which services are assembled, the same for every start of a service. */
interface Ground {
  readonly folder: string;
  readonly terms: Required<PlaceTerms>;
  readonly driver: GatedDriver;
  readonly files: VolumeFiles;
  readonly founding: Founding;
  /** Gates of responses of the disk service, by machine. */
  readonly opened: Map<string, ReturnType<typeof closedGate>>;
  /** Changed by `limitVaults`. */
  readonly limits: { vault: Rate | undefined };
}

const open = async (scope: Scope, terms: Required<PlaceTerms>): Promise<Place> => {
  const [clock, random] = [systemClock, systemRandom];
  const stores = await openStores(scope);
  const storeOf = (name: Workload): EventStore => stores.get(name) ?? failed(`${name} has no store`);
  const bus = await openBus(scope);
  const ground = await openGround(scope, terms);
  const write = (line: string): void => {
    if (/warn|error/.test(line) && process.env.LOUD) console.log(line.slice(0, 600));
  };
  const cloud = await inProcessCloud({
    services: servicesOn(ground),
    storeOf,
    bus,
    workloadOf: (name) => ground.founding.people.workloads[name],
    clock,
    random,
    log: logger({ service: 'test', clock, write }),
    tracer: trace.getTracer('test'),
    issuer,
    authzTtlMs,
    shareTtlMs,
  });
  scope.defer('cloud', () => cloud.close());
  return { ...placeOver(cloud, ground, storeOf), close: () => scope.close() };
};

const placeOver = (
  cloud: InProcessCloud,
  { founding, driver, opened, limits, terms }: Ground,
  storeOf: (name: Workload) => EventStore,
): Omit<Place, 'close'> => {
  const { administrator } = founding.people;
  const { client } = cloud.as(administrator);
  return {
    cloud,
    driver,
    administrator: administrator.name,
    credentials: administrator,
    identity: client('identity', IdentityServiceDefinition),
    keyVault: client('key-vault', KeyVaultServiceDefinition),
    sets: client('disk-encryption-set', DiskEncryptionSetServiceDefinition),
    disks: client('disk', DiskServiceDefinition),
    data: client('disk', DiskDataServiceDefinition),
    compute: client('compute', ComputeServiceDefinition),
    holdOpened(vm, disksCount) {
      const gate = closedGate(disksCount);
      opened.set(vm, gate);
      return gate;
    },
    async limitVaults(vault) {
      limits.vault = vault;
      await cloud.stop('key-vault');
      await cloud.start('key-vault');
    },
    async receivedLoss({ set, keyVersion }) {
      const losses = await openLosses(storeOf('compute')).of(set, keyVersion);
      return Math.max(0, ...losses.map(({ accessEpoch }) => accessEpoch));
    },
    async recording() {
      const feeds = workloads.map(async (service) => [service, await storeOf(service).feed(0, 1_000_000)] as const);
      const { leases } = terms;
      return {
        events: Object.fromEntries(await Promise.all(feeds)),
        terms: { authzTtlMs, leases, sweepIntervalMs, guestStopTimeoutMs },
        slackMs,
      };
    },
  };
};

const openGround = async (scope: Scope, terms: Required<PlaceTerms>): Promise<Ground> => {
  const folder = await mkdtemp(join(tmpdir(), 'interlock-truth-'));
  scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
  const volumes = join(folder, 'volumes');
  const files = folderVolumeFiles(volumes);
  scope.defer('volume files', () => files.close());
  await mkdir(volumes);
  return {
    folder,
    terms,
    files,
    driver: gatedDriver(),
    founding: foundCloud(systemRandom),
    opened: new Map(),
    limits: { vault: undefined },
  };
};

const servicesOn = (ground: Ground): Readonly<Record<Workload, CloudService>> => {
  const { folder, terms, driver, files, founding, opened, limits } = ground;
  return {
    identity: (seams) =>
      assembleIdentity({
        ...seams,
        settings: {
          bootstrap: founding.bootstrap,
          masterKey: founding.masterKeys.identity,
          issuer,
          lifetimes: { userMs: 600_000, managedIdentityMs: authzTtlMs },
        },
      }),
    'key-vault': async (seams) =>
      assembleKeyVault({
        ...seams,
        settings: {
          masterKeys: { current: founding.masterKeys.vault, previous: [] },
          sealKeys: await openFileSealKeyStore(join(folder, 'seal-keys'), systemRandom),
          engine: (sealing) => createRsaPool({ sealing, workers: 1 }),
          vaultUriSuffix: 'vault.test',
          purgeProtectionDefault: false,
          retentionDayMs: 86_400_000,
          clientAddressKey,
          rateLimits: { vault: limits.vault },
        },
      }),
    'disk-encryption-set': (seams) => assembleSets({ ...seams, settings: setSettings }),
    disk: (seams) =>
      assembleDisk({
        ...seams,
        settings: {
          masterKey: founding.masterKeys.disk,
          files,
          dataAddress: 'disk.test:1',
          snapshotLimits: { perDiskMax: 10, recentMax: 10, recentMs: 60_000 },
          leases: terms.leases,
          host: { folder: 'volumes', machine: 'this', ttlMs: 30_000 },
        },
      }),
    compute: (seams) =>
      assembleCompute({
        ...seams,
        client: (service, definition, requested) => holding(seams.client(service, definition, requested), opened),
        settings: {
          driver,
          startTimeoutMs: terms.startTimeoutMs,
          guestStopTimeoutMs,
          leaseTtlMs: terms.leases.ttlMs,
          sweepIntervalMs,
          dataDisksMax: 8,
          // Each held response takes a slot; no other call waits for it.
          diskCallsMax: 256,
        },
      }),
  };
};

const setSettings = {
  // A purge is one of the causes.
  requirePurgeProtection: false,
  setsPerRegionMax: 100,
  upkeep: {
    watchdogMs: 500,
    rotationRetryMs: 1_000,
    rotationCheckIntervalMs: 60_000,
    rotation: { concurrency: 4, pageSize: 100 },
  },
} as const;

/** Machines here stop because of events; the sweep must not interfere. In milliseconds. */
const sweepIntervalMs = 3_600_000;

const guestStopTimeoutMs = 60_000;

/** What gates may add to every time, in milliseconds: a machine may wait at one for a whole cause. */
const slackMs = 120_000;

/** How long decisions of identity are cached, and how long tokens of managed identities live, in milliseconds. */
const authzTtlMs = 500;

/**
 * How long after its last renewal the one replica of a service loses its work partitions, in milliseconds: longer than a busy
 * machine stalls. A replica that loses the partition of a machine at a gate repeats its step, and then needs a key that is lost.
 */
const shareTtlMs = 60_000;

const failed = (message: string): never => {
  throw new Error(message);
};

/** The call by which compute opens the disks of one or several machines. */
const openingCall = 'openDisks' satisfies keyof RpcClient<typeof DiskServiceDefinition>;

/** The client of the disk service, with responses that concern held machines delayed. Other clients are unchanged. */
const holding = <D extends Definition>(
  client: RpcClient<D>,
  gates: ReadonlyMap<string, ReturnType<typeof closedGate>>,
): RpcClient<D> =>
  new Proxy(client, {
    get(target, name) {
      const method = Reflect.get(target, name);
      if (name !== openingCall || typeof method !== 'function') return method;
      return async (request: OpenDisksRequest, ...rest: unknown[]) => {
        const answer = await Reflect.apply(method, target, [request, ...rest]);
        await Promise.all(request.items.map(({ open }) => gates.get(open?.virtualMachine ?? '')?.pass()));
        return answer;
      };
    },
  });

const openStores = async (scope: Scope): Promise<ReadonlyMap<Workload, EventStore>> => {
  const stores = new Map<Workload, EventStore>();
  for (const service of workloads) {
    const database = await createTestDatabase();
    scope.defer(`database of ${service}`, () => database.drop());
    const settings = { url: database.url, clock: systemClock, random: systemRandom, maxConnections: 4 };
    const store = await openPostgresStore(settings);
    scope.defer(`store of ${service}`, () => store.close());
    stores.set(service, store);
  }
  return stores;
};

const openBus = async (scope: Scope): Promise<Bus> => {
  const bus = await openTestBus(workloads);
  scope.defer('bus', () => bus.close());
  return bus;
};
