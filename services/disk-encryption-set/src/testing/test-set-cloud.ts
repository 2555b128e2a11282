import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import {
  type DiskEncryptionSet,
  DiskEncryptionSetServiceDefinition,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import type { EventStore } from '@interlock/event-store';
import { openTestStore } from '@interlock/event-store/test-database';
import { type CloudService, inProcessCloud, workloads as services } from '@interlock/host';
import { openTestBus } from '@interlock/messaging/test-bus';
import { CALL_MAX_MS, type RpcClient, type Workload } from '@interlock/rpc';
import { createScope, logger, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type Account, newAccount, testIdentity } from '../../../identity/src/testing/test-identity.ts';
import { assemble as assembleKeyVault } from '../../../key-vault/src/assemble.ts';
import { testVaultSettings } from '../../../key-vault/src/testing/test-key-vault.ts';
import { assembleBeside } from '../assemble.ts';
import { type VaultDisks, vaultDisks } from './test-vault-disks.ts';

export const resourceGroup = 'subscriptions/s1/resourceGroups/g';
/** Sets of one region in this cloud. */
export const setsPerRegionMax = 30;

/** identity, key-vault and sets in one process on real Postgres and NATS, with a disk service that only stores keys. */
export interface SetCloud {
  readonly store: EventStore;
  readonly disks: VaultDisks;
  readonly administrator: Account;
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  readonly keyVault: RpcClient<typeof KeyVaultServiceDefinition>;
  readonly sets: RpcClient<typeof DiskEncryptionSetServiceDefinition>;
  setsAs(user: Account): RpcClient<typeof DiskEncryptionSetServiceDefinition>;
  newPrincipal(): Promise<Account>;
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
  const [clock, random] = [systemClock, systemRandom];
  const stores = new Map<Workload, EventStore>();
  for (const service of ['identity', 'key-vault', 'disk-encryption-set'] as const)
    stores.set(service, (await openTestStore(scope, service, { clock, maxConnections: 4 })).store);
  const storeOf = (service: Workload): EventStore => {
    const store = stores.get(service);
    if (!store) throw new Error(`${service} does not run here`);
    return store;
  };
  const bus = await openTestBus(services);
  scope.defer('bus', () => bus.close());
  const founded = testIdentity(random);
  const { administrator, workloads } = founded;
  const disks = vaultDisks(() => {
    const asDisk = cloud.as(workloads.disk);
    return {
      identity: asDisk.client('identity', IdentityServiceDefinition),
      keyVault: asDisk.client('key-vault', KeyVaultServiceDefinition),
    };
  });
  const vault = testVaultSettings(random, { purgeProtectionDefault: true });
  const cloud = await inProcessCloud({
    services: {
      identity: founded.service,
      'key-vault': (seams) => assembleKeyVault({ ...seams, settings: vault }),
      'disk-encryption-set': assembleSets(disks),
    },
    ...{ storeOf, bus, clock, random, issuer: founded.issuer },
    workloadOf: (service) => workloads[service],
    log: logger({ service: 'test', clock }),
    tracer: trace.getTracer('test'),
    outsideDeadlineMs: CALL_MAX_MS,
  });
  scope.defer('cloud', () => cloud.close());

  const asAdministrator = cloud.as(administrator);
  const identity = asAdministrator.client('identity', IdentityServiceDefinition);
  const setsAs = (user: Account) => cloud.as(user).client('disk-encryption-set', DiskEncryptionSetServiceDefinition);
  const sets = setsAs(administrator);
  return {
    store: storeOf('disk-encryption-set'),
    disks,
    administrator,
    identity,
    keyVault: asAdministrator.client('key-vault', KeyVaultServiceDefinition),
    sets,
    setsAs,
    newPrincipal: () => newAccount(identity),
    async restart(service) {
      await cloud.stop(service);
      await cloud.start(service);
    },
    until: (name, wanted) => watchUntil(sets, name, wanted),
    close: () => scope.close(),
  };
};

/** The sets beside real services, with disks in memory. */
const assembleSets =
  (disks: VaultDisks): CloudService =>
  (seams) => {
    // No retry by time: a waiting rotation continues only because of an event.
    const rotation = { concurrency: 4, pageSize: 2 };
    const upkeep = { watchdogMs: 100, rotationRetryMs: 3_600_000, rotationCheckIntervalMs: 3_600_000, rotation };
    const settings = { requirePurgeProtection: true, setsPerRegionMax, upkeep };
    const neighbours = {
      keyVault: seams.client('key-vault', KeyVaultServiceDefinition),
      identities: seams.client('identity', IdentityServiceDefinition),
      machines: seams.client('compute', ComputeServiceDefinition),
      disks,
    };
    return assembleBeside({ ...seams, settings }, neighbours);
  };

const watchUntil = async (
  sets: SetCloud['sets'],
  name: string,
  wanted: (set: DiskEncryptionSet) => boolean,
): Promise<DiskEncryptionSet> => {
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
};
