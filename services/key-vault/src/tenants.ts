import type { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, principalOf, type RpcClient } from '@interlock/rpc';

/** Entries of one page of identity's list. */
const pageSize = 1_000;

/**
 * Finds the tenant of a subscription among those of the caller's own tenant: nobody makes a vault in another's.
 * @throws Rejection (the lookup) NOT_FOUND SUBSCRIPTION_NOT_FOUND
 */
export const tenantLookup =
  (identity: Pick<RpcClient<typeof IdentityServiceDefinition>, 'listSubscriptions'>) =>
  async (subscription: string, call: Call): Promise<string> => {
    const tenant = `tenants/${principalOf(call).tenant}`;
    let pageToken = '';
    do {
      const page = await identity.listSubscriptions({ tenant, pageSize, pageToken });
      if (page.subscriptions.some(({ name }) => name === subscription)) return tenant;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    throw new Rejection('NOT_FOUND', 'SUBSCRIPTION_NOT_FOUND', `${subscription} is no subscription of ${tenant}`, {
      subscription,
      tenant,
    });
  };
