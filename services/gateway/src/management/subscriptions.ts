import type { Subscription, Tenant } from '@interlock/contracts/interlock/identity/v1/tenant.ts';
import { Rejection } from '@interlock/event-store';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { type Route, route } from '../http/route.ts';

/** Most subscriptions that are listed. */
const pageSize = 1_000;

/** Regions that tools offer; services accept others too. */
export const regions = ['westeurope', 'northeurope', 'germanywestcentral', 'eastus', 'westus2'];

const regionBody = (subscription: string, name: string): unknown => ({
  id: `/subscriptions/${subscription}/locations/${name}`,
  name,
  type: 'Region',
  displayName: name,
  regionalDisplayName: name,
  metadata: { regionType: 'Physical', regionCategory: 'Recommended' },
});

/** Tenants and subscriptions. */
export const subscriptionRoutes = ({
  backends,
  names,
}: {
  readonly backends: Pick<Backends, 'identity'>;
  readonly names: CloudNames;
}): readonly Route[] => {
  const { identity } = backends;
  const common = { method: 'GET', host: 'gateway' } as const;
  return [
    route({
      ...common,
      path: '/subscriptions',
      does: "Lists the subscriptions of the caller's tenant",
      handle: async (_request, caller) => {
        const { subscriptions } = await identity.listSubscriptions({ pageSize }, caller.as('identity'));
        return { body: { value: subscriptions.map((one) => subscriptionBody(names, one)) } };
      },
    }),
    route({
      ...common,
      path: '/subscriptions/:subscription',
      does: 'Reads a subscription',
      handle: async ({ params }, caller) => {
        const name = `subscriptions/${names.subscriptions.inner(params.subscription)}`;
        return { body: subscriptionBody(names, await identity.getSubscription({ name }, caller.as('identity'))) };
      },
    }),
    route({
      ...common,
      path: '/subscriptions/:subscription/locations',
      does: 'Lists regions; services accept others too',
      handle: ({ params }) => ({ body: { value: regions.map((name) => regionBody(params.subscription, name)) } }),
    }),
    route({
      ...common,
      path: '/tenants',
      does: "Lists the caller's tenant",
      handle: async (_request, caller) => ({
        body: { value: [tenantBody(names, caller, await readTenant(identity, caller))] },
      }),
    }),
  ];
};

/** Ids of the subscriptions that a caller sees, as clients write them. */
export const openSubscriptionsOf =
  ({ backends, names }: { readonly backends: Pick<Backends, 'identity'>; readonly names: CloudNames }) =>
  async (caller: Caller): Promise<readonly string[]> => {
    const { subscriptions } = await backends.identity.listSubscriptions({ pageSize }, caller.as('identity'));
    return subscriptions.map(({ name }) => names.subscriptions.shown(name.replace('subscriptions/', '')));
  };

/** The caller's tenant; undefined if the caller may not read it. */
const readTenant = async (identity: Backends['identity'], caller: Caller): Promise<Tenant | undefined> => {
  try {
    return await identity.getTenant({ name: `tenants/${caller.tenant}` }, caller.as('identity'));
  } catch (error) {
    if (error instanceof Rejection && error.code === 'PERMISSION_DENIED') return undefined;
    throw error;
  }
};

const tenantBody = (names: CloudNames, caller: Caller, tenant: Tenant | undefined): unknown => {
  const tenantId = names.tenants.shown(caller.tenant);
  return {
    id: `/tenants/${tenantId}`,
    tenantId,
    displayName: tenant?.displayName ?? caller.tenant,
    tenantCategory: 'Home',
  };
};

const subscriptionBody = (names: CloudNames, { name, tenant, displayName }: Subscription): unknown => {
  const subscriptionId = names.subscriptions.shown(name.replace('subscriptions/', ''));
  return {
    id: `/subscriptions/${subscriptionId}`,
    subscriptionId,
    tenantId: names.tenants.shown(tenant.replace('tenants/', '')),
    displayName,
    state: 'Enabled',
    authorizationSource: 'RoleBased',
    managedByTenants: [],
  };
};
