import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type EventStore, memoryStore } from '@interlock/event-store';
import { openTestStore, type TestDatabase } from '@interlock/event-store/test-database';
import { type CloudService, workloads as everyService, type InProcessCloud, inProcessCloud } from '@interlock/host';
import { openTestBus } from '@interlock/messaging/test-bus';
import { CALL_MAX_MS, type RpcClient, type Workload } from '@interlock/rpc';
import { createScope, logger, systemClock, systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { trace } from '@opentelemetry/api';
import { assemble as assembleSets } from '../../../disk-encryption-set/src/assemble.ts';
import { type TestIdentity, testIdentity } from '../../../identity/src/testing/test-identity.ts';
import { assemble as assembleKeyVault } from '../../../key-vault/src/assemble.ts';
import { testVaultSettings } from '../../../key-vault/src/testing/test-key-vault.ts';
import { assemble } from '../assemble.ts';
import { leaseDefaults } from '../host/keys/lease.ts';
import { folderVolumeFiles, type VolumeFiles } from '../host/storage/volume-files.ts';
import { type CloudClients, type CloudDisks, cloudDisks, type DiskContent, diskContent } from './test-cloud-disks.ts';
import { shortened } from './test-short-files.ts';

/** The disk service in one process with the real identity, key-vault and sets; the disk service is on real Postgres and NATS. */
export interface DiskCloud
  extends CloudClients,
    CloudDisks,
    DiskContent,
    Pick<InProcessCloud, 'stop' | 'start' | 'close'> {
  readonly store: EventStore;
  readonly database: TestDatabase;
  readonly log: string[];
  readonly folder: string;
  /** A token for the vault of the administrator, who owns every key. */
  ownerToken(): Promise<string>;
  /** A client that calls as this user. */
  userAs(user: { readonly id: string; readonly secret: string }): RpcClient<typeof DiskServiceDefinition>;
  /** Volume files of disks and snapshots, without locks. */
  volumeFiles(): Promise<readonly string[]>;
  restartDisk(): Promise<void>;
}

/** Starts the cloud. @param options `hasShortFiles`: only the first two pieces of a disk can be read and written */
export const startDiskCloud = async (options: { readonly hasShortFiles?: boolean } = {}): Promise<DiskCloud> => {
  const [clock, random] = [systemClock, systemRandom];
  const scope = createScope();
  const folder = await mkdtemp(join(tmpdir(), 'interlock-disk-'));
  scope.defer('folder', () => rm(folder, { recursive: true }));
  const files = folderVolumeFiles(folder);
  scope.defer('volume files', () => files.close());
  const { database, store } = await openTestStore(scope, 'disk', { clock });
  const bus = await openTestBus(everyService);
  scope.defer('bus', () => bus.close());
  const stores = new Map<Workload, EventStore>([['disk', store]]);
  const identity = testIdentity(random);
  const log: string[] = [];
  const cloud = await inProcessCloud({
    services: { ...servicesOf(identity), disk: diskOver(options.hasShortFiles ? shortened(files) : files) },
    storeOf: (service) => {
      const found = stores.get(service) ?? memoryStore({ clock });
      stores.set(service, found);
      return found;
    },
    workloadOf: (service) => identity.workloads[service],
    ...{ bus, clock, random, issuer: identity.issuer },
    log: logger({ service: 'test', clock, write: (line) => log.push(line) }),
    tracer: trace.getTracer('test'),
    outsideDeadlineMs: CALL_MAX_MS,
  });
  scope.defer('cloud', () => cloud.close());
  const clients = clientsOf(cloud, identity);
  return {
    ...{ store, database, log, folder, ...clients },
    ...cloudDisks(clients, identity.administrator.name),
    ...diskContent(clients.data),
    async ownerToken() {
      const { id: clientId, secret: clientSecret } = identity.administrator;
      const audience = 'interlock:key-vault';
      return (await clients.identity.issueToken({ clientId, clientSecret, audience })).accessToken;
    },
    userAs: (user) => cloud.as(user).client('disk', DiskServiceDefinition),
    volumeFiles: async () => (await readdir(folder)).sort(),
    stop: (service) => cloud.stop(service),
    start: (service) => cloud.start(service),
    async restartDisk() {
      await cloud.stop('disk');
      await cloud.start('disk');
    },
    close: () => scope.close(),
  };
};

/** The services except disk, over settings that outlive a restart of each. */
export const servicesOf = (identity: TestIdentity): Parameters<typeof inProcessCloud>[0]['services'] => {
  const vault = testVaultSettings(systemRandom);
  return {
    identity: identity.service,
    'key-vault': (seams) => assembleKeyVault({ ...seams, settings: vault }),
    'disk-encryption-set': (seams) => {
      const rotation = { concurrency: 4, pageSize: 10 };
      const upkeep = { watchdogMs: 200, rotationRetryMs: 100, rotationCheckIntervalMs: 1_000, rotation };
      return assembleSets({ ...seams, settings: { requirePurgeProtection: false, setsPerRegionMax: 100, upkeep } });
    },
  };
};

/** Disk over these volumes, with a master key that outlives a restart. */
const diskOver = (files: VolumeFiles): CloudService => {
  const master = systemRandom.bytes(32);
  return (seams) =>
    assemble({
      ...seams,
      settings: {
        masterKey: masterKey(Uint8Array.from(master)),
        files,
        dataAddress: 'disk.test:1',
        snapshotLimits: { perDiskMax: 5, recentMax: 4, recentMs: 300_000 },
        leases: leaseDefaults,
        host: { name: 'disk-0', folder: 'volumes', machine: 'this', ttlMs: 30_000 },
      },
    });
};

/** Clients of the cloud. */
export const clientsOf = (cloud: InProcessCloud, { administrator, workloads }: TestIdentity): CloudClients => {
  const admin = cloud.as(administrator);
  return {
    disks: admin.client('disk', DiskServiceDefinition),
    data: admin.client('disk', DiskDataServiceDefinition),
    vault: admin.client('key-vault', KeyVaultServiceDefinition),
    sets: admin.client('disk-encryption-set', DiskEncryptionSetServiceDefinition),
    identity: admin.client('identity', IdentityServiceDefinition),
    compute: cloud.as(workloads.compute).client('disk', DiskServiceDefinition),
    setsWorkload: cloud.as(workloads['disk-encryption-set']).client('disk', DiskServiceDefinition),
  };
};

/** Polls until a condition holds, or the time limit of the test is over. */
export const until = async (condition: () => Promise<boolean>): Promise<void> => {
  while (!(await condition())) await systemClock.sleep(20);
};
