import type { KeyAccessReason } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { Instant } from '@interlock/runtime';
import type { ExistingVault } from '../vault/vault.ts';
import type { KeyOperation } from './events.ts';
import { type Key, type KeyVersion, purgedVersionsOf, versionOf } from './key.ts';

/** Why a version cannot be used, and since when, if known. */
export interface Obstacle {
  readonly reason: KeyAccessReason;
  readonly since?: Instant;
}

/**
 * The first reason in the order of precedence why a version cannot be used; `undefined`: it can. The state of the version
 * precedes the deletion of its key or vault.
 * @param isExpiryIgnored whether the end date does not count (CMK-104: the expiry of a key may wait for the next start)
 */
export const obstacleOf = (
  vault: ExistingVault,
  key: Key,
  versionId: string,
  now: Instant,
  isExpiryIgnored = false,
): Obstacle | undefined => {
  const version = versionOf(key, versionId);
  if (version) {
    const { expiresAt: _expiresAt, ...endless } = version;
    const outside = dateObstacle(isExpiryIgnored ? endless : version, now);
    return stateObstacle(version) ?? outside ?? deletionObstacle(vault, key);
  }
  return purgedVersionsOf(key).includes(versionId) ? { reason: 'KEY_PURGED' } : { reason: 'KEY_VERSION_NOT_FOUND' };
};

const stateObstacle = ({ enabled, disabledAt }: KeyVersion): Obstacle | undefined =>
  enabled ? undefined : { reason: 'KEY_DISABLED', ...(disabledAt === undefined ? {} : { since: disabledAt }) };

/**
 * Whether `now` is outside the window of a version: from `notBefore` to before `expiresAt` (KV-13). A published end counts for
 * every replica, also if its clock is behind, so that no use is granted at an epoch above that of the loss. So does a
 * published start: a refusal at a higher epoch would look like a new loss, and no event would end it.
 */
export const dateObstacle = (
  {
    notBefore,
    expiresAt,
    isExpiryPublished = false,
    isStartPublished = true,
  }: Pick<KeyVersion, 'notBefore' | 'expiresAt'> & Partial<KeyVersion>,
  now: Instant,
): Obstacle | undefined => {
  if (!isStartPublished && notBefore !== undefined && now < notBefore) return { reason: 'KEY_NOT_YET_VALID' };
  const hasEnded = expiresAt !== undefined && (now >= expiresAt || isExpiryPublished);
  return hasEnded ? { reason: 'KEY_EXPIRED', since: expiresAt } : undefined;
};

const deletionObstacle = (vault: ExistingVault, key: Key): Obstacle | undefined => {
  if (key.status === 'deleted') return { reason: 'KEY_DELETED', since: key.deletedAt };
  return vault.status === 'active' ? undefined : { reason: 'VAULT_DELETED', since: vault.deletedAt };
};

/** The operations that a version does not allow (KV-88). */
export const withheldOf = (
  { operations }: Pick<KeyVersion, 'operations'>,
  wanted: readonly KeyOperation[],
): readonly KeyOperation[] => wanted.filter((operation) => !operations.includes(operation));

/** Operations refused outside the dates. The others are not, so that dates never lock a customer out (KV-13). */
const bound: ReadonlySet<KeyOperation> = new Set(['encrypt', 'wrapKey', 'sign']);

export const isBoundByDates = (operation: KeyOperation): boolean => bound.has(operation);
