import type { Failure, KeyLoss, LossReason } from './machine.ts';

/** Whether nobody decided anything: the vault just gives no answer. */
export const isOutage = (reason: LossReason): boolean => reason === 'KEY_VAULT_UNREACHABLE' || reason === 'THROTTLED';

/** The number of a loss that no vault decided: whoever lost its identity lost every key, whatever the vault's count. */
export const FINAL_EPOCH = Number.MAX_SAFE_INTEGER;

/** The status a caller is refused with for that reason. */
export const statusOf = (reason: LossReason): Failure['status'] => {
  if (reason === 'ACCESS_DENIED') return 'PERMISSION_DENIED';
  return isOutage(reason) ? 'UNAVAILABLE' : 'FAILED_PRECONDITION';
};

/** The words clients of public clouds match on (errors customers see), and our own where there are none. */
export const lossMessage = ({ reason, keyVersion, set }: Pick<KeyLoss, 'reason' | 'keyVersion' | 'set'>): string => {
  const key = `The key vault key '${keyVersion}' used for disk encryption set '${set}'`;
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
      return `The vault of key '${keyVersion}' used for disk encryption set '${set}' is deleted. Recover it and grant access again.`;
    case 'IDENTITY_DELETED':
      return `The identity of disk encryption set '${set}' no longer exists, so no access token for key '${keyVersion}' can be acquired.`;
    case 'KEY_VAULT_UNREACHABLE':
      return `The vault of key '${keyVersion}' used for disk encryption set '${set}' gives no answer. Try again later.`;
    case 'THROTTLED':
      return `The vault of key '${keyVersion}' used for disk encryption set '${set}' has too many requests. Try again later.`;
  }
};
