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
   * Sees to it that something new lies in a subscription of the caller's own tenant. Whoever has a role on the whole platform
   * is allowed to make it anywhere, also where there is nothing.
   * @param name of what is to be made, or of its resource group
   * @returns the tenant, `tenants/<t>`
   * @throws Rejection NOT_FOUND SUBSCRIPTION_NOT_FOUND
   */
  requireOwn(name: string, call: Call): Promise<string>;
}

/**
 * Asks identity, by the list that everybody may read. What it has is remembered for good, for no subscription is ever taken away
 * or moved: making many things in one costs one question a process. What it lacks may be made the next moment and is asked about anew.
 */
export const openSubscriptions = (
  identity: Pick<RpcClient<typeof IdentityServiceDefinition>, 'listSubscriptions'>,
): Subscriptions => {
  const known = new Map<string, Promise<boolean>>();

  const ask = async (tenant: string, subscription: string): Promise<boolean> => {
    for (let pageToken = '', isFirst = true; isFirst || pageToken !== ''; isFirst = false) {
      const page = await identity.listSubscriptions({ tenant, pageSize, pageToken });
      if (page.subscriptions.some(({ name }) => name === subscription)) return true;
      pageToken = page.nextPageToken;
    }
    return false;
  };

  const has = async (tenant: string, subscription: string): Promise<boolean> => {
    const question = `${tenant} ${subscription}`;
    const before = known.get(question);
    if (before !== undefined) return before;
    // Those who ask meanwhile wait for the same answer, and may have more time than is left to this call.
    const asked = runAsCall(undefined, () => ask(tenant, subscription));
    known.set(question, asked);
    try {
      const found = await asked;
      if (!found) known.delete(question);
      return found;
    } catch (error) {
      known.delete(question);
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
