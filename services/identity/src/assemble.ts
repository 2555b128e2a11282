import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import type { CheckPermissionRequest } from '@interlock/contracts/interlock/identity/v1/role.ts';
import { type Category, Rejection } from '@interlock/event-store';
import type { Assemble } from '@interlock/host';
import {
  type Authorization,
  type Authorizer,
  type Call,
  names,
  principalOf,
  requireActive,
  rs256,
  service,
  type TokenFormat,
} from '@interlock/rpc';
import type { MasterKey } from '@interlock/sealing';
import { applyBootstrap, type Bootstrap } from './bootstrap/bootstrap.ts';
import { PlatformOwners } from './platform-owner/owners.ts';
import { ownerRemovals } from './platform-owner/removals.ts';
import { watchOwners } from './platform-owner/watch.ts';
import { principalApi } from './principal/api.ts';
import { type Principal, principals as principalStreams } from './principal/decider.ts';
import type { PrincipalEvent } from './principal/events.ts';
import { toFact } from './published.ts';
import { reactor } from './reactor.ts';
import { roleAssignmentApi } from './role-assignment/api.ts';
import { openAssigning } from './role-assignment/assigning.ts';
import { type RoleAssignment, roleAssignments } from './role-assignment/decider.ts';
import type { RoleAssignmentEvent } from './role-assignment/events.ts';
import { grantHolders } from './role-assignment/grant-holder.ts';
import { permissions } from './role-assignment/permissions.ts';
import { signingKeys } from './signing-key/decider.ts';
import { openKeyRing } from './signing-key/key-ring.ts';
import { tenancyApi } from './tenancy/api.ts';
import { subscriptions as subscriptionStreams, tenants as tenantStreams } from './tenancy/decider.ts';
import { tokenApi } from './token/token-api.ts';
import { type TokenRates, tokenLimit } from './token/token-limit.ts';
import { type TokenLifetimes, tokenIssuer } from './token/tokens.ts';

/** Settings of identity. */
export interface IdentitySettings {
  readonly bootstrap: Bootstrap;
  readonly masterKey: MasterKey;
  readonly issuer: string;
  readonly lifetimes: TokenLifetimes;
  /** Limits of tokens for secrets. Default: none. */
  readonly tokenRates?: TokenRates;
  /** URL that client assertions must be for, or below; absent: none is accepted. */
  readonly assertionAudience?: string | undefined;
  /** How tokens are signed; default `rs256`. */
  readonly tokenFormat?: TokenFormat;
}

/** Assembles identity. */
export const assemble: Assemble<IdentitySettings> = async (seams) => {
  const { store, openCategory, clock, random, log, settings, authorize } = seams;
  const tenants = await openCategory(tenantStreams);
  const subscriptions = await openCategory(subscriptionStreams);
  const principals = await openCategory(principalStreams);
  const assignments = await openCategory(roleAssignments);
  const assigning = openAssigning({ store, assignments, holders: await openCategory(grantHolders) });
  const removals = await openCategory(ownerRemovals);
  const owners = new PlatformOwners({ store, principals, assignments, removals });
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
  const streams = { tenants, subscriptions, principals, assignments };
  await applyBootstrap(settings.bootstrap, { store, clock, ...streams, assigning });

  const permissionOf = permissions(streams);
  const check: Authorizer = (principal, action, scope) => permissionOf(principal.id, action, scope);
  const issue = tokenIssuer({ ring, clock, issuer, lifetimes });
  const limit = tokenLimit(settings.tokenRates ?? {}, clock);
  const { assertionAudience } = settings;
  const tokens = tokenApi({ clock, store, principals, ring, issue, limit, assertionAudience });
  const scopes = scopesOf(streams);
  const implementation = {
    ...tenancyApi({ clock, authorize, tenants, subscriptions }),
    ...principalApi({ clock, random, authorize, scopeToChange: scopes.toChange, ...streams, owners }),
    ...roleAssignmentApi({ clock, authorize, principals, assignments, assigning, owners }),
    ...tokens,
    async checkPermission({ principal, action, scope }: CheckPermissionRequest, call: Call) {
      await requireOwnOrService(authorize, principal, call);
      const position = await store.head();
      const permission = await permissionOf(idOf(principal), action, scope);
      const { grantedActions, grantedNotActions } = permission;
      return {
        ...permission,
        grantedActions: [...grantedActions],
        grantedNotActions: [...grantedNotActions],
        position,
      };
    },
  };
  const definition = IdentityServiceDefinition;
  return {
    services: [service({ definition, implementation, authorization: authorizationWith(scopes) })],
    toFact,
    reactions: [{ source: 'key-vault', handlers: reactor({ clock, assignments }) }],
    background: [watchOwners({ owners, clock, log })],
    authority: { keys: tokens.getJsonWebKeySet, check },
  };
};

