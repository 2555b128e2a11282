import {
  NetworkRules_DefaultAction as DefaultAction,
  type NetworkRules,
  type Vault,
} from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import { RestError } from '../errors/rest-error.ts';

/** Members of a request about the network of a vault. */
export interface NetworkGiven {
  readonly publicNetworkAccess?: string | undefined;
  readonly networkAcls?:
    | {
        readonly bypass?: string | undefined;
        readonly defaultAction?: string | undefined;
        readonly ipRules?: readonly { readonly value: string }[] | undefined;
      }
    | undefined;
}

/** Those of a vault whose keys can be reached from everywhere. */
const open: NetworkRules = {
  defaultAction: DefaultAction.ALLOW,
  bypassTrustedServices: true,
  ipRules: [],
  publicAccessDisabled: false,
};

/**
 * The rules of a vault after a request; what is absent stays.
 * @returns undefined if they stay as they are
 * @throws RestError 400 for a value that is not allowed
 */
export const networkRulesAfter = (
  before: NetworkRules = open,
  { publicNetworkAccess, networkAcls: acls }: NetworkGiven,
): NetworkRules | undefined => {
  const isDenied = wordOf('networkAcls.defaultAction', acls?.defaultAction, ['Allow', 'Deny']);
  const isBypassed = wordOf('networkAcls.bypass', acls?.bypass, ['None', 'AzureServices']);
  const isDisabled = wordOf('publicNetworkAccess', publicNetworkAccess, ['Enabled', 'Disabled']);
  const after: NetworkRules = {
    defaultAction: isDenied === undefined ? before.defaultAction : isDenied ? DefaultAction.DENY : DefaultAction.ALLOW,
    bypassTrustedServices: isBypassed ?? before.bypassTrustedServices,
    ipRules: acls?.ipRules?.map(({ value }) => (value.includes('/') ? value : `${value}/32`)) ?? before.ipRules,
    publicAccessDisabled: isDisabled ?? before.publicAccessDisabled,
  };
  return JSON.stringify(after) === JSON.stringify({ ...open, ...before }) ? undefined : after;
};

/** Whether a word is the second of two; compared without case. @returns undefined for an absent word */
const wordOf = (
  field: string,
  given: string | undefined,
  [no, yes]: readonly [string, string],
): boolean | undefined => {
  if (given === undefined) return undefined;
  const word = given.toLowerCase();
  if (word === yes.toLowerCase()) return true;
  if (word === no.toLowerCase()) return false;
  throw new RestError(400, 'BadRequest', `properties.${field} must be ${no} or ${yes} (got "${given.slice(0, 50)}")`);
};

/** Members of `properties` about the network, as clients read them. */
export const networkShown = (
  { networkRules = open }: Pick<Vault, 'networkRules'>,
  virtualNetworkRules: readonly { readonly id: string }[],
) => ({
  publicNetworkAccess: networkRules.publicAccessDisabled ? 'Disabled' : 'Enabled',
  networkAcls: {
    bypass: networkRules.bypassTrustedServices ? 'AzureServices' : 'None',
    defaultAction: networkRules.defaultAction === DefaultAction.DENY ? 'Deny' : 'Allow',
    ipRules: networkRules.ipRules.map((value) => ({ value })),
    virtualNetworkRules,
  },
});
