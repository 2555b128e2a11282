import type { LossReason } from '@interlock/access';
import type { Instant } from '@interlock/runtime';
import { activeSet } from './decider.ts';
import type { KeyReference, SetEvent } from './events.ts';
import { identityChanged } from './identity.ts';
import type { DiskEncryptionSet, Rotation } from './state.ts';

/** The access that a vault granted to an identity. */
export interface GrantedAccess {
  readonly epoch: number;
  readonly principal: string;
}

/**
 * Assigns another key version and starts the rotation to it (CMK-33, CMK-80). The new version is available at once, so that
 * machines can start, and is checked again: earlier facts about it did not concern the set.
 * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY; ABORTED
 *   IDENTITY_CHANGED if access was granted to another identity
 */
export const assignKey =
  (at: Instant, key: KeyReference, { epoch, principal }: GrantedAccess) =>
  (state: DiskEncryptionSet): readonly SetEvent[] => {
    const set = activeSet(state);
    const { activeKey, generation, principal: current } = set;
    const { keyVersion } = key;
    if (activeKey.keyVersion === keyVersion) return [];
    if (current !== principal) throw identityChanged(principal);
    const previousKeyVersion = activeKey.keyVersion;
    // The set has consumed the facts of a version that it is leaving, also since the check.
    const known = set.access[keyVersion];
    const isLostSince = known?.state === 'lost' && known.epoch > epoch;
    const isInQuestion = (set.questions[keyVersion]?.epoch ?? -1) >= epoch;
    return [
      { type: 'KeyAssigned', key, previousKeyVersion, generation: generation + 1, at },
      ...(isLostSince ? [] : [{ type: 'KeyAccessRestored', keyVersion, epoch, at } as const]),
      ...(isInQuestion ? [] : [{ type: 'KeyAccessQuestioned', keyVersion, epoch, since: at, traceId: '' } as const]),
    ];
  };

/** The versions of the key changed: a set that follows it must check the newest (CMK-81). */
export const noticeNewer =
  (position: number) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status === 'active' && set.options.autoKeyRotation && (set.following.due ?? -1) < position
      ? [{ type: 'NewerVersionNoticed', position }]
      : [];

/** A check of the newest version: void if the set's key or options change meanwhile. */
export interface NewestCheck {
  /** The set's, at the start of the check. */
  readonly generation: number;
  /** Last change of the versions at that time. */
  readonly position: number;
}

/** Assigns the newest version, or notes that the active one is the newest. */
export const followNewest =
  (
    at: Instant,
    { generation, position }: NewestCheck,
    newer?: { readonly key: KeyReference; readonly grant: GrantedAccess },
  ) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!isFollowing(set, generation)) return [];
    const assigned = newer === undefined ? [] : assignKey(at, newer.key, newer.grant)(set);
    const { due, error } = set.following;
    const isNoted = due === null && error === null;
    return [...assigned, ...(isNoted ? [] : [{ type: 'NewestFollowed', position, at } as const])];
  };

/** Notes why the newest version cannot be assigned (CMK-37, CMK-87). */
export const missNewest =
  (
    at: Instant,
    { generation, position }: NewestCheck,
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

/** Stores the progress of a rotation, unless a newer one has replaced it. */
export const progressRotation =
  (at: Instant, generation: number, count: { readonly resourcesCount: number; readonly doneCount: number }) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!isMoving(set, generation)) return [];
    const { rotation } = set;
    const isKnown = rotation.resourcesCount === count.resourcesCount && rotation.doneCount === count.doneCount;
    return isKnown ? [] : [{ type: 'RotationProgressed', generation, ...count, at }];
  };

/**
 * What is left waits until a version is usable or its owner authorizes the move, or for the reason in `code`, or for disk hosts
 * (CMK-83, CMK-88).
 */
export const waitForKey =
  (
    at: Instant,
    generation: number,
    wait: {
      readonly reason: LossReason | 'UNKNOWN';
      readonly keyVersion: string;
      readonly code?: string;
      readonly diskHosts?: readonly string[];
    },
  ) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!isMoving(set, generation)) return [];
    const { progress } = set.rotation;
    const isKnown =
      progress.status === 'waiting' &&
      progress.reason === wait.reason &&
      progress.keyVersion === wait.keyVersion &&
      progress.code === wait.code &&
      String(progress.diskHosts) === String(wait.diskHosts);
    return isKnown ? [] : [{ type: 'RotationWaiting', generation, ...wait, at }];
  };

/** Resumes a waiting rotation. */
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

/** Whether the rotation to that generation is the newest and not finished. */
export const isMoving = (
  set: DiskEncryptionSet,
  generation: number,
): set is Extract<DiskEncryptionSet, { status: 'active' }> & { readonly rotation: Rotation } =>
  set.status === 'active' && set.rotation?.generation === generation && set.rotation.progress.status !== 'finished';
