import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { Founding, KeyReference, SetEvent } from './events.ts';
import { type DiskEncryptionSet, isInRegionOf, type SetBody } from './state.ts';

/**
 * Begins a set: its identity is chosen, nothing is made yet. The same wish again decides nothing, also when its key was
 * changed since; after a deletion the name is free and the new set has another identity (CMK-03, CMK-39).
 * @throws Rejection ALREADY_EXISTS DISK_ENCRYPTION_SET_ALREADY_EXISTS; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY
 *   while the one before is being deleted
 */
export const create =
  (at: Instant, founding: Founding, key: KeyReference) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (set.status === 'absent' || set.status === 'deleted') {
      return [{ type: 'SetCreating', ...founding, key, at }];
    }
    if (set.status === 'deleting' || set.status === 'released') throw notReady(set.status);
    const differing = differingFields(set, founding);
    if (differing.length === 0) return [];
    const differs = differing.join(', ');
    throw new Rejection(
      'ALREADY_EXISTS',
      'DISK_ENCRYPTION_SET_ALREADY_EXISTS',
      `a set of this name exists and was asked for with another ${differs}: choose another disk_encryption_set_id`,
      { field: 'disk_encryption_set_id', differs },
    );
  };

/** Whether a set is what this creation asked for. */
export const isSameWish = (set: SetBody, wish: Omit<Founding, 'tenant' | 'principal'>): boolean =>
  differingFields(set, wish).length === 0;

/** In which fields of a request a set was asked for otherwise. */
const differingFields = (set: SetBody, wish: Omit<Founding, 'tenant' | 'principal'>): readonly string[] => {
  const { askedKey: key, askedOptions: options } = set;
  const { askedKey: otherKey, askedOptions: other } = wish;
  const isSame: Readonly<Record<string, boolean>> = {
    location: isInRegionOf(set, wish),
    encryption_type: set.encryptionType === wish.encryptionType,
    key_url: key.keyUrl === otherKey.keyUrl,
    source_vault: key.sourceVault === otherKey.sourceVault,
    key_expiry: options.keyExpiry === other.keyExpiry,
    auto_restart: options.autoRestart === other.autoRestart,
    auto_key_rotation_enabled: options.autoKeyRotation === other.autoKeyRotation,
  };
  return Object.keys(isSame).filter((field) => isSame[field] !== true);
};

/**
 * The identity exists: the set does too (CMK-04). Whether the identity may use the key is asked afterwards, for it may
 * get its grants only now (CMK-05).
 */
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

/** The identity was refused for good: nothing was made, and the name is free again. */
export const abandonCreation =
  (at: Instant, reason: string) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status === 'creating' ? [{ type: 'SetCreationAbandoned', reason, at }] : [];

/**
 * The barrier of a deletion: from here on no disk may come under the set. Asked again while it goes on, or after it is
 * done, it decides nothing.
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

/** Something uses the set: it stays as it was (CMK-130). Decides nothing once the set is released. */
export const refuseDeletion =
  (at: Instant) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status === 'deleting' ? [{ type: 'SetDeleteRefused', at }] : [];

/** Nothing uses the set: its identity may go. Stored before it goes, so that no second look can bring the set back. */
export const release =
  (at: Instant) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status === 'deleting' ? [{ type: 'SetReleased', at }] : [];

/** The identity is gone, and with it the set (CMK-39). */
export const completeDeletion =
  (at: Instant) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status === 'released' ? [{ type: 'SetDeleted', at }] : [];

/**
 * The set as one whose key can be changed.
 * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY
 */
export const activeSet = (set: DiskEncryptionSet): Extract<DiskEncryptionSet, { status: 'active' }> => {
  if (set.status === 'active') return set;
  throw set.status === 'absent' || set.status === 'deleted' ? setNotFound() : notReady(set.status);
};

/** @returns the refusal of a request about a set that is not there; `name` where it is known. */
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
    `the disk encryption set is ${status}: wait until that has ended`,
    { state: status },
  );
