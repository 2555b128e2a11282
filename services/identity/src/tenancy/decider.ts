import { type CategoryDefinition, Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { SubscriptionEvent, TenantEvent } from './events.ts';

/** An organization. absent ──create──▶ active. */
export type Tenant =
  | { readonly status: 'absent' }
  | { readonly status: 'active'; readonly displayName: string; readonly createdAt: Instant };

/** A tenant's container of resources. absent ──create──▶ active. */
export type Subscription =
  | { readonly status: 'absent' }
  | { readonly status: 'active'; readonly tenant: string; readonly displayName: string; readonly createdAt: Instant };

/** How tenants are stored. */
export const tenants: CategoryDefinition<Tenant, TenantEvent> = {
  name: 'tenant',
  readable: ['displayName', 'at'],
  stateVersion: 1,
  initial: { status: 'absent' },
  evolve: (_tenant, event) => ({ status: 'active', displayName: event.displayName, createdAt: event.at }),
};

/** How subscriptions are stored and listed: by tenant. */
export const subscriptions: CategoryDefinition<Subscription, SubscriptionEvent> = {
  name: 'subscription',
  readable: ['tenant', 'displayName', 'at'],
  stateVersion: 1,
  initial: { status: 'absent' },
  evolve: (_subscription, event) => ({
    status: 'active',
    tenant: event.tenant,
    displayName: event.displayName,
    createdAt: event.at,
  }),
  indexes: (subscription) =>
    subscription.status === 'active' ? [{ index: 'tenant', value: subscription.tenant }] : [],
};

/** Creates a tenant; a repeat has no effect. @throws Rejection ALREADY_EXISTS TENANT_ALREADY_EXISTS */
export const createTenant =
  (at: Instant, displayName: string) =>
  (tenant: Tenant): readonly TenantEvent[] => {
    if (tenant.status === 'absent') return [{ type: 'TenantCreated', displayName, at }];
    if (tenant.displayName === displayName) return [];
    throw new Rejection(
      'ALREADY_EXISTS',
      'TENANT_ALREADY_EXISTS',
      'this tenant id is taken by one with another display_name',
      {
        field: 'tenant_id',
        differs: 'display_name',
      },
    );
  };

/** Creates a subscription; a repeat has no effect. @throws Rejection ALREADY_EXISTS SUBSCRIPTION_ALREADY_EXISTS */
export const createSubscription =
  (at: Instant, profile: { readonly tenant: string; readonly displayName: string }) =>
  (subscription: Subscription): readonly SubscriptionEvent[] => {
    if (subscription.status === 'absent') return [{ type: 'SubscriptionCreated', ...profile, at }];
    const differs = [
      ...(subscription.tenant === profile.tenant ? [] : ['tenant']),
      ...(subscription.displayName === profile.displayName ? [] : ['display_name']),
    ].join(', ');
    if (differs === '') return [];
    const message = `this subscription id is taken by one with another ${differs}`;
    throw new Rejection('ALREADY_EXISTS', 'SUBSCRIPTION_ALREADY_EXISTS', message, {
      field: 'subscription_id',
      differs,
    });
  };
