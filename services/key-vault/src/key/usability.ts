import type { KeyAccessReason } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { Instant } from '@interlock/runtime';
import type { StandingVault } from '../vault/vault.ts';
import type { KeyOperation } from './events.ts';
import { type Key, type KeyVersion, purgedVersionsOf, versionOf } from './key.ts';

/** Why a version cannot be used, and since when, where that is known. */
export interface Obstacle {
  readonly reason: KeyAccessReason;
  readonly since?: Instant;
}

/**
 * What stands in the way of a version, the first in the order of precedence of the reasons; `undefined`: nothing.
 * A version in a deleted key or vault is still judged by itself first, so one that is disabled besides says so.
 * @param isExpiryIgnored whether `exp` is not looked at (CMK-104: a key's expiry may wait for the next start)
 */
export const obstacleOf = (
  vault: StandingVault,
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
 * Whether the moment lies outside the version's window: begins with `nbf`, ends before `exp` (KV-13). An end that was
 * told has come for every replica, also for one whose clock is behind: nobody is given a yes above the number of a loss. So
 * has a beginning: a no above its number would pass for news, and nothing would tell once more that it is over.
 */
export const dateObstacle = (
  {
    notBefore,
    expiresAt,
    isExpiryTold = false,
    isBeginningTold = true,
  }: Pick<KeyVersion, 'notBefore' | 'expiresAt'> & Partial<KeyVersion>,
  now: Instant,
): Obstacle | undefined => {
  if (!isBeginningTold && notBefore !== undefined && now < notBefore) return { reason: 'KEY_NOT_YET_VALID' };
  const hasEnded = expiresAt !== undefined && (now >= expiresAt || isExpiryTold);
  return hasEnded ? { reason: 'KEY_EXPIRED', since: expiresAt } : undefined;
};

const deletionObstacle = (vault: StandingVault, key: Key): Obstacle | undefined => {
  if (key.status === 'deleted') return { reason: 'KEY_DELETED', since: key.deletedAt };
  return vault.status === 'active' ? undefined : { reason: 'VAULT_DELETED', since: vault.deletedAt };
};

/** Operations of a version that a set needs: its identity's permissions of the same name are worth nothing without them. */
export const diskOperations: readonly KeyOperation[] = ['wrapKey', 'unwrapKey'];

/** Which of the operations a version is not for (KV-88). */
export const withheldOf = (
  { operations }: Pick<KeyVersion, 'operations'>,
  wanted: readonly KeyOperation[],
): readonly KeyOperation[] => wanted.filter((operation) => !operations.includes(operation));

/** Operations that make something new: refused outside of the dates, the others never lock a customer out (KV-13). */
const bound: ReadonlySet<KeyOperation> = new Set(['encrypt', 'wrapKey', 'sign']);

/** Whether the dates of a version matter for the operation (KV-13). */
export const isBoundByDates = (operation: KeyOperation): boolean => bound.has(operation);
