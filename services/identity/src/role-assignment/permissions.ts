import type { Category } from '@interlock/event-store';
import { covers } from '@interlock/rpc';
import type { Principal } from '../principal/decider.ts';
import type { PrincipalEvent } from '../principal/events.ts';
import type { Subscription } from '../tenancy/decider.ts';
import type { SubscriptionEvent } from '../tenancy/events.ts';
import type { RoleAssignment } from './decider.ts';
import type { RoleAssignmentEvent } from './events.ts';
import { allowedWith, allows, roleNamed } from './roles.ts';

/** Whether a principal may do an action on a scope. */
export interface Permission {
  readonly allowed: boolean;
  /** False for a principal that is deleted or does not exist. */
  readonly principalActive: boolean;
  /** Name of the assignment that allows it; empty when none does. */
  readonly roleAssignment: string;
  /** Its scope. */
  readonly grantedAt: string;
  /** Patterns of everything of the same kind that its role allows there. */
  readonly grantedActions: readonly string[];
  /** Exceptions from these. */
  readonly grantedNotActions: readonly string[];
}

/**
 * Decides management and role-based data access (KV-70, KV-73). A role counts on its scope and everything below. Inside a tenant
 * only its own principals count, and those with a role on the platform.
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
      // All that count cover the requested scope, so the shorter of two covers the longer.
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
