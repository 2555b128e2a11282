import { randomUUID } from 'node:crypto';
import type { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { type CloudService, workloads as services } from '@interlock/host';
import type { RpcClient, Workload } from '@interlock/rpc';
import type { Random } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { assemble, type IdentitySettings } from '../assemble.ts';
import { hashSecret } from '../token/tokens.ts';

/** A principal with a secret. */
export interface Account {
  readonly id: string;
  /** `principals/<id>`. */
  readonly name: string;
  readonly secret: string;
}

/** The real identity for a cloud of tests, with its first principals. */
export interface TestIdentity {
  /** Owner of the tenant, who also has every right on keys. */
  readonly administrator: Account;
  readonly workloads: Readonly<Record<Workload, Account>>;
  /** `iss` of its tokens. */
  readonly issuer: string;
  readonly service: CloudService;
}

/** What a test cloud changes of identity. */
export type IdentityChanges = Partial<Pick<IdentitySettings, 'lifetimes' | 'tokenFormat'>> & {
  /** Ids of the subscriptions; `s1` and `s2` by default. */
  readonly subscriptions?: readonly string[];
};

/** Identity with a tenant `main`, an administrator and a principal for each service. */
export const testIdentity = (random: Pick<Random, 'uuid' | 'bytes'>, changes: IdentityChanges = {}): TestIdentity => {
  const { subscriptions = ['s1', 's2'], ...settings } = changes;
  const account = (secret: string): Account => {
    const id = random.uuid();
    return { id, name: `principals/${id}`, secret };
  };
  const administrator = account('administrator');
  const workloads = Object.fromEntries(services.map((name) => [name, account(name)])) as Record<Workload, Account>;
  const issuer = 'https://identity.test';
  const bootstrap = {
    tenant: { id: 'main', displayName: 'Main' },
    subscriptions: subscriptions.map((id) => ({ id, displayName: id })),
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
      id: random.uuid(),
      principalId: administrator.id,
      role,
      scope: '/',
    })),
  };
  const lifetimes = { userMs: 600_000, managedIdentityMs: 60_000 };
  const own = { bootstrap, masterKey: masterKey(random.bytes(32)), issuer, lifetimes, ...settings };
  return { administrator, workloads, issuer, service: (seams) => assemble({ ...seams, settings: own }) };
};

/** Creates a user without roles, who has a secret. */
export const newAccount = async (identity: RpcClient<typeof IdentityServiceDefinition>): Promise<Account> => {
  const principalId = randomUUID();
  const request = { principalId, tenant: 'tenants/main', type: 'APPLICATION', displayName: 'a user' } as const;
  const { name } = await identity.createPrincipal(request);
  const { secretText } = await identity.addSecret({ principal: name, secretId: 'one' });
  return { id: principalId, name, secret: secretText };
};
