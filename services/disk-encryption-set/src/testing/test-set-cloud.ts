import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import {
  type DiskEncryptionSet,
  DiskEncryptionSetServiceDefinition,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type EventStore, openPostgresStore } from '@interlock/event-store';
import { createTestDatabase } from '@interlock/event-store/test-database';
import { inProcessCloud, workloads as services } from '@interlock/host';
import { openTestBus } from '@interlock/messaging/test-bus';
import type { RpcClient, Workload } from '@interlock/rpc';
import { createScope, logger, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { trace } from '@opentelemetry/api';
import { assemble as assembleIdentity } from '../../../identity/src/assemble.ts';
import { hashSecret } from '../../../identity/src/token/tokens.ts';
import { assemble as assembleKeyVault } from '../../../key-vault/src/assemble.ts';
import { createRsaPool } from '../../../key-vault/src/rsa/pool.ts';
import { openFileSealKeyStore } from '../../../key-vault/src/sealing/file-seal-key-store.ts';
import { assembleBeside } from '../assemble.ts';
import { type VaultDisks, vaultDisks } from './test-vault-disks.ts';

export const resourceGroup = 'subscriptions/s1/resourceGroups/g';
/** Sets of one region in this cloud. */
export const setsPerRegionMax = 30;

interface TestPrincipal {
  readonly id: string;
  readonly name: string;
  readonly secret: string;
}

/** identity, key-vault and sets in one process on real Postgres and NATS, with a disk service that only stores keys. */
export interface SetCloud {
  readonly store: EventStore;
  readonly disks: VaultDisks;
  readonly administrator: TestPrincipal;
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  readonly keyVault: RpcClient<typeof KeyVaultServiceDefinition>;
  readonly sets: RpcClient<typeof DiskEncryptionSetServiceDefinition>;
  setsAs(user: TestPrincipal): RpcClient<typeof DiskEncryptionSetServiceDefinition>;
  newPrincipal(): Promise<TestPrincipal>;
  restart(service: Workload): Promise<void>;
  /** Watches a set until the condition holds. @throws Error with the last state after ten seconds */
  until(name: string, wanted: (set: DiskEncryptionSet) => boolean): Promise<DiskEncryptionSet>;
  close(): Promise<void>;
}

/** Starts it: every vault is purge protected. @throws what went wrong, with nothing left open */
export const startSetCloud = async (): Promise<SetCloud> => {
  const scope = createScope();
  try {
    return await openSetCloud(scope);
  } catch (error) {
    await scope.close();
    throw error;
  }
};

const openSetCloud = async (scope: Scope): Promise<SetCloud> => {
  const clock = systemClock;
  const random = systemRandom;
  const folder = await mkdtemp(join(tmpdir(), 'interlock-sets-'));
  scope.defer('folder', () => rm(folder, { recursive: true }));
  const stores = new Map<Workload, EventStore>();
  for (const service of ['identity', 'key-vault', 'disk-encryption-set'] as const) {
    const database = await createTestDatabase();
    scope.defer(`database of ${service}`, () => database.drop());
    const store = await openPostgresStore({ url: database.url, clock, maxConnections: 4 });
    scope.defer(`store of ${service}`, () => store.close());
    stores.set(service, store);
  }
  const storeOf = (service: Workload): EventStore => {
    const store = stores.get(service);
    if (!store) throw new Error(`${service} does not run here`);
    return store;
  };
  const bus = await openTestBus(services);
  scope.defer('bus', () => bus.close());

  const person = (secret: string): TestPrincipal => {
    const id = randomUUID();
    return { id, name: `principals/${id}`, secret };
  };
  const administrator = person('administrator');
  const workloads = {
    identity: person('identity'),
    'key-vault': person('key-vault'),
    'disk-encryption-set': person('disk-encryption-set'),
    disk: person('disk'),
    compute: person('compute'),
  };
  const issuer = 'https://identity.test';
  const disks = vaultDisks(() => {
    const asDisk = cloud.as(workloads.disk);
    return {
      identity: asDisk.client('identity', IdentityServiceDefinition),
      keyVault: asDisk.client('key-vault', KeyVaultServiceDefinition),
    };
  });
  const cloud = await inProcessCloud({
    services: {
      identity: (seams) =>
        assembleIdentity({
          ...seams,
          settings: {
            bootstrap: {
              tenant: { id: 'main', displayName: 'Main' },
              subscriptions: [
                { id: 's1', displayName: 'One' },
                { id: 's2', displayName: 'Two' },
              ],
              administrator: {
                principalId: administrator.id,
                displayName: 'Administrator',
                secretHash: hashSecret(administrator.secret),
              },
              workloads: Object.entries(workloads).map(([service, { id, secret }]) => ({
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
            },
            masterKey: masterKey(random.bytes(32)),
            issuer,
            lifetimes: { userMs: 600_000, managedIdentityMs: 60_000 },
          },
        }),
      'key-vault': async (seams) =>
        assembleKeyVault({
          ...seams,
          settings: {
            masterKeys: { current: masterKey(random.bytes(32)), previous: [] },
            sealKeys: await openFileSealKeyStore(folder, random),
            engine: (sealing) => createRsaPool({ sealing, workers: 1 }),
            vaultUriSuffix: 'vault.test',
            purgeProtectionDefault: true,
            retentionDayMs: 86_400_000,
          },
        }),
      'disk-encryption-set': (seams) => {
        // No retry by time: a waiting rotation continues only because of an event.
        const rotation = { concurrency: 4, pageSize: 2 };
        const upkeep = { watchdogMs: 100, rotationRetryMs: 3_600_000, rotationCheckIntervalMs: 3_600_000, rotation };
        const settings = { requirePurgeProtection: true, setsPerRegionMax, upkeep };
        return assembleBeside(
          { ...seams, settings },
          {
            keyVault: seams.client('key-vault', KeyVaultServiceDefinition),
            identities: seams.client('identity', IdentityServiceDefinition),
            disks,
            machines: seams.client('compute', ComputeServiceDefinition),
          },
        );
      },
    },
    storeOf,
    bus,
    workloadOf: (service) => workloads[service],
    clock,
    random,
    log: logger({ service: 'test', clock }),
    tracer: trace.getTracer('test'),
    issuer,
  });
  scope.defer('cloud', () => cloud.close());

  const asAdministrator = cloud.as(administrator);
  const identity = asAdministrator.client('identity', IdentityServiceDefinition);
  const setsAs = (user: TestPrincipal) =>
    cloud.as(user).client('disk-encryption-set', DiskEncryptionSetServiceDefinition);
  const sets = setsAs(administrator);
  return {
    store: storeOf('disk-encryption-set'),
    disks,
    administrator,
    identity,
    keyVault: asAdministrator.client('key-vault', KeyVaultServiceDefinition),
    sets,
    setsAs,
    async newPrincipal() {
      const principalId = randomUUID();
      const request = { principalId, tenant: 'tenants/main', type: 'APPLICATION', displayName: 'a user' } as const;
      const { name } = await identity.createPrincipal(request);
      const { secretText } = await identity.addSecret({ principal: name, secretId: 'one' });
      return { id: principalId, name, secret: secretText };
    },
    async restart(service) {
      await cloud.stop(service);
      await cloud.start(service);
    },
    async until(name, wanted) {
      let last: DiskEncryptionSet | undefined;
      const signal = AbortSignal.timeout(10_000);
      try {
        for await (const set of sets.watchDiskEncryptionSet({ name }, { signal })) {
          last = set;
          if (wanted(set)) return set;
        }
      } catch (error) {
        throw new Error(`the set is not as wanted: ${JSON.stringify(last)}`, { cause: error });
      }
      throw new Error(`the watch ended before the set was as wanted: ${JSON.stringify(last)}`);
    },
    close: () => scope.close(),
  };
};
