import { Rejection } from '@interlock/event-store';
import { names } from '@interlock/rpc';
import type { KeyReference } from './events.ts';
import { keyVersionsOf, type LivingSet } from './state.ts';

/** A standby key, and the versions whose owner agreed that what is under them comes under it as well (CMK-10). */
export interface AgreedStandby {
  readonly key: KeyReference;
  readonly agreedFor: readonly string[];
}

/**
 * A standby survives what happens to the active key only where it is another key: deletion and purge take all versions.
 * @throws Rejection INVALID_ARGUMENT STANDBY_KEY_NOT_INDEPENDENT
 */
export const checkStandby = (standby: KeyReference, active: KeyReference): void => {
  if (!isSameKey(standby, active)) return;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'STANDBY_KEY_NOT_INDEPENDENT',
    `standby_key_url must name another key than the active one, ${keyOf(active.keyVersion)}: both would be deleted and purged together`,
    { field: 'standby_key_url', key: keyOf(active.keyVersion) },
  );
};

/**
 * Holds a standby that is to be named against the keys that the set has by now: each needs its owner's word.
 * @throws Rejection ABORTED KEY_CHANGED when another key came in between
 */
export const checkAgreed = ({ agreedFor }: AgreedStandby, set: LivingSet): void => {
  const agreed = new Set(agreedFor.map(keyOf));
  const other = keyVersionsOf(set).find((keyVersion) => !agreed.has(keyOf(keyVersion)));
  if (other === undefined) return;
  throw new Rejection(
    'ABORTED',
    'KEY_CHANGED',
    `${other} came under the set, or its standby key was taken away, while this was decided: read the set and ask again`,
    { key_version: other },
  );
};

/** One version of each key that something of the set may be under. */
export const keysInUse = (set: LivingSet): readonly string[] => [
  ...new Map(keyVersionsOf(set).map((keyVersion) => [keyOf(keyVersion), keyVersion])).values(),
];

/**
 * Whether the standby stays when another version becomes active: for a version of the same key its owner has agreed; for
 * another key somebody has to, and it must be another one than the standby.
 * @param agreed version of the standby that the owner of the new key agreed to; null for none
 */
export const isStandbyKept = (
  { options: { standbyKey }, activeKey, access }: LivingSet,
  next: KeyReference,
  agreed: string | null,
): boolean => {
  if (standbyKey === null) return true;
  if (isSameKey(standbyKey, next)) return false;
  const known = access[activeKey.keyVersion];
  // A key that follows a purged one of its name is another.
  const isPurged = known?.state === 'lost' && known.reason === 'KEY_PURGED';
  return (isSameKey(next, activeKey) && !isPurged) || standbyKey.keyVersion === agreed;
};

/** Whether two versions are of one key. */
export const isSameKey = (one: KeyReference, other: KeyReference): boolean =>
  keyOf(one.keyVersion) === keyOf(other.keyVersion);

const keyOf = (keyVersion: string): string => names.key.format(names.keyVersion.parse(keyVersion, 'key'));
