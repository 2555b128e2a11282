import type { Cause } from '@interlock/event-store';
import type { Subscriptions } from '@interlock/host';
import { subscriptionOf } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { KeyReference } from '../set/events.ts';
import { callFor, type KeyVault } from '../sets.ts';
import { checkKey, checkKeyUrl } from './key-rules.ts';

/** The key that a request names for a set. */
export interface KeyWanted {
  /** Name of the set. */
  readonly set: string;
  readonly location: string;
  readonly keyUrl: string;
  readonly sourceVault: string;
  /** `tenants/<t>` of the set if known; otherwise it is looked up. */
  readonly tenant?: string;
}

/** Resolves a wanted key with its vault and checks it against the rules. @throws Rejection as `checkKey` and the vault do */
export type ChooseKey = (
  wanted: KeyWanted,
  cause: Cause,
) => Promise<{ readonly key: KeyReference; readonly tenant: string }>;

/**
 * Makes the check that creation and assignment share. Public facts come from the vault without any use of the key: at a
 * creation no identity exists yet that could be granted anything (CMK-04).
 */
export const keyChoice =
  (parts: {
    readonly clock: Clock;
    readonly keyVault: KeyVault;
    readonly subscriptions: Pick<Subscriptions, 'has'>;
    readonly requirePurgeProtection: boolean;
  }): ChooseKey =>
  async ({ set, location, keyUrl, sourceVault, tenant: known }, cause) => {
    const { clock, keyVault, subscriptions, requirePurgeProtection } = parts;
    const resolved = await keyVault.resolveKeyForEncryption(
      { keyUrl: checkKeyUrl(keyUrl), resource: set },
      callFor(cause),
    );
    const subscription = subscriptionOf(set);
    // A vault in the same subscription is in the same tenant. Only for another subscription, identity is called.
    const isOwnTenant =
      known === undefined
        ? resolved.subscription === subscription || (await subscriptions.has(resolved.tenant, subscription))
        : known === resolved.tenant;
    const request = { location, subscription, isOwnTenant, sourceVault, requirePurgeProtection };
    return { key: checkKey(clock.now(), resolved, request), tenant: resolved.tenant };
  };
