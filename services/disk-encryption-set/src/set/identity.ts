import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { loseIdentity } from './access.ts';
import { activeSet } from './decider.ts';
import type { SetEvent } from './events.ts';
import { FINAL_EPOCH } from './reasons.ts';
import { type DiskEncryptionSet, keyVersionsOf, type LivingSet } from './state.ts';

/**
 * Takes the identity away: from this commit on nothing under the set has access to a key, and it is told so. Without one
 * it decides nothing (CMK-38).
 * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY
 */
export const removeIdentity =
  (at: Instant, traceId: string) =>
  (state: DiskEncryptionSet): readonly SetEvent[] => {
    const set = activeSet(state);
    const { principal } = set;
    if (principal === '') return [];
    return [{ type: 'IdentityRemoved', principal, at }, ...loseIdentity(at, traceId)(set)];
  };

/**
 * Gives the set another identity where it has none, or where the one it has was deleted. It begins without any grant. One
 * that is there, or on its way, decides nothing.
 * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY
 */
export const replaceIdentity =
  (at: Instant, principal: string) =>
  (state: DiskEncryptionSet): readonly SetEvent[] => {
    const set = activeSet(state);
    if (set.principal !== '' && !isIdentityGone(set)) return [];
    return [{ type: 'IdentityReplaced', principal, generation: set.generation + 1, at }];
  };

/** The principal of a removed identity is gone. */
export const retireIdentity =
  (at: Instant, principal: string) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status !== 'absent' && set.identity.retiring.includes(principal)
      ? [{ type: 'IdentityRetired', principal, at }]
      : [];

/** The principal of the new identity exists: what it may do is asked, for it may have its grants already. */
export const completeIdentity =
  (at: Instant, principal: string) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (set.status !== 'active' || set.principal !== principal || set.identity.isMade) return [];
    return [
      { type: 'IdentityMade', principal, at },
      ...keyVersionsOf(set).map(
        (keyVersion) => ({ type: 'KeyAccessQuestioned', keyVersion, epoch: 0, since: at, traceId: '' }) as const,
      ),
    ];
  };

/** Whether the identity was deleted behind the back of the set; its number says so, also where a more telling reason is shown. */
const isIdentityGone = (set: LivingSet): boolean =>
  Object.values(set.access).some((known) => known.state === 'lost' && known.epoch === FINAL_EPOCH);

/** @returns the refusal of a change decided for an identity that the set has no longer */
export const identityChanged = (principal: string): Rejection =>
  new Rejection(
    'ABORTED',
    'IDENTITY_CHANGED',
    `the identity of the set is no longer ${principal || 'none'}: read it again and decide again`,
    { principal },
  );
