import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { CreateDiskRequest, Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type EventStore, memoryStore, openPostgresStore } from '@interlock/event-store';
import { createTestDatabase, type TestDatabase } from '@interlock/event-store/test-database';
import { workloads as everyService, inProcessCloud } from '@interlock/host';
import { openTestBus } from '@interlock/messaging/test-bus';
import type { RpcClient, Workload } from '@interlock/rpc';
import { createScope, logger, systemClock, systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc';
import { assemble as assembleSets } from '../../../disk-encryption-set/src/assemble.ts';
import { assemble as assembleIdentity } from '../../../identity/src/assemble.ts';
import { hashSecret } from '../../../identity/src/token/tokens.ts';
import { assemble as assembleKeyVault } from '../../../key-vault/src/assemble.ts';
import { createRsaPool } from '../../../key-vault/src/rsa/pool.ts';
import { createMemorySealKeyStore } from '../../../key-vault/src/sealing/seal-key-store.ts';
import { assemble } from '../assemble.ts';
import { accessTokenKey } from '../host/data/access-token.ts';
import { leaseDefaults } from '../host/keys/lease.ts';
import type { BlockStore } from '../host/storage/block-store.ts';
import { pieceSize } from '../host/storage/sector.ts';
import { folderVolumeFiles, type VolumeFiles } from '../host/storage/volume-files.ts';
import { openDisk } from './test-one-disk.ts';

export const resourceGroup = 'subscriptions/s1/resourceGroups/g';
export const location = 'westeurope';

/** A key version and the set over it. */
export interface TestSet {
  readonly name: string;
  readonly principal: string;
  readonly vault: string;
  readonly keyVersion: string;
  readonly keyUrl: string;
}

/** The disk service in one process with the real identity, key-vault and sets, on real Postgres and NATS. */
export interface DiskCloud {
  readonly store: EventStore;
  readonly database: TestDatabase;
  readonly log: string[];
  readonly folder: string;
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  /** Clients of the disk service as compute and as the sets. */
  readonly compute: RpcClient<typeof DiskServiceDefinition>;
  readonly setsWorkload: RpcClient<typeof DiskServiceDefinition>;
  readonly data: RpcClient<typeof DiskDataServiceDefinition>;
  readonly vault: RpcClient<typeof KeyVaultServiceDefinition>;
  readonly sets: RpcClient<typeof DiskEncryptionSetServiceDefinition>;
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  /** A token for the vault of the administrator, who owns every key. */
  ownerToken(): Promise<string>;
  /** A client that calls as this user. */
  userAs(user: { readonly id: string; readonly secret: string }): RpcClient<typeof DiskServiceDefinition>;
  newSet(requested?: {
    readonly isDouble?: boolean;
    readonly withoutGrant?: boolean;
    readonly location?: string;
  }): Promise<TestSet>;
  newKey(vault: string): Promise<{ readonly keyVersion: string; readonly keyUrl: string }>;
  newDisk(requested?: Partial<CreateDiskRequest> & { readonly set?: TestSet }): Promise<Disk>;
  /** Attaches a disk to a machine of its own and opens it. */
  openNew(name: string, virtualMachine?: string): Promise<OpenDiskResponse & { readonly virtualMachine: string }>;
  write(name: string, token: string, offset: number, ...pieces: readonly Uint8Array[]): Promise<number>;
  read(name: string, token: string, offset: number, length: number): Promise<Buffer>;
  flush(name: string, token: string): Promise<void>;
  /** Volume files of disks and snapshots, without locks. */
  volumeFiles(): Promise<readonly string[]>;
  stop(service: Workload): Promise<void>;
  start(service: Workload): Promise<void>;
  restartDisk(): Promise<void>;
  close(): Promise<void>;
}

/** Deadline of a copy of a whole disk on a busy machine, in ms. */
export const copyMs = 60_000;

const full = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;

/** Files of at most two pieces, whatever the size of a disk, because copies take time for holes too. */
const shortened = (files: VolumeFiles): VolumeFiles => {
  const short = (store: BlockStore): BlockStore => {
    const grow = store.grow.bind(store);
    return Object.assign(store, { grow: (size: number) => grow(shortSize(size)) });
  };
  return {
    ...files,
    async open(volumeId, part) {
      const store = await files.open(volumeId, part);
      return store && short(store);
    },
    create: async (volumeId, part, size) => short(await files.create(volumeId, part, shortSize(size))),
  };
};

const shortSize = (size: number): number => Math.min(size, 2 * pieceSize);

/** Starts the cloud. @param options `hasShortFiles`: only the first two pieces of a disk can be read and written */
export const startDiskCloud = async (options: { readonly hasShortFiles?: boolean } = {}): Promise<DiskCloud> => {
  const clock = systemClock;
  const random = systemRandom;
  const scope = createScope();
  const folder = await mkdtemp(join(tmpdir(), 'interlock-disk-'));
  scope.defer('folder', () => rm(folder, { recursive: true }));
  const files = folderVolumeFiles(folder);
  scope.defer('volume files', () => files.close());
  const database = await createTestDatabase();
  scope.defer('database', () => database.drop());
  const store = await openPostgresStore({ url: database.url, clock });
  scope.defer('store', () => store.close());
  const bus = await openTestBus(everyService);
  scope.defer('bus', () => bus.close());
  const stores = new Map<Workload, EventStore>([['disk', store]]);
  const storeOf = (service: Workload): EventStore => {
    const found = stores.get(service) ?? memoryStore({ clock });
    stores.set(service, found);
    return found;
  };

  const services = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'] as const;
  const workloads = new Map<string, { id: string; secret: string }>(
    services.map((service) => [service, { id: randomUUID(), secret: service }]),
  );
  const workloadOf = (service: Workload) => {
    const found = workloads.get(service);
    if (!found) throw new Error(`${service} has no principal`);
    return found;
  };
  const administrator = { id: randomUUID(), secret: 'administrator' };
  const issuer = 'https://identity.test';
  const bootstrap = {
    tenant: { id: 'main', displayName: 'Main' },
    subscriptions: ['s1', 's2'].map((id) => ({ id, displayName: id })),
    administrator: {
      principalId: administrator.id,
      displayName: 'Administrator',
      secretHash: hashSecret('administrator'),
    },
    workloads: [...workloads].map(([service, { id, secret }]) => ({
      service,
      principalId: id,
      secretHash: hashSecret(secret),
    })),
    roleAssignments: ['roles/owner', 'roles/keyVaultAdministrator'].map((role) => ({
      id: randomUUID(),
      principalId: administrator.id,
      role,
      scope: '/',
    })),
  };
  const log: string[] = [];
  const master = random.bytes(32);
  const sealMaster = masterKey(random.bytes(32));
  const identityMaster = masterKey(random.bytes(32));
  const sealKeys = createMemorySealKeyStore();
  const cloud = await inProcessCloud({
    services: {
      identity: (seams) =>
        assembleIdentity({
          ...seams,
          settings: {
            bootstrap,
            masterKey: identityMaster,
            issuer,
            lifetimes: { userMs: 600_000, managedIdentityMs: 60_000 },
          },
        }),
      'key-vault': (seams) =>
        assembleKeyVault({
          ...seams,
          settings: {
            masterKeys: { current: sealMaster, previous: [] },
            sealKeys,
            engine: (sealing) => createRsaPool({ sealing, workers: 1 }),
            vaultUriSuffix: 'vault.interlock.localhost',
            purgeProtectionDefault: false,
            retentionDayMs: 86_400_000,
          },
        }),
      'disk-encryption-set': (seams) =>
        assembleSets({
          ...seams,
          settings: {
            requirePurgeProtection: false,
            setsPerRegionMax: 100,
            upkeep: {
              watchdogMs: 200,
              rotationRetryMs: 100,
              rotationCheckIntervalMs: 1_000,
              rotation: { concurrency: 4, pageSize: 10 },
            },
          },
        }),
      disk: (seams) =>
        assemble({
          ...seams,
          settings: {
            masterKey: masterKey(Uint8Array.from(master)),
            files: options.hasShortFiles ? shortened(files) : files,
            dataAddress: 'disk.test:1',
            snapshotLimits: { perDiskMax: 5, recentMax: 4, recentMs: 300_000 },
            leases: leaseDefaults,
            host: { name: 'disk-0', folder: 'volumes', machine: 'this', ttlMs: 30_000 },
          },
        }),
    },
    storeOf,
    bus,
    workloadOf,
    clock,
    random,
    log: logger({ service: 'test', clock, write: (line) => log.push(line) }),
    tracer: trace.getTracer('test'),
    issuer,
  });
  scope.defer('cloud', () => cloud.close());

  const admin = cloud.as(administrator);
  const disks = admin.client('disk', DiskServiceDefinition);
  const compute = cloud.as(workloadOf('compute')).client('disk', DiskServiceDefinition);
  const vault = admin.client('key-vault', KeyVaultServiceDefinition);
  const sets = admin.client('disk-encryption-set', DiskEncryptionSetServiceDefinition);
  const data = admin.client('disk', DiskDataServiceDefinition);
  const identity = admin.client('identity', IdentityServiceDefinition);
  const withToken = (token: string) => ({ metadata: new Metadata({ [accessTokenKey]: token }) });

  const newKey: DiskCloud['newKey'] = async (parent) => {
    const key = await vault.createKey({ parent, keyId: `k${randomUUID().slice(0, 8)}`, requestId: randomUUID() });
    return { keyVersion: key.name, keyUrl: key.keyUrl };
  };
  return {
    store,
    database,
    log,
    folder,
    disks,
    compute,
    setsWorkload: cloud.as(workloadOf('disk-encryption-set')).client('disk', DiskServiceDefinition),
    data,
    vault,
    sets,
    identity,
    async ownerToken() {
      const { id: clientId, secret: clientSecret } = administrator;
      const audience = 'interlock:key-vault';
      return (await identity.issueToken({ clientId, clientSecret, audience })).accessToken;
    },
    userAs: (user) => cloud.as(user).client('disk', DiskServiceDefinition),
    newKey,
    async newSet({ isDouble = false, withoutGrant = false, location: at = location } = {}) {
      const { name: vaultName } = await vault.createVault({
        vaultId: `v${randomUUID().slice(0, 12)}`,
        resourceGroup,
        location: at,
        permissionModel: 'ACCESS_POLICY',
        accessPolicies: [{ principal: `principals/${administrator.id}`, keyPermissions: ['ALL'] }],
      });
      const { keyVersion, keyUrl } = await newKey(vaultName);
      const { name, identity } = await sets.createDiskEncryptionSet({
        parent: resourceGroup,
        diskEncryptionSetId: `des-${randomUUID().slice(0, 8)}`,
        location: at,
        keyUrl,
        ...(isDouble ? { encryptionType: 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS' } : {}),
      });
      const principal = identity?.principal ?? '';
      if (!withoutGrant)
        await vault.setAccessPolicy({ name: vaultName, accessPolicy: { principal, keyPermissions: [...full] } });
      return { name, principal, vault: vaultName, keyVersion, keyUrl };
    },
    newDisk: ({ set, ...requested } = {}) =>
      disks.createDisk(
        {
          parent: resourceGroup,
          diskId: `d-${randomUUID().slice(0, 8)}`,
          location,
          sku: 'PREMIUM_SSD',
          sizeGib: 1,
          ...(set ? { encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set.name } } : {}),
          ...requested,
        },
        { deadlineMs: copyMs },
      ),
    async openNew(name, virtualMachine = `${resourceGroup}/virtualMachines/vm-${randomUUID().slice(0, 8)}`) {
      await compute.attachDisk({ name, virtualMachine, requestId: randomUUID() });
      return { ...(await openDisk(compute, { name, virtualMachine })), virtualMachine };
    },
    async write(name, token, offset, ...pieces) {
      async function* requests() {
        for (const [n, piece] of pieces.entries()) {
          yield { ...(n === 0 ? { header: { name, offsetBytes: offset } } : {}), data: Buffer.from(piece) };
        }
      }
      return (await data.write(requests(), withToken(token))).writtenBytes;
    },
    async read(name, token, offset, length) {
      const pieces: Buffer[] = [];
      const request = { name, offsetBytes: offset, lengthBytes: length };
      for await (const { data: piece } of data.read(request, withToken(token))) pieces.push(Buffer.from(piece));
      return Buffer.concat(pieces);
    },
    async flush(name, token) {
      await data.flush({ name }, withToken(token));
    },
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

/** Polls until a condition holds, or the time limit of the test is over. */
export const until = async (condition: () => Promise<boolean>): Promise<void> => {
  while (!(await condition())) await systemClock.sleep(20);
};
