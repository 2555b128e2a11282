import type { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, principalOf, type RpcClient, runAsCall, subscriptionOf } from '@interlock/rpc';

/** Entries of one page of identity's list. */
const pageSize = 1_000;

/** Which tenant has which subscriptions. */
export interface Subscriptions {
  /** Whether a tenant (`tenants/<t>`) has a subscription (`subscriptions/<s>`). */
  has(tenant: string, subscription: string): Promise<boolean>;
  /**
   * Checks that a new resource is in a subscription of the caller's own tenant. A role on the whole platform permits to create it
   * anywhere, even in a subscription that does not exist.
   * @param name of the new resource, or of its resource group
   * @returns the tenant, `tenants/<t>`
   * @throws Rejection NOT_FOUND SUBSCRIPTION_NOT_FOUND
   */
  requireOwn(name: string, call: Call): Promise<string>;
}

/**
 * Reads identity's list of subscriptions, which every caller may read. A found subscription is cached for good, because subscriptions are
 * never deleted or moved: many creations in one cost one call for each process. A missing one is looked up again, because it may be
 * created at any time.
 */
export const openSubscriptions = (
  identity: Pick<RpcClient<typeof IdentityServiceDefinition>, 'listSubscriptions'>,
): Subscriptions => {
  const known = new Map<string, Promise<boolean>>();

  const find = async (tenant: string, subscription: string): Promise<boolean> => {
    for (let pageToken = '', isFirst = true; isFirst || pageToken !== ''; isFirst = false) {
      const page = await identity.listSubscriptions({ tenant, pageSize, pageToken });
      if (page.subscriptions.some(({ name }) => name === subscription)) return true;
      pageToken = page.nextPageToken;
    }
    return false;
  };

  const has = async (tenant: string, subscription: string): Promise<boolean> => {
    const key = `${tenant} ${subscription}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    // Concurrent calls wait for the same result, and may have more time than this call.
    const finding = runAsCall(undefined, () => find(tenant, subscription));
    known.set(key, finding);
    try {
      const found = await finding;
      if (!found) known.delete(key);
      return found;
    } catch (error) {
      known.delete(key);
      throw error;
    }
  };

  return {
    has,
    async requireOwn(name, call) {
      const tenant = `tenants/${principalOf(call).tenant}`;
      const subscription = subscriptionOf(name);
      if (await has(tenant, subscription)) return tenant;
      throw new Rejection('NOT_FOUND', 'SUBSCRIPTION_NOT_FOUND', `${subscription} is no subscription of ${tenant}`, {
        subscription,
        tenant,
      });
    },
  };
};
