import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type EventStore, openPostgresStore } from '@interlock/event-store';
import { createTestDatabase, type TestDatabase } from '@interlock/event-store/test-database';
import { type InProcessCloud, inProcessCloud, workloads as services } from '@interlock/host';
import type { Bus } from '@interlock/messaging';
import { openTestBus } from '@interlock/messaging/test-bus';
import type { RpcClient } from '@interlock/rpc';
import { type Clock, createScope, logger, systemClock, systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { type Tracer, trace } from '@opentelemetry/api';
import { assemble as assembleIdentity } from '../../../identity/src/assemble.ts';
import { hashSecret } from '../../../identity/src/token/tokens.ts';
import { assemble, type KeyVaultSettings } from '../assemble.ts';
import { createRsaPool } from '../rsa/pool.ts';
import type { RsaEngine } from '../rsa/rsa.ts';
import { openFileSealKeyStore } from '../sealing/file-seal-key-store.ts';

export type VaultClient = RpcClient<typeof KeyVaultServiceDefinition>;

/** A principal with a secret. */
export interface Account {
  readonly id: string;
  readonly name: string;
  readonly secret: string;
}

/** Identity and key-vault in one process on real Postgres and NATS, with their principals. */
export interface VaultCloud {
  readonly cloud: InProcessCloud;
  readonly database: TestDatabase;
  readonly store: EventStore;
  readonly administrator: Account;
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
  /** A second replica of both services, over the same stores and bus. */
  newReplica(): Promise<InProcessCloud>;
  assignRole(principal: string, role: string, scope: string): Promise<string>;
  close(): Promise<void>;
}

const resourceGroup = 'subscriptions/s1/resourceGroups/g';

/** Starts it. @param changes replaces or wraps parts of key-vault: engine, store, bus, clock, settings, tracer */
export const startVaultCloud = async (
  changes: {
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
  } = {},
): Promise<VaultCloud> => {
  const scope = createScope();
  const { clock = systemClock } = changes;
  const random = systemRandom;
  const folder = await mkdtemp(join(tmpdir(), 'interlock-key-vault-'));
  scope.defer('folder', () => rm(folder, { recursive: true }));
  const database = await createTestDatabase();
  scope.defer('database', () => database.drop());
  const identityDatabase = await createTestDatabase();
  scope.defer('database of identity', () => identityDatabase.drop());
  const store = await openPostgresStore({ url: database.url, clock });
  scope.defer('store', () => store.close());
  const vaultStore = changes.store?.(store) ?? store;
  const identityStore = await openPostgresStore({ url: identityDatabase.url, clock });
  scope.defer('store of identity', () => identityStore.close());
  const bus = await openTestBus(services);
  scope.defer('bus', () => bus.close());

  const person = (secret: string): Account => {
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
  const identitySettings = {
    bootstrap: {
      tenant: { id: 'main', displayName: 'Main' },
      subscriptions: [
        { id: 's1', displayName: 'One' },
        { id: 's2', displayName: 'Two' },
      ],
      administrator: {
        principalId: administrator.id,
        displayName: 'Administrator',
        secretHash: hashSecret('administrator'),
      },
      workloads: Object.entries(workloads).map(([service, { id, secret }]) => ({
        service,
        principalId: id,
        secretHash: hashSecret(secret),
      })),
      roleAssignments: [
        { id: randomUUID(), principalId: administrator.id, role: 'roles/owner', scope: '/' },
        { id: randomUUID(), principalId: administrator.id, role: 'roles/keyVaultAdministrator', scope: '/' },
      ],
    },
    masterKey: masterKey(random.bytes(32)),
    issuer,
    lifetimes: { userMs: 600_000, managedIdentityMs: changes.managedIdentityMs ?? 60_000 },
  };
  const settings: KeyVaultSettings = {
    masterKeys: { current: masterKey(random.bytes(32)), previous: [] },
    sealKeys: await openFileSealKeyStore(folder, random),
    engine: (sealing) => {
      const pool = createRsaPool({ sealing, workers: 2 });
      return changes.engine?.(pool) ?? pool;
    },
    vaultUriSuffix: 'vault.interlock.localhost',
    purgeProtectionDefault: false,
    retentionDayMs: 86_400_000,
    ...changes.settings,
  };
  const startCloud = () =>
    inProcessCloud({
      services: {
        identity: (seams) => assembleIdentity({ ...seams, settings: identitySettings }),
        'key-vault': (seams) => assemble({ ...seams, settings }),
      },
      storeOf: (service) => (service === 'identity' ? identityStore : vaultStore),
      bus: changes.bus?.(bus) ?? bus,
      workloadOf: (service) => workloads[service],
      clock,
      random,
      log: logger({ service: 'test', clock }),
      tracer: changes.tracer ?? trace.getTracer('test'),
      issuer,
      authzTtlMs: changes.authzTtlMs ?? 0,
    });
  const cloud = await startCloud();
  scope.defer('cloud', () => cloud.close());

  const identity = cloud.as(administrator).client('identity', IdentityServiceDefinition);
  const clients = new Map<string, VaultClient>();
  return {
    cloud,
    database,
    store,
    administrator,
    identity,
    diskEncryptionSet: workloads['disk-encryption-set'],
    disk: workloads.disk,
    vault(account = administrator) {
      const client = clients.get(account.id) ?? cloud.as(account).client('key-vault', KeyVaultServiceDefinition);
      clients.set(account.id, client);
      return client;
    },
    async newPrincipal() {
      const principalId = randomUUID();
      const request = { principalId, tenant: 'tenants/main', type: 'APPLICATION', displayName: 'someone' } as const;
      const { name } = await identity.createPrincipal(request);
      const { secretText } = await identity.addSecret({ principal: name, secretId: 'one' });
      return { id: principalId, name, secret: secretText };
    },
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
    async newReplica() {
      const replica = await startCloud();
      scope.defer('replica', () => replica.close());
      return replica;
    },
    async assignRole(principal, role, at) {
      const request = { roleAssignmentId: randomUUID(), principal, role, scope: at };
      return (await identity.createRoleAssignment(request)).name;
    },
    close: () => scope.close(),
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
