import type {
  CreateSubscriptionRequest,
  CreateTenantRequest,
  GetSubscriptionRequest,
  GetTenantRequest,
  ListSubscriptionsRequest,
  ListTenantsRequest,
} from '@interlock/contracts/interlock/identity/v1/tenant.ts';
import type { Category } from '@interlock/event-store';
import {
  type Authorizer,
  type Call,
  checkId,
  names,
  pageOf,
  pageToken,
  principalOf,
  requireActive,
} from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { createSubscription, createTenant, type Subscription, type Tenant } from './decider.ts';
import type { SubscriptionEvent, TenantEvent } from './events.ts';
import { subscriptionOnWire, tenantOnWire } from './wire.ts';

/** Tenants and subscriptions. */
export const tenancyApi = (parts: {
  readonly clock: Clock;
  readonly authorize: Authorizer;
  readonly tenants: Category<Tenant, TenantEvent>;
  readonly subscriptions: Category<Subscription, SubscriptionEvent>;
}) => {
  const { clock, authorize, tenants, subscriptions } = parts;
  return {
    async createTenant(request: CreateTenantRequest, { cause }: Call) {
      const id = checkId(request.tenantId, 'tenant', 'tenant_id');
      return tenantOnWire(await tenants.transact(id, createTenant(clock.now(), request.displayName || id), cause));
    },
    async getTenant({ name }: GetTenantRequest) {
      return tenantOnWire(await tenants.load(names.tenant.parse(name, 'name').tenant));
    },
    async listTenants(request: ListTenantsRequest) {
      const { items, next } = await tenants.list(pageOf(request));
      return { tenants: items.map(tenantOnWire), nextPageToken: pageToken(next) };
    },
    async createSubscription(request: CreateSubscriptionRequest, { cause }: Call) {
      const id = checkId(request.subscriptionId, 'subscription', 'subscription_id');
      const { tenant } = names.tenant.parse(request.tenant, 'tenant');
      tenantOnWire(await tenants.load(tenant));
      const profile = { tenant: request.tenant, displayName: request.displayName || id };
      return subscriptionOnWire(await subscriptions.transact(id, createSubscription(clock.now(), profile), cause));
    },
    async getSubscription({ name }: GetSubscriptionRequest) {
      return subscriptionOnWire(await subscriptions.load(names.subscription.parse(name, 'name').subscription));
    },
    async listSubscriptions(request: ListSubscriptionsRequest, call: Call) {
      await requireActive(authorize, principalOf(call));
      const tenant = request.tenant || `tenants/${principalOf(call).tenant}`;
      names.tenant.parse(tenant, 'tenant');
      const { items, next } = await subscriptions.list({
        ...pageOf(request),
        index: { index: 'tenant', value: tenant },
      });
      return { subscriptions: items.map(subscriptionOnWire), nextPageToken: pageToken(next) };
    },
  };
};
