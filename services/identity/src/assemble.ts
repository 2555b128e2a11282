import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { type Assemble, workloads } from '@interlock/host';
import { type Authorizer, names, rs256, service, type TokenFormat } from '@interlock/rpc';
import type { MasterKey } from '@interlock/sealing';
import { applyBootstrap, type Bootstrap } from './bootstrap.ts';
import { grantHolders } from './grant-holder/decider.ts';
import { ownerRemovals } from './platform-owner/decider.ts';
import { openPlatformOwners } from './platform-owner/owners.ts';
import { watchOwners } from './platform-owner/watch.ts';
import { principalApi } from './principal/api.ts';
import { principals as principalStreams } from './principal/decider.ts';
import { toFact } from './published.ts';
import { reactor } from './reactor.ts';
import { roleAssignmentApi } from './role-assignment/api.ts';
import { openAssigning } from './role-assignment/assigning.ts';
import { roleAssignments } from './role-assignment/decider.ts';
import { permissions } from './role-assignment/permissions.ts';
import { signingKeys } from './signing-key/decider.ts';
import { openKeyRing } from './signing-key/key-ring.ts';
import { tenancyApi } from './tenancy/api.ts';
import { subscriptions as subscriptionStreams, tenants as tenantStreams } from './tenancy/decider.ts';
import { tokenApi } from './token/token-api.ts';
import { type TokenRates, tokenLimit } from './token/token-limit.ts';
import { type TokenLifetimes, tokenIssuer } from './token/tokens.ts';

/** What identity is told from outside. */
export interface IdentitySettings {
  readonly bootstrap: Bootstrap;
  readonly masterKey: MasterKey;
  readonly issuer: string;
  readonly lifetimes: TokenLifetimes;
  /** How many tokens are given for secrets; without it as many as can be made. */
  readonly tokenRates?: TokenRates;
  /** How tokens are signed; default `rs256`. */
  readonly tokenFormat?: TokenFormat;
}

const byRoleGiven =
  'identity/roleAssignments on the scope; for roles about keys alone identity/keyVaultRoleAssignments is enough';

/** Puts identity together. */
export const assemble: Assemble<IdentitySettings> = async ({
  store,
  openCategory,
  clock,
  random,
  log,
  settings,
  authorize,
}) => {
  const tenants = await openCategory(tenantStreams);
  const subscriptions = await openCategory(subscriptionStreams);
  const principals = await openCategory(principalStreams);
  const assignments = await openCategory(roleAssignments);
  const assigning = openAssigning({ store, assignments, holders: await openCategory(grantHolders) });
  const removals = await openCategory(ownerRemovals);
  const owners = openPlatformOwners({ store, principals, assignments, removals });
  const { lifetimes, issuer } = settings;
  const ring = await openKeyRing({
    store,
    keys: await openCategory(signingKeys),
    masterKey: settings.masterKey,
    format: settings.tokenFormat ?? rs256,
    clock,
    random,
    overlapMs: Math.max(lifetimes.userMs, lifetimes.managedIdentityMs),
  });
  await applyBootstrap(settings.bootstrap, {
    store,
    clock,
    tenants,
    subscriptions,
    principals,
    assignments,
    assigning,
  });

  const judge = permissions({ principals, assignments, subscriptions });
  const check: Authorizer = (principal, action, scope) => judge(principal.id, action, scope);
  const tokens = tokenApi({
    clock,
    store,
    principals,
    ring,
    issue: tokenIssuer({ ring, clock, issuer, lifetimes }),
    limit: tokenLimit(settings.tokenRates ?? {}, clock),
  });

  const tenantOf = async (principal: string): Promise<string> => {
    const { state } = await principals.load(names.principal.parse(principal, 'principal').principal);
    return state.status === 'absent' ? '/' : state.tenant;
  };
  /**
   * Where somebody needs the right to change a principal: its tenant; but whoever could act as a service, or as somebody
   * with a role on the platform, would be above every tenant, so for those it is the platform.
   */
  const scopeToChange = async (principal: string): Promise<string> => {
    const { state } = await principals.load(names.principal.parse(principal, 'principal').principal);
    if (state.status === 'absent' || state.workload !== undefined) return '/';
    const held = await assignments.listAll({ index: { index: 'principal', value: principal } });
    return held.some((one) => one.state.status === 'assigned' && one.state.scope === '/') ? '/' : state.tenant;
  };
  const scopeOf = async (name: string): Promise<string> => {
    const { state } = await assignments.load(names.roleAssignment.parse(name, 'name').roleAssignment);
    return state.status === 'absent' ? '/' : state.scope;
  };

  const api = service({
    definition: IdentityServiceDefinition,
    implementation: {
      ...tenancyApi({ clock, authorize, tenants, subscriptions }),
      ...principalApi({ clock, random, authorize, scopeToChange, tenants, principals, assignments, owners }),
      ...roleAssignmentApi({ clock, authorize, principals, assignments, assigning, owners }),
      ...tokens,
      async checkPermission({ principal, action, scope }) {
        const position = await store.head();
        const permission = await judge(names.principal.parse(principal, 'principal').principal, action, scope);
        const { grantedActions, grantedNotActions } = permission;
        return {
          ...permission,
          grantedActions: [...grantedActions],
          grantedNotActions: [...grantedNotActions],
          position,
        };
      },
    },
    authorization: {
      createTenant: { action: 'identity/tenants/write', scope: () => '/' },
      getTenant: { action: 'identity/tenants/read', scope: ({ name }) => name },
      listTenants: { action: 'identity/tenants/read', scope: () => '/' },
      createSubscription: { action: 'identity/subscriptions/write', scope: () => '/' },
      getSubscription: { action: 'identity/subscriptions/read', scope: ({ name }) => name },
      listSubscriptions: { authenticated: true, why: 'everybody may list the subscriptions of a tenant by name' },
      createPrincipal: { action: 'identity/principals/write', scope: ({ tenant }) => tenant },
      createManagedIdentity: { workload: ['disk-encryption-set'] },
      getPrincipal: { action: 'identity/principals/read', scope: ({ name }) => tenantOf(name) },
      listPrincipals: { authenticated: true, why: 'identity/principals/read on the tenant, by default the own one' },
      deletePrincipal: {
        authenticated: true,
        why: 'identity/principals/delete on its tenant, or the service that owns the identity',
      },
      addSecret: { action: 'identity/principalSecrets/write', scope: ({ principal }) => scopeToChange(principal) },
      removeSecret: { action: 'identity/principals/write', scope: ({ principal }) => scopeToChange(principal) },
      issueToken: { public: true },
      issueManagedIdentityToken: { workload: ['disk'] },
      getJsonWebKeySet: { public: true },
      rotateSigningKey: { action: 'identity/signingKeys/write', scope: () => '/' },
      listSigningKeys: { action: 'identity/signingKeys/read', scope: () => '/' },
      listRoles: { authenticated: true, why: 'the list is the same for everybody' },
      createRoleAssignment: { authenticated: true, why: byRoleGiven },
      getRoleAssignment: { action: 'identity/roleAssignments/read', scope: ({ name }) => scopeOf(name) },
      listRoleAssignments: { action: 'identity/roleAssignments/read', scope: ({ scope }) => scope || '/' },
      deleteRoleAssignment: { authenticated: true, why: byRoleGiven },
      checkPermission: { workload: workloads },
    },
  });

  return {
    services: [api],
    toFact,
    reactions: [{ source: 'key-vault', handlers: reactor({ clock, assignments }) }],
    background: [watchOwners({ owners, clock, log })],
    authority: { keys: tokens.getJsonWebKeySet, check },
  };
};
