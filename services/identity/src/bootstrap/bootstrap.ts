import { type Category, type Cause, type EventStore, Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import * as principal from '../principal/decider.ts';
import type { PrincipalEvent, PrincipalType } from '../principal/events.ts';
import type { Assigning } from '../role-assignment/assigning.ts';
import type { RoleAssignment } from '../role-assignment/decider.ts';
import type { RoleAssignmentEvent } from '../role-assignment/events.ts';
import * as tenancy from '../tenancy/decider.ts';
import type { SubscriptionEvent, TenantEvent } from '../tenancy/events.ts';

/** What exists before the first request: a tenant, the first administrator, and the services' principals. */
export interface Bootstrap {
  readonly tenant: { readonly id: string; readonly displayName: string };
  readonly subscriptions: readonly { readonly id: string; readonly displayName: string }[];
  readonly administrator: { readonly principalId: string; readonly displayName: string; readonly secretHash: string };
  readonly workloads: readonly {
    readonly service: string;
    readonly principalId: string;
    readonly secretHash: string;
  }[];
  /** Role assignments, by id. */
  readonly roleAssignments: readonly {
    readonly id: string;
    readonly principalId: string;
    readonly role: string;
    readonly scope: string;
  }[];
}

/** Reads the text of a bootstrap file. @throws Error if a part is missing */
export const parseBootstrap = (text: string): Bootstrap => {
  const given: Partial<Bootstrap> = JSON.parse(text);
  const { tenant, subscriptions, administrator, workloads, roleAssignments } = given;
  if (!tenant || !subscriptions || !administrator || !workloads || !roleAssignments) {
    throw new Error('the bootstrap file must have tenant, subscriptions, administrator, workloads and roleAssignments');
  }
  return { tenant, subscriptions, administrator, workloads, roleAssignments };
};

const cause: Cause = { correlationId: 'bootstrap', causes: [], caller: 'system:bootstrap' };

/** Creates what is missing of the bootstrap. May be repeated at every start and by several replicas. What was removed since stays removed. */
export const applyBootstrap = async (
  bootstrap: Bootstrap,
  parts: {
    readonly store: Pick<EventStore, 'read'>;
    readonly clock: Clock;
    readonly tenants: Category<tenancy.Tenant, TenantEvent>;
    readonly subscriptions: Category<tenancy.Subscription, SubscriptionEvent>;
    readonly principals: Category<principal.Principal, PrincipalEvent>;
    readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
    readonly assigning: Assigning;
  },
): Promise<void> => {
  const at = parts.clock.now();
  const tenant = `tenants/${bootstrap.tenant.id}`;
  await parts.tenants.transact(bootstrap.tenant.id, tenancy.createTenant(at, bootstrap.tenant.displayName), cause);
  for (const { id, displayName } of bootstrap.subscriptions) {
    await parts.subscriptions.transact(id, tenancy.createSubscription(at, { tenant, displayName }), cause);
  }
  const application = async (
    { principalId, secretHash }: { principalId: string; secretHash: string },
    profile: { displayName: string; workload?: string },
  ): Promise<void> => {
    const principalType: PrincipalType = 'application';
    if ((await parts.principals.load(principalId)).state.status === 'deleted') return;
    await parts.principals.transact(principalId, principal.create(at, { tenant, principalType, ...profile }), cause);
    const secretId = principal.bootstrapSecretId(secretHash);
    for (;;) {
      const history = await parts.store.read(`${principal.principals.name}-${principalId}`);
      if (history.some(({ type, data }) => type === 'SecretRemoved' && data.secretId === secretId)) return;
      try {
        // On that history only, so that a concurrent removal at another replica stays.
        const expected = history.length;
        await parts.principals.transact(principalId, principal.addBootstrapSecret(at, secretHash), cause, { expected });
        return;
      } catch (error) {
        if (!(error instanceof Rejection) || error.reason !== 'ETAG_MISMATCH') throw error;
      }
    }
  };
  await application(bootstrap.administrator, { displayName: bootstrap.administrator.displayName });
  for (const workload of bootstrap.workloads) {
    await application(workload, { displayName: workload.service, workload: workload.service });
  }
  for (const { id, principalId, role, scope } of bootstrap.roleAssignments) {
    if ((await parts.assignments.load(id)).state.status === 'removed') continue;
    try {
      await parts.assigning(id, { principal: `principals/${principalId}`, role, scope }, at, cause);
    } catch (error) {
      // The same grant exists under another id.
      if (!(error instanceof Rejection) || error.reason !== 'ROLE_ASSIGNMENT_ALREADY_EXISTS') throw error;
    }
  }
};
