import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import type { EventStore } from '@interlock/event-store';
import { openTestStore, type TestDatabase } from '@interlock/event-store/test-database';
import { type InProcessCloud, inProcessCloud, workloads as services } from '@interlock/host';
import type { Bus } from '@interlock/messaging';
import { openTestBus } from '@interlock/messaging/test-bus';
import { CALL_MAX_MS, type RpcClient } from '@interlock/rpc';
import { type Clock, createScope, logger, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { type Tracer, trace } from '@opentelemetry/api';
import {
  type Account,
  newAccount,
  type TestIdentity,
  testIdentity,
} from '../../../identity/src/testing/test-identity.ts';
import { assemble, type KeyVaultSettings } from '../assemble.ts';
import type { RsaEngine } from '../rsa/rsa.ts';
import { openFileSealKeyStore } from '../sealing/file-seal-key-store.ts';
import { rsaThreads, testVaultSettings } from './test-key-vault.ts';

export type VaultClient = RpcClient<typeof KeyVaultServiceDefinition>;

/** Identity and key-vault in one process on real Postgres and NATS, with their principals. */
export interface VaultCloud extends VaultCloudPrincipals {
  readonly cloud: InProcessCloud;
  readonly database: TestDatabase;
  readonly store: EventStore;
  readonly administrator: Account;
  /** A second replica of both services, over the same stores and bus. */
  newReplica(): Promise<InProcessCloud>;
  close(): Promise<void>;
}

/** The principals of a cloud, and their clients. */
interface VaultCloudPrincipals {
  /** As the administrator. */
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  /** A client with the credentials of the account; by default of the administrator. */
  vault(account?: Account): VaultClient;
  /** The disk encryption set service, and the disk service. */
  readonly diskEncryptionSet: Account;
  readonly disk: Account;
  newPrincipal(): Promise<Account>;
  /** A new managed identity with a client, also `at` another replica. */
  newManagedIdentity(): Promise<{
    readonly name: string;
    readonly vault: VaultClient;
    at(replica: InProcessCloud): VaultClient;
  }>;
  assignRole(principal: string, role: string, scope: string): Promise<string>;
}

const resourceGroup = 'subscriptions/s1/resourceGroups/g';

/** Parts that a test replaces or wraps. */
interface VaultCloudChanges {
  /** Wraps the engine on threads. */
  readonly engine?: (engine: RsaEngine) => RsaEngine;
  readonly store?: (store: EventStore) => EventStore;
  readonly bus?: (bus: Bus) => Bus;
  readonly clock?: Clock;
  readonly settings?: Partial<KeyVaultSettings>;
  readonly tracer?: Tracer;
  /** By default permissions are not cached. */
  readonly authzTtlMs?: number;
  /** How long tokens of managed identities live; by default far longer than a test. */
  readonly managedIdentityMs?: number;
}

/** Starts it. @param changes replaces or wraps parts of key-vault: engine, store, bus, clock, settings, tracer */
export const startVaultCloud = async (changes: VaultCloudChanges = {}): Promise<VaultCloud> => {
  const scope = createScope();
  const [{ clock = systemClock }, random] = [changes, systemRandom];
  const { database, store } = await openTestStore(scope, 'key-vault', { clock });
  const { store: identityStore } = await openTestStore(scope, 'identity', { clock });
  const vaultStore = changes.store?.(store) ?? store;
  const bus = await openTestBus(services);
  scope.defer('bus', () => bus.close());
  const lifetimes = { userMs: 600_000, managedIdentityMs: changes.managedIdentityMs ?? 60_000 };
  const founded = testIdentity(random, { lifetimes });
  const { administrator, workloads } = founded;
  const settings = await vaultSettings(scope, changes);
  const startCloud = () =>
    inProcessCloud({
      services: {
        identity: founded.service,
        'key-vault': (seams) => assemble({ ...seams, settings }),
      },
      storeOf: (service) => (service === 'identity' ? identityStore : vaultStore),
      bus: changes.bus?.(bus) ?? bus,
      workloadOf: (service) => workloads[service],
      ...{ clock, random, issuer: founded.issuer },
      log: logger({ service: 'test', clock }),
      tracer: changes.tracer ?? trace.getTracer('test'),
      authzTtlMs: changes.authzTtlMs ?? 0,
      outsideDeadlineMs: CALL_MAX_MS,
    });
  const cloud = await startCloud();
  scope.defer('cloud', () => cloud.close());
  return {
    ...{ cloud, database, store, administrator },
    ...principalsOf(cloud, founded),
    async newReplica() {
      const replica = await startCloud();
      scope.defer('replica', () => replica.close());
      return replica;
    },
    close: () => scope.close(),
  };
};

/** Settings of key-vault, with seal keys in files. */
const vaultSettings = async (scope: Scope, changes: VaultCloudChanges): Promise<KeyVaultSettings> => {
  const wrap = changes.engine;
  const folder = await mkdtemp(join(tmpdir(), 'interlock-key-vault-'));
  scope.defer('folder', () => rm(folder, { recursive: true }));
  return testVaultSettings(systemRandom, {
    sealKeys: await openFileSealKeyStore(folder, systemRandom),
    ...(wrap && { engine: (sealing) => wrap(rsaThreads(sealing)) }),
    ...changes.settings,
  });
};

/** Clients of the first principals, and what creates others. */
const principalsOf = (cloud: InProcessCloud, { administrator, workloads }: TestIdentity): VaultCloudPrincipals => {
  const identity = cloud.as(administrator).client('identity', IdentityServiceDefinition);
  const clients = new Map<string, VaultClient>();
  return {
    identity,
    diskEncryptionSet: workloads['disk-encryption-set'],
    disk: workloads.disk,
    vault(account = administrator) {
      const client = clients.get(account.id) ?? cloud.as(account).client('key-vault', KeyVaultServiceDefinition);
      clients.set(account.id, client);
      return client;
    },
    newPrincipal: () => newAccount(identity),
    async newManagedIdentity() {
      const owner = `${resourceGroup}/diskEncryptionSets/d-${randomUUID().slice(0, 8)}`;
      const asSets = cloud.as(workloads['disk-encryption-set']).client('identity', IdentityServiceDefinition);
      const request = { principalId: randomUUID(), tenant: 'tenants/main', owner };
      const { name } = await asSets.createManagedIdentity(request);
      const asDisk = cloud.as(workloads.disk).client('identity', IdentityServiceDefinition);
      const asked = { principal: name, audience: 'interlock:key-vault' };
      const { accessToken } = await asDisk.issueManagedIdentityToken(asked);
      const credentials = { token: async () => accessToken, refused: () => {} };
      const at = (replica: InProcessCloud) =>
        replica.as(administrator).client('key-vault', KeyVaultServiceDefinition, { credentials });
      return { name, vault: at(cloud), at };
    },
    async assignRole(principal, role, at) {
      const request = { roleAssignmentId: randomUUID(), principal, role, scope: at };
      return (await identity.createRoleAssignment(request)).name;
    },
  };
};

/** Creates a vault whose keys the administrator may use. @param request by default access policies in the first subscription */
export const newVault = async (
  { vault, administrator }: VaultCloud,
  request: {
    readonly role?: boolean;
    readonly purgeProtected?: boolean;
    readonly resourceGroup?: string;
    readonly retentionDays?: number;
  } = {},
): Promise<string> => {
  const { name } = await vault().createVault({
    vaultId: `v${randomUUID().slice(0, 12)}`,
    resourceGroup: request.resourceGroup ?? resourceGroup,
    location: 'westeurope',
    permissionModel: request.role ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY',
    accessPolicies: [{ principal: administrator.name, keyPermissions: ['ALL'] }],
    purgeProtectionEnabled: request.purgeProtected ?? false,
    softDeleteRetentionDays: request.retentionDays ?? 0,
  });
  return name;
};

/** Waits for a condition; the test's own time limit ends the wait otherwise. */
export const until = async (condition: () => Promise<boolean>): Promise<void> => {
  while (!(await condition())) await systemClock.sleep(20);
};
