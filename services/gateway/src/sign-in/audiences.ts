import type { Workload } from '@interlock/rpc';
import type { CloudNames } from '../cloud/names.ts';
import type { TokenUse } from '../http/route.ts';

/** Services of the cloud that a token of each use reaches. */
export const servicesOf: Readonly<Record<TokenUse, readonly Workload[]>> = {
  management: ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'],
  vault: ['key-vault'],
  directory: ['identity'],
};

/**
 * What a token with this audience is for; undefined for an unknown audience. SDKs request the public cloud's management audience
 * whatever their endpoint is, and some add a slash.
 */
export const useOfAudience = ({ gateway, vaultSuffix }: CloudNames, audience: string): TokenUse | undefined => {
  const bare = audience.toLowerCase().replace(/\/$/, '');
  if ([gateway, 'https://management.azure.com', 'https://management.core.windows.net'].includes(bare))
    return 'management';
  if ([`https://${vaultSuffix}`, 'https://vault.azure.net'].includes(bare)) return 'vault';
  if ([`${gateway}/graph`, 'https://graph.microsoft.com'].includes(bare)) return 'directory';
  return undefined;
};

/** The audience in a scope: everything before exactly one `/.default`. */
export const audienceOfScope = (scope: string): string | undefined =>
  scope
    .split(' ')
    .find((one) => one.endsWith('/.default'))
    ?.slice(0, -'/.default'.length);
