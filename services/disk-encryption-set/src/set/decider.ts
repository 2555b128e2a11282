import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { KeyReference, NewSet, SetEvent } from './events.ts';
import { type DiskEncryptionSet, isInRegionOf, isSpread, type SetBody } from './state.ts';

/**
 * Starts a set with a chosen identity, which is created afterwards. A repeated request has no effect, also if the key has
 * changed since. After a deletion the name can be used again, by a set with another identity (CMK-03, CMK-39).
 * @throws Rejection ALREADY_EXISTS DISK_ENCRYPTION_SET_ALREADY_EXISTS; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY
 *   while an earlier set of this name is being deleted
 */
export const create =
  (at: Instant, newSet: NewSet, key: KeyReference) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (set.status === 'absent' || set.status === 'deleted') {
      return [{ type: 'SetCreating', ...newSet, key, at }];
    }
    if (set.status === 'deleting' || set.status === 'released') throw notReady(set.status);
    const differing = differingFields(set, newSet);
    if (differing.length === 0) return [];
    const differs = differing.join(', ');
    throw new Rejection(
      'ALREADY_EXISTS',
      'DISK_ENCRYPTION_SET_ALREADY_EXISTS',
      `a set of this name exists with another ${differs}: choose another disk_encryption_set_id`,
      { field: 'disk_encryption_set_id', differs },
    );
  };

/** Whether a set was created by this request. */
export const matchesRequest = (set: SetBody, wanted: Omit<NewSet, 'tenant' | 'principal' | 'userAssigned'>): boolean =>
  differingFields(set, wanted).length === 0;

/** Fields in which the request of a set differs from another request. */
const differingFields = (
  set: SetBody,
  wanted: Omit<NewSet, 'tenant' | 'principal' | 'userAssigned'>,
): readonly string[] => {
  const { requestedKey: key, requestedOptions: options } = set;
  const { requestedKey: otherKey, requestedOptions: other } = wanted;
  const isSame: Readonly<Record<string, boolean>> = {
    location: isInRegionOf(set, wanted),
    encryption_type: set.encryptionType === wanted.encryptionType,
    key_url: key.keyUrl === otherKey.keyUrl,
    source_vault: key.sourceVault === otherKey.sourceVault,
    key_expiry: options.keyExpiry === other.keyExpiry,
    auto_restart: options.autoRestart === other.autoRestart,
    auto_key_rotation_enabled: options.autoKeyRotation === other.autoKeyRotation,
    spread: isSpread(options) === isSpread(other),
    user_assigned_identity: set.requestedIdentity === wanted.requestedIdentity,
  };
  return Object.keys(isSame).filter((field) => isSame[field] !== true);
};

/** The identity exists, and so does the set (CMK-04). Its access is checked afterwards: it can get its grants only now (CMK-05). */
export const completeCreation =
  (at: Instant) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (set.status !== 'creating') return [];
    const { location, encryptionType, principal, generation, options } = set;
    const { keyVersion } = set.activeKey;
    return [
      { type: 'SetCreated', location, encryptionType, principal, keyVersion, generation, at },
      { type: 'SetOptionsChanged', ...options, at },
      { type: 'KeyAccessQuestioned', keyVersion, epoch: 0, since: at, traceId: '' },
    ];
  };

/** The identity was refused: nothing was created, and the name can be used again. */
export const abandonCreation =
  (at: Instant, reason: string) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status === 'creating' ? [{ type: 'SetCreationAbandoned', reason, at }] : [];

/**
 * The barrier of a deletion: no disk can be put under the set any more. A repeat during or after the deletion has no effect.
 * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY
 */
export const startDeletion =
  (at: Instant) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    switch (set.status) {
      case 'absent':
        throw setNotFound();
      case 'creating':
        throw notReady(set.status);
      case 'active':
        return [{ type: 'SetDeleting', at }];
      default:
        return [];
    }
  };

/** Something uses the set: it stays (CMK-130). No effect on a released set. */
export const refuseDeletion =
  (at: Instant) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status === 'deleting' ? [{ type: 'SetDeleteRefused', at }] : [];

/** Nothing uses the set: its identity may be deleted. Stored before that, so that the set cannot come back. */
export const release =
  (at: Instant) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status === 'deleting' ? [{ type: 'SetReleased', at }] : [];

/** The identity is deleted, and with it the set (CMK-39). */
export const completeDeletion =
  (at: Instant) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status === 'released' ? [{ type: 'SetDeleted', at }] : [];

/**
 * The set as an active one.
 * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY
 */
export const activeSet = (set: DiskEncryptionSet): Extract<DiskEncryptionSet, { status: 'active' }> => {
  if (set.status === 'active') return set;
  throw set.status === 'absent' || set.status === 'deleted' ? setNotFound() : notReady(set.status);
};

/** @param name if known */
export const setNotFound = (name?: string): Rejection =>
  new Rejection(
    'NOT_FOUND',
    'DISK_ENCRYPTION_SET_NOT_FOUND',
    `${name ?? 'the disk encryption set'} does not exist`,
    name === undefined ? {} : { name },
  );

const notReady = (status: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'DISK_ENCRYPTION_SET_NOT_READY',
    `the disk encryption set is ${status}: wait until it is finished`,
    { state: status },
  );
