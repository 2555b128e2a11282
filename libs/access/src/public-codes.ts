import type { AccessReason } from './reasons.ts';

/**
 * Code of each reason in the statuses and refusals of resources under the key (section 12 of customer-managed keys): the code that
 * clients of the public cloud match on, where it has one; otherwise a `KeyVault…` of our own.
 */
export const publicCodes: Readonly<Record<AccessReason, string>> = {
  KEY_DISABLED: 'KeyVaultKeyNotEnabled',
  KEY_NOT_YET_VALID: 'KeyVaultKeyNotYetValid',
  KEY_EXPIRED: 'KeyVaultAccessForbidden',
  KEY_DELETED: 'KeyVaultKeyNotFound',
  KEY_PURGED: 'KeyVaultKeyPurged',
  KEY_VERSION_NOT_FOUND: 'KeyVaultKeyNotFound',
  VAULT_DELETED: 'KeyVaultNotFound',
  ACCESS_DENIED: 'KeyVaultAccessForbidden',
  IDENTITY_DELETED: 'KeyVaultAccessTokenCannotBeAcquired',
  KEY_VAULT_UNREACHABLE: 'KeyVaultUnreachable',
  THROTTLED: 'KeyVaultThrottled',
};
