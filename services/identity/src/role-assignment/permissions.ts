import type { Category } from '@interlock/event-store';
import { covers } from '@interlock/rpc';
import type { Principal } from '../principal/decider.ts';
import type { PrincipalEvent } from '../principal/events.ts';
import type { Subscription } from '../tenancy/decider.ts';
import type { SubscriptionEvent } from '../tenancy/events.ts';
import type { RoleAssignment } from './decider.ts';
import type { RoleAssignmentEvent } from './events.ts';
import { allowedWith, allows, roleNamed } from './roles.ts';

/** Whether somebody may do something somewhere. */
export interface Permission {
  readonly allowed: boolean;
  /** False for a principal that is deleted or never was. */
  readonly principalActive: boolean;
  /** Name of the assignment that allows it; empty when none does. */
  readonly roleAssignment: string;
  /** Scope of that assignment: the same is allowed there and everywhere below. Empty when none does. */
  readonly grantedAt: string;
  /** What else of the same kind the role of that assignment allows there and below, as patterns. Empty when none does. */
  readonly grantedActions: readonly string[];
  /** Patterns that are taken away from those again. */
  readonly grantedNotActions: readonly string[];
}

/**
 * Makes the judge of management and role-based data access (KV-70, KV-73).
 *
 * A role counts where its scope covers the asked one. Inside a tenant or its subscriptions only its own principals
 * count, besides those with a role on the whole platform: a role given to a stranger by mistake opens nothing.
 */
export const permissions =
  (parts: {
    readonly principals: Category<Principal, PrincipalEvent>;
    readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
    readonly subscriptions: Category<Subscription, SubscriptionEvent>;
  }) =>
  /** @param principalId UUID @param scope path; `/` is the platform */
  async (principalId: string, action: string, scope: string): Promise<Permission> => {
    const refused = (principalActive: boolean): Permission => ({
      allowed: false,
      principalActive,
      roleAssignment: '',
      grantedAt: '',
      grantedActions: [],
      grantedNotActions: [],
    });
    const { state: principal } = await parts.principals.load(principalId);
    if (principal.status !== 'active') return refused(false);
    const isOwnTenant = await sameTenant(parts.subscriptions, principal.tenant, scope);
    const held = await parts.assignments.listAll({ index: { index: 'principal', value: `principals/${principalId}` } });
    let widest: Omit<Permission, 'allowed' | 'principalActive'> | undefined;
    for (const { id, state: grant } of held) {
      const role = grant.status === 'assigned' ? roleNamed(grant.role) : undefined;
      if (grant.status !== 'assigned' || role === undefined) continue;
      if (!(isOwnTenant || grant.scope === '/') || !covers(grant.scope, scope) || !allows(role, action)) continue;
      // All that count cover the asked scope, so that the shorter of two covers the longer.
      if (widest && widest.grantedAt.length <= grant.scope.length) continue;
      const { actions, notActions } = allowedWith(role, action);
      widest = {
        roleAssignment: `roleAssignments/${id}`,
        grantedAt: grant.scope,
        grantedActions: actions,
        grantedNotActions: notActions,
      };
    }
    return widest ? { allowed: true, principalActive: true, ...widest } : refused(true);
  };

const sameTenant = async (
  subscriptions: Category<Subscription, SubscriptionEvent>,
  tenant: string,
  scope: string,
): Promise<boolean> => {
  const [, collection, id] = /^(tenants|subscriptions)\/([^/]+)/.exec(scope) ?? [];
  if (id === undefined) return true;
  if (collection === 'tenants') return tenant === `tenants/${id}`;
  const { state } = await subscriptions.load(id);
  return state.status === 'active' && state.tenant === tenant;
};