/** @throws Rejection PERMISSION_DENIED ACCESS_DENIED for the permissions of another principal; UNAUTHENTICATED PRINCIPAL_DELETED */
const requireOwnOrService = async (authorize: Authorizer, principal: string, call: Call): Promise<void> => {
  const caller = principalOf(call);
  if (caller.kind === 'workload') return;
  await requireActive(authorize, caller);
  if (caller.name === principal) return;
  throw new Rejection(
    'PERMISSION_DENIED',
    'ACCESS_DENIED',
    `principal must be the caller, ${caller.name}: only services check the permissions of others`,
    { principal: caller.name, field: 'principal' },
  );
};

const idOf = (principal: string): string => names.principal.parse(principal, 'principal').principal;

/** Scopes on which a permission is needed. */
interface Scopes {
  /**
   * Where a caller needs permission to change a principal: its tenant; for a principal of a service, or with a role on the
   * platform, the platform, because its secret would give rights above every tenant.
   */
  toChange(principal: string): Promise<string>;
  /** Scope of a role assignment. */
  ofAssignment(name: string): Promise<string>;
}

const scopesOf = ({
  principals,
  assignments,
}: {
  readonly principals: Category<Principal, PrincipalEvent>;
  readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
}): Scopes => ({
  async toChange(principal) {
    const { state } = await principals.load(idOf(principal));
    if (state.status === 'absent' || state.workload !== undefined) return '/';
    const held = await assignments.listAll({ index: { index: 'principal', value: principal } });
    return held.some((one) => one.state.status === 'assigned' && one.state.scope === '/') ? '/' : state.tenant;
  },
  async ofAssignment(name) {
    const { state } = await assignments.load(names.roleAssignment.parse(name, 'name').roleAssignment);
    return state.status === 'absent' ? '/' : state.scope;
  },
});

const byRole =
  'identity/roleAssignments on the scope; for roles about keys alone identity/keyVaultRoleAssignments is enough';

const authorizationWith = (scopes: Scopes): Authorization<typeof IdentityServiceDefinition> => ({
  createTenant: { action: 'identity/tenants/write', scope: () => '/' },
  getTenant: { action: 'identity/tenants/read', scope: ({ name }) => name },
  listTenants: { action: 'identity/tenants/read', scope: () => '/' },
  createSubscription: { action: 'identity/subscriptions/write', scope: () => '/' },
  getSubscription: { action: 'identity/subscriptions/read', scope: ({ name }) => name },
  listSubscriptions: { authenticated: true, why: 'every caller may list the subscriptions of a tenant' },
  createPrincipal: { action: 'identity/principals/write', scope: ({ tenant }) => tenant },
  createManagedIdentity: { workload: ['disk-encryption-set'] },
  getPrincipal: {
    authenticated: true,
    why: 'identity/principals/read on its tenant, or the disk-encryption-set service',
  },
  listPrincipals: { authenticated: true, why: "identity/principals/read on the tenant, by default the caller's" },
  deletePrincipal: {
    authenticated: true,
    why: 'identity/principals/delete on its tenant, or the service that owns the identity',
  },
  addSecret: { action: 'identity/principalSecrets/write', scope: ({ principal }) => scopes.toChange(principal) },
  removeSecret: { action: 'identity/principals/write', scope: ({ principal }) => scopes.toChange(principal) },
  issueToken: { public: true },
  issueManagedIdentityToken: { workload: ['disk'] },
  getJsonWebKeySet: { public: true },
  rotateSigningKey: { action: 'identity/signingKeys/write', scope: () => '/' },
  listSigningKeys: { action: 'identity/signingKeys/read', scope: () => '/' },
  listRoles: { authenticated: true, why: 'the list is the same for every caller' },
  createRoleAssignment: { authenticated: true, why: byRole },
  getRoleAssignment: { action: 'identity/roleAssignments/read', scope: ({ name }) => scopes.ofAssignment(name) },
  listRoleAssignments: { action: 'identity/roleAssignments/read', scope: ({ scope }) => scope || '/' },
  deleteRoleAssignment: { authenticated: true, why: byRole },
  checkPermission: { authenticated: true, why: 'services about every principal, other callers about themselves' },
});
