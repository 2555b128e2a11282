import { FINAL_EPOCH } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { loseIdentity } from './access.ts';
import { activeSet } from './decider.ts';
import type { SetEvent } from './events.ts';
import { type DiskEncryptionSet, keyVersionsOf, type LivingSet } from './state.ts';

/**
 * Removes the identity, and with it all access to keys, in one commit (CMK-38).
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
 * Gives the set another identity, if it has none or its identity was deleted: one of its own, without grants, or one that a user
 * created. The same kind again decides nothing.
 * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY,
 *   IDENTITY_PRESENT if it has another one
 */
export const replaceIdentity =
  (at: Instant, principal: string, userAssigned = false) =>
  (state: DiskEncryptionSet): readonly SetEvent[] => {
    const set = activeSet(state);
    const { principal: current, userAssigned: isGiven = false, identity } = set;
    if (identity.former?.includes(principal)) throw hadBefore(principal);
    if (current !== '' && !isIdentityGone(set)) {
      if (userAssigned === isGiven && (!userAssigned || current === principal)) return [];
      throw identityPresent(current);
    }
    const generation = set.generation + 1;
    return [{ type: 'IdentityReplaced', principal, ...(userAssigned && { userAssigned }), generation, at }];
  };

const hadBefore = (principal: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'IDENTITY_NOT_ASSIGNABLE',
    `user_assigned_identity: the set had ${principal} before, and its removal is final for the disks of the set: give it another one`,
    { field: 'user_assigned_identity', principal },
  );

const identityPresent = (principal: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'IDENTITY_PRESENT',
    `the set has the identity ${principal}: remove it first (identity_type NONE), which stops machines until the next one has access`,
    { principal },
  );

/** The principal of a removed identity is deleted. */
export const retireIdentity =
  (at: Instant, principal: string) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status !== 'absent' && set.identity.retiring.includes(principal)
      ? [{ type: 'IdentityRetired', principal, at }]
      : [];

/** The principal of the new identity exists. Its access is checked: it may have grants already. */
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

/** Whether the principal of the identity was deleted: the epoch shows it, whatever the reason. */
const isIdentityGone = (set: LivingSet): boolean =>
  Object.values(set.access).some((known) => known.state === 'lost' && known.epoch === FINAL_EPOCH);

/** The refusal of a change decided for an identity that the set no longer has. */
export const identityChanged = (principal: string): Rejection =>
  new Rejection(
    'ABORTED',
    'IDENTITY_CHANGED',
    `the identity of the set is no longer ${principal || 'none'}: read the set and repeat the call`,
    { principal },
  );
