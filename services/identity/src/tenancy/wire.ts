import type {
  Subscription as WireSubscription,
  Tenant as WireTenant,
} from '@interlock/contracts/interlock/identity/v1/tenant.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import type { Subscription, Tenant } from './decider.ts';

/** A tenant as the API shows it. @throws Rejection NOT_FOUND TENANT_NOT_FOUND */
export const tenantOnWire = ({ id, state, version }: Loaded<Tenant>): WireTenant => {
  const name = `tenants/${id}`;
  if (state.status === 'absent')
    throw new Rejection('NOT_FOUND', 'TENANT_NOT_FOUND', `${name} does not exist`, { name });
  return { name, displayName: state.displayName, createTime: new Date(state.createdAt), etag: String(version) };
};

/** A subscription as the API shows it. @throws Rejection NOT_FOUND SUBSCRIPTION_NOT_FOUND */
export const subscriptionOnWire = ({ id, state, version }: Loaded<Subscription>): WireSubscription => {
  const name = `subscriptions/${id}`;
  if (state.status === 'absent')
    throw new Rejection('NOT_FOUND', 'SUBSCRIPTION_NOT_FOUND', `${name} does not exist`, { name });
  return {
    name,
    tenant: state.tenant,
    displayName: state.displayName,
    createTime: new Date(state.createdAt),
    etag: String(version),
  };
};
