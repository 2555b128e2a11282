import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import type { OpenDisksRequest } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type CloudService, type Credentials, type InProcessCloud, inProcessCloud, workloads } from '@interlock/host';
import type { Recording } from '@interlock/lab/judge/recording/replay';
import type { Definition, RpcClient, Workload } from '@interlock/rpc';
import { type Clock, createScope, logger, type Rate, type Scope } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { assemble as assembleCompute } from '../../services/compute/src/assemble.ts';
import { openLosses } from '../../services/compute/src/losses/losses.ts';
import { assemble as assembleDisk } from '../../services/disk/src/assemble.ts';
import { type LeaseTerms, leaseDefaults } from '../../services/disk/src/host/keys/lease.ts';
import { assemble as assembleSets } from '../../services/disk-encryption-set/src/assemble.ts';
import { assemble as assembleIdentity } from '../../services/identity/src/assemble.ts';
import { assemble as assembleKeyVault } from '../../services/key-vault/src/assemble.ts';
import { type CloudSecrets, makeCloudSecrets } from '../simulation/cloud/deployment.ts';
import { closedGate, type Gate, type GatedDriver, gatedDriver } from './gated-driver.ts';
import { type OpenTarget, realTarget, type Target } from './target.ts';

/** The five services in one process, on real servers or on simulated ones, with guests that the test controls. */
export interface Place {
  readonly cloud: InProcessCloud;
  /** The clock of the services. */
  readonly clock: Clock;
  /** Does work while the time of the services passes. */
  readonly run: Target['run'];
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

/** Starts a place. Its databases and streams are removed with it. @param openTarget by default the servers of the test run */
export const openPlace = async (terms: PlaceTerms = {}, openTarget: OpenTarget = realTarget): Promise<Place> => {
  const scope = createScope();
  try {
    const target = await openTarget(scope);
    return await target.run(() => open(scope, target, { ...calm, ...terms }));
  } catch (error) {
    await scope.close();
    throw error;
  }
};

/** The parts from which services are assembled, the same for every start of a service. */
interface Ground {
  readonly target: Target;
  readonly terms: Required<PlaceTerms>;
  readonly driver: GatedDriver;
  readonly cloudSecrets: CloudSecrets;
  /** Gates of responses of the disk service, by machine. */
  readonly opened: Map<string, ReturnType<typeof closedGate>>;
  /** Changed by `limitVaults`. */
  readonly limits: { vault: Rate | undefined };
}

const open = async (scope: Scope, target: Target, terms: Required<PlaceTerms>): Promise<Place> => {
  const { clock, random, storeOf, bus, outsideDeadlineMs, tokenFormat, link, run } = target;
  const ground = groundOn(target, terms);
  const write = (line: string): void => {
    if (/warn|error/.test(line) && process.env.LOUD) console.log(line.slice(0, 600));
  };
  const cloud = await inProcessCloud({
    services: servicesOn(ground),
    storeOf,
    bus,
    workloadOf: (name) => ground.cloudSecrets.people.workloads[name],
    clock,
    random,
    log: logger({ service: 'test', clock, write }),
    tracer: trace.getTracer('test'),
    issuer,
    ...(outsideDeadlineMs === undefined ? {} : { outsideDeadlineMs }),
    ...(tokenFormat === undefined ? {} : { tokenFormat }),
    linkBetween: () => link,
    authzTtlMs,
    shareTtlMs,
  });
  scope.defer('cloud', () => cloud.close());
  return { ...placeOver(cloud, ground), close: () => run(() => scope.close()) };
};

const placeOver = (
  cloud: InProcessCloud,
  { target, cloudSecrets, driver, opened, limits, terms }: Ground,
): Omit<Place, 'close'> => {
  const { clock, storeOf, run } = target;
  const { administrator } = cloudSecrets.people;
  const { client } = cloud.as(administrator);
  return {
    cloud,
    clock,
    run,
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

const groundOn = (target: Target, terms: Required<PlaceTerms>): Ground => ({
  target,
  terms,
  driver: gatedDriver(),
  cloudSecrets: makeCloudSecrets(target.random),
  opened: new Map(),
  limits: { vault: undefined },
});

const servicesOn = (ground: Ground): Readonly<Record<Workload, CloudService>> => {
  const { target, terms, driver, cloudSecrets, opened, limits } = ground;
  const { files, sealKeys, engine, tokenFormat } = target;
  return {
    identity: (seams) =>
      assembleIdentity({
        ...seams,
        settings: {
          bootstrap: cloudSecrets.bootstrap,
          masterKey: cloudSecrets.masterKeys.identity,
          issuer,
          lifetimes: { userMs: 600_000, managedIdentityMs: authzTtlMs },
          ...(tokenFormat === undefined ? {} : { tokenFormat }),
        },
      }),
    'key-vault': (seams) =>
      assembleKeyVault({
        ...seams,
        settings: {
          masterKeys: { current: cloudSecrets.masterKeys.vault, previous: [] },
          sealKeys,
          engine,
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
          masterKey: cloudSecrets.masterKeys.disk,
          files,
          dataAddress: 'disk.test:1',
          snapshotLimits: { perDiskMax: 10, recentMax: 10, recentMs: 60_000 },
          leases: terms.leases,
          host: { name: 'disk-0', folder: 'volumes', machine: 'this', ttlMs: 30_000 },
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
