import type { AccessReason } from './reasons.ts';

/** Which key cannot be used, and why. Full names. */
export interface UnusableKey {
  readonly reason: AccessReason;
  readonly keyVersion: string;
  readonly set: string;
}

/** The text for a customer. If a public cloud has a text for the reason, this is the same text, because clients match on it. */
export const messageOf = ({ reason, keyVersion, set }: UnusableKey): string => {
  const key = `The key vault key '${keyVersion}' used for disk encryption set '${set}'`;
  const vault = `The vault of key '${keyVersion}' used for disk encryption set '${set}'`;
  switch (reason) {
    case 'KEY_DISABLED':
      return `${key} must be in the enabled state.`;
    case 'KEY_EXPIRED':
      return `Unable to access key '${keyVersion}'. Key is expired.`;
    case 'ACCESS_DENIED':
      return (
        `Unable to access key vault resource '${keyVersion}' to enable encryption at rest. Please grant get, wrap and ` +
        `unwrap key permissions to disk encryption set '${set}'. Please visit https://aka.ms/keyvaultaccessssecmk for more information.`
      );
    case 'KEY_NOT_YET_VALID':
      return `${key} is not valid yet.`;
    case 'KEY_DELETED':
      return `${key} is deleted. Recover it, or assign another key to the disk encryption set.`;
    case 'KEY_PURGED':
      return `${key} is purged. The data it protected is lost for good.`;
    case 'KEY_VERSION_NOT_FOUND':
      return `${key} does not exist.`;
    case 'VAULT_DELETED':
      return `${vault} is deleted. Recover it and grant access again.`;
    case 'IDENTITY_DELETED':
      return `The identity of disk encryption set '${set}' no longer exists, so no access token for key '${keyVersion}' can be acquired.`;
    case 'KEY_VAULT_UNREACHABLE':
      return `${vault} is not reachable. Try again later.`;
    case 'THROTTLED':
      return `${vault} has too many requests. Try again later.`;
  }
};
