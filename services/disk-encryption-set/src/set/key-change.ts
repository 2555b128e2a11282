import type { Instant } from '@interlock/runtime';
import { activeSet } from './decider.ts';
import type { KeyReference, SetEvent } from './events.ts';
import { identityChanged } from './identity.ts';
import type { LossReason } from './reasons.ts';
import type { DiskEncryptionSet, Rotation } from './state.ts';

/** The yes of a vault to an identity. */
export interface Yes {
  readonly epoch: number;
  readonly principal: string;
}

/**
 * Names another key version and begins the move to it (CMK-33, CMK-80). The active version again decides nothing. The
 * new one is available from the moment of the change, so that machines can start, and is asked about once more: what
 * happened to it before it was the set's was heard as none of its business.
 * @param yes of the vault to the identity, for the new version
 * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY; ABORTED
 *   IDENTITY_CHANGED when the yes was given to another identity
 */
export const assignKey =
  (at: Instant, key: KeyReference, { epoch, principal }: Yes) =>
  (state: DiskEncryptionSet): readonly SetEvent[] => {
    const set = activeSet(state);
    const { activeKey, generation, principal: current } = set;
    const { keyVersion } = key;
    if (activeKey.keyVersion === keyVersion) return [];
    if (current !== principal) throw identityChanged(principal);
    const previousKeyVersion = activeKey.keyVersion;
    // Of a version that it is about to leave the set has heard facts all the time, also since the yes.
    const known = set.access[keyVersion];
    const isLostSince = known?.state === 'lost' && known.epoch > epoch;
    const isInQuestion = (set.questions[keyVersion]?.epoch ?? -1) >= epoch;
    return [
      { type: 'KeyAssigned', key, previousKeyVersion, generation: generation + 1, at },
      ...(isLostSince ? [] : [{ type: 'KeyAccessRestored', keyVersion, epoch, at } as const]),
      ...(isInQuestion ? [] : [{ type: 'KeyAccessQuestioned', keyVersion, epoch, since: at, traceId: '' } as const]),
    ];
  };

/** Something about the versions of the key changed: the newest is to be looked at, where the set follows it (CMK-81). */
export const noticeNewer =
  (position: number) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status === 'active' && set.options.autoKeyRotation && (set.following.due ?? -1) < position
      ? [{ type: 'NewerVersionNoticed', position }]
      : [];

/** What a look at the newest version was about: of no use once the set has another key, or does not follow any more. */
export interface Look {
  /** Of the set when the newest version was asked for. */
  readonly generation: number;
  /** What had been noticed by then. */
  readonly position: number;
}

/**
 * Takes the newest version, or notes that the active one is the newest. A set whose key somebody changed meanwhile keeps
 * that; what was noticed is looked at again.
 */
export const followNewest =
  (at: Instant, { generation, position }: Look, newer?: { readonly key: KeyReference; readonly yes: Yes }) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!isFollowing(set, generation)) return [];
    const assigned = newer === undefined ? [] : assignKey(at, newer.key, newer.yes)(set);
    const { due, error } = set.following;
    const isNoted = due === null && error === null;
    return [...assigned, ...(isNoted ? [] : [{ type: 'NewestFollowed', position, at } as const])];
  };

/** The newest version cannot be taken; nothing else changes (CMK-37, CMK-87). The same obstacle again is noted once. */
export const missNewest =
  (
    at: Instant,
    { generation, position }: Look,
    obstacle: { readonly keyVersion: string; readonly code: string; readonly message: string },
  ) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!isFollowing(set, generation)) return [];
    const { due, error } = set.following;
    const isNoted = due === null && error?.keyVersion === obstacle.keyVersion && error.code === obstacle.code;
    return isNoted ? [] : [{ type: 'NewestNotFollowed', position, ...obstacle, at }];
  };

const isFollowing = (
  set: DiskEncryptionSet,
  generation: number,
): set is Extract<DiskEncryptionSet, { status: 'active' }> =>
  set.status === 'active' && set.options.autoKeyRotation && set.generation === generation;

/** Tells how far the move is. Decides nothing for a move that another has overtaken, or when nothing is new. */
export const progressRotation =
  (at: Instant, generation: number, count: { readonly resourcesCount: number; readonly doneCount: number }) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!isMoving(set, generation)) return [];
    const { rotation } = set;
    const isKnown = rotation.resourcesCount === count.resourcesCount && rotation.doneCount === count.doneCount;
    return isKnown ? [] : [{ type: 'RotationProgressed', generation, ...count, at }];
  };

/**
 * Something cannot move until a version can be used or its owner agrees, or for another reason, which `code` names then; the
 * rest has moved (CMK-83, CMK-88).
 */
export const waitForKey =
  (
    at: Instant,
    generation: number,
    wait: { readonly reason: LossReason | 'UNKNOWN'; readonly keyVersion: string; readonly code?: string },
  ) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!isMoving(set, generation)) return [];
    const { progress } = set.rotation;
    const isKnown =
      progress.status === 'waiting' &&
      progress.reason === wait.reason &&
      progress.keyVersion === wait.keyVersion &&
      progress.code === wait.code;
    return isKnown ? [] : [{ type: 'RotationWaiting', generation, ...wait, at }];
  };

/** Takes a waiting move up again; one that runs, or none, decides nothing. */
export const resumeRotation =
  (at: Instant) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    const { rotation } = activeSet(set);
    return rotation?.progress.status === 'waiting'
      ? [{ type: 'RotationResumed', generation: rotation.generation, at }]
      : [];
  };

/** Everything is under the active key: no older version is needed any more (CMK-34, CMK-89). */
export const finishRotation =
  (at: Instant, generation: number) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!isMoving(set, generation)) return [];
    return [{ type: 'RotationFinished', keyVersion: set.activeKey.keyVersion, generation, at }];
  };

/** Whether the move to that generation is the newest and not finished. */
export const isMoving = (
  set: DiskEncryptionSet,
  generation: number,
): set is Extract<DiskEncryptionSet, { status: 'active' }> & { readonly rotation: Rotation } =>
  set.status === 'active' && set.rotation?.generation === generation && set.rotation.progress.status !== 'finished';
