import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type {
  KeyEvent,
  KeyOperation,
  RestoredVersion,
  RewrapAuthorization,
  VersionAttributes,
  VersionMaterial,
} from './events.ts';
import {
  type ActiveKey,
  exists,
  isSameAuthorization,
  type Key,
  type KeyVersion,
  noticeDue,
  purgedVersionsOf,
  rotationDue,
  versionOf,
} from './key.ts';
import { after, isSamePolicy, type RotationPolicy } from './rotation-policy.ts';

/** A request for a new version. A repeat has the same id and the same digest of its content. */
export interface CreationRequest {
  readonly requestId: string;
  readonly digest: string;
}

/**
 * Adds a version, which becomes current (KV-03); a repeated request changes nothing. The name of a purged key is free
 * (KV-15).
 * @throws Rejection ALREADY_EXISTS KEY_NAME_HELD while a deleted key has the name (KV-64, KV-91), REQUEST_ID_USED
 */
export const createVersion =
  (at: Instant, asked: CreationRequest, version: VersionMaterial & VersionAttributes) =>
  (key: Key): readonly KeyEvent[] => {
    if (key.status === 'deleted') throw keyNameHeld();
    if (versionMadeBy(key, asked)) return [];
    return [{ type: 'KeyVersionCreated', ...asked, ...version, at }];
  };

/**
 * Adds a version like the current one, with the expiry that the rotation policy says (KV-33); the older ones stay as they are.
 * @throws Rejection NOT_FOUND KEY_NOT_FOUND, KEY_DELETED; ALREADY_EXISTS REQUEST_ID_USED; ABORTED CONTENTION when the current
 *   version has another size than `material`
 */
export const rotate =
  (at: Instant, asked: CreationRequest, material: VersionMaterial) =>
  (key: Key): readonly KeyEvent[] => {
    const found = active(key);
    if (versionMadeBy(key, asked)) return [];
    const { bits, operations, tags } = existing(key, found.current);
    if (bits !== material.bits) {
      throw new Rejection(
        'ABORTED',
        'CONTENTION',
        `another caller made a version of ${bits} bits meanwhile: read the key and repeat the call`,
      );
    }
    const { expiryTime } = found.rotationPolicy ?? {};
    const dates = expiryTime === undefined ? {} : { expiresAt: Math.floor(after(at, expiryTime) / 1_000) * 1_000 };
    return [{ type: 'KeyVersionCreated', ...asked, ...material, enabled: true, ...dates, operations, tags, at }];
  };

/** Rotates a key whose time has come by its policy (KV-34). @throws as `rotate` */
export const rotateIfDue =
  (at: Instant, asked: CreationRequest, material: VersionMaterial) =>
  (key: Key): readonly KeyEvent[] =>
    (rotationDue(key) ?? Number.POSITIVE_INFINITY) <= at ? rotate(at, asked, material)(key) : [];

/**
 * Sets when the key is rotated, and the validity of its next versions; the dates of those that exist stay (KV-53).
 * @param policy undefined: none
 * @throws Rejection NOT_FOUND KEY_NOT_FOUND, KEY_DELETED
 */
export const setRotationPolicy =
  (at: Instant, policy: RotationPolicy | undefined) =>
  (key: Key): readonly KeyEvent[] => {
    if (isSamePolicy(active(key).rotationPolicy, policy)) return [];
    return [{ type: 'KeyRotationPolicySet', ...(policy === undefined ? {} : { policy }), at }];
  };

/**
 * The version that a request has made, if this is a repeat.
 * @throws Rejection ALREADY_EXISTS REQUEST_ID_USED when the earlier request with this id had another content
 */
export const versionMadeBy = (key: Key, { requestId, digest }: CreationRequest): KeyVersion | undefined => {
  if (key.status !== 'active') return undefined;
  const made = Object.values(key.versions).find((version) => version.requestId === requestId);
  if (made === undefined || made.digest === digest) return made;
  throw new Rejection(
    'ALREADY_EXISTS',
    'REQUEST_ID_USED',
    `request_id ${requestId} has made version ${made.version} with another content: choose another request_id`,
    { field: 'request_id', request_id: requestId, version: made.version },
  );
};

/** Allows the use of a version again. @throws Rejection NOT_FOUND KEY_NOT_FOUND, KEY_DELETED, KEY_VERSION_NOT_FOUND */
export const enableVersion =
  (at: Instant, version: string) =>
  (key: Key): readonly KeyEvent[] =>
    existing(key, version).enabled ? [] : [{ type: 'KeyVersionEnabled', version, at }];

/**
 * Stops every use of a version (KV-12); an older version does not become current (KV-04). Disabling it again only cancels the
 * rewraps authorized meanwhile.
 * @throws Rejection NOT_FOUND KEY_NOT_FOUND, KEY_DELETED, KEY_VERSION_NOT_FOUND
 */
export const disableVersion =
  (at: Instant, version: string) =>
  (key: Key): readonly KeyEvent[] => {
    const { enabled, isDisabledWithKey } = existing(key, version);
    if (enabled) return [{ type: 'KeyVersionDisabled', version, at }];
    return [
      ...(isDisabledWithKey === true ? [{ type: 'KeyVersionKeptDisabled', version, at } as const] : []),
      ...cancelAuthorizations(key, version, at),
    ];
  };

const cancelAuthorizations = (key: Key, version: string, at: Instant): readonly KeyEvent[] =>
  active(key).authorizations.some(({ source }) => source === version)
    ? [{ type: 'RewrapAuthorizationsCancelled', version, at }]
    : [];

/**
 * Stops every use of a key: all enabled versions are disabled, marked as disabled with the key. Disabling it again only
 * cancels the rewraps authorized meanwhile.
 * @throws Rejection NOT_FOUND KEY_NOT_FOUND, KEY_DELETED
 */
export const disableKey =
  (at: Instant) =>
  (key: Key): readonly KeyEvent[] =>
    Object.values(active(key).versions).flatMap(({ version, enabled }): readonly KeyEvent[] =>
      enabled ? [{ type: 'KeyVersionDisabled', version, withKey: true, at }] : cancelAuthorizations(key, version, at),
    );

/**
 * Enables the versions that were disabled with the whole key. Versions that were disabled by their own name stay disabled.
 * @throws Rejection NOT_FOUND KEY_NOT_FOUND, KEY_DELETED
 */
export const enableKey =
  (at: Instant) =>
  (key: Key): readonly KeyEvent[] =>
    Object.values(active(key).versions)
      .filter(({ enabled, isDisabledWithKey }) => !enabled && isDisabledWithKey === true)
      .map(({ version }) => ({ type: 'KeyVersionEnabled', version, at }));

/**
 * Sets the window of use of a version (KV-13).
 * @throws Rejection INVALID_ARGUMENT EXPIRE_TIME_INVALID; NOT_FOUND KEY_NOT_FOUND, KEY_DELETED, KEY_VERSION_NOT_FOUND
 */
export const setDates =
  (at: Instant, version: string, dates: Pick<VersionAttributes, 'notBefore' | 'expiresAt'>) =>
  (key: Key): readonly KeyEvent[] => {
    const { notBefore, expiresAt } = existing(key, version);
    if (notBefore === dates.notBefore && expiresAt === dates.expiresAt) return [];
    return [{ type: 'KeyVersionDatesSet', version, ...dates, at }];
  };

/** Sets the operations of a version (KV-09). @param operations in the order of the API, without repeats */
export const setOperations =
  (at: Instant, version: string, operations: readonly KeyOperation[]) =>
  (key: Key): readonly KeyEvent[] => {
    const held = existing(key, version).operations;
    const isSame = held.length === operations.length && held.every((operation) => operations.includes(operation));
    return isSame ? [] : [{ type: 'KeyOperationsSet', version, operations, at }];
  };

/** Sets the tags of a version in place of the old ones (KV-10). */
export const setTags =
  (at: Instant, version: string, tags: Readonly<Record<string, string>>) =>
  (key: Key): readonly KeyEvent[] => {
    const held = existing(key, version).tags;
    const names = Object.keys(tags);
    const isSame = names.length === Object.keys(held).length && names.every((name) => held[name] === tags[name]);
    return isSame ? [] : [{ type: 'KeyTagsSet', version, tags, at }];
  };

/** Publishes the start and end dates of enabled versions that have come, and gives notice of the end of the current one. */
export const publishDates =
  (at: Instant) =>
  (key: Key): readonly KeyEvent[] => {
    if (key.status !== 'active') return [];
    return Object.values(key.versions)
      .filter(({ enabled }) => enabled)
      .flatMap((one): KeyEvent[] => {
        const { version, isExpiryPublished, expiresAt, isStartPublished = true, notBefore } = one;
        return [
          ...((noticeDue(key, one) ?? Number.POSITIVE_INFINITY) <= at && expiresAt !== undefined
            ? [{ type: 'KeyVersionNearExpiry', version, expiresAt, at } as const]
            : []),
          ...(!isStartPublished && notBefore !== undefined && notBefore <= at
            ? [
                {
                  type: 'KeyVersionBegan',
                  version,
                  notBefore,
                  ...(expiresAt === undefined ? {} : { expiresAt }),
                  at,
                } as const,
              ]
            : []),
          ...(!isExpiryPublished && expiresAt !== undefined && expiresAt <= at
            ? [{ type: 'KeyVersionExpired', version, expiresAt, at } as const]
            : []),
        ];
      });
  };

/**
 * Deletes a key with all its versions; it can be recovered until `purgeAt` (KV-05, KV-25). Deleting it again only cancels the
 * rewraps authorized meanwhile.
 * @throws Rejection NOT_FOUND KEY_NOT_FOUND
 */
export const remove =
  (at: Instant, purgeAt: Instant) =>
  (key: Key): readonly KeyEvent[] => {
    if (key.status === 'active') return [{ type: 'KeyDeleted', purgeAt, at }];
    if (key.status !== 'deleted') throw keyNotFound();
    return key.authorizations.length === 0 ? [] : [{ type: 'RewrapAuthorizationsCancelled', at }];
  };

/** Recovers a deleted key with all its versions as they were (KV-27). @throws Rejection NOT_FOUND KEY_NOT_FOUND, KEY_PURGED */
export const recover =
  (at: Instant) =>
  (key: Key): readonly KeyEvent[] => {
    if (key.status === 'active') return [];
    if (key.status === 'deleted') return [{ type: 'KeyRecovered', at }];
    throw key.status === 'purged' ? keyGone() : keyNotFound();
  };

/**
 * Removes a deleted key for good (KV-28). After its scheduled time this works under purge protection too: then the service
 * purges it (KV-63).
 * @throws Rejection NOT_FOUND KEY_NOT_FOUND; FAILED_PRECONDITION KEY_NOT_DELETED, PURGE_PROTECTED (KV-94)
 */
export const purge =
  (at: Instant, isProtected: boolean) =>
  (key: Key): readonly KeyEvent[] => {
    if (key.status === 'purged') return [];
    if (key.status === 'absent') throw keyNotFound();
    if (key.status === 'active') {
      throw new Rejection(
        'FAILED_PRECONDITION',
        'KEY_NOT_DELETED',
        'only a deleted key can be purged: delete it first',
      );
    }
    if (isProtected && at < key.purgeAt) {
      const scheduled = new Date(key.purgeAt).toISOString();
      throw new Rejection(
        'FAILED_PRECONDITION',
        'PURGE_PROTECTED',
        `Operation 'DeletedKeyPurge' is not allowed: the vault is purge protected, so the key cannot be purged before ${scheduled}`,
        { scheduled_purge_time: scheduled },
      );
    }
    return [{ type: 'KeyPurged', at }];
  };

/** What a key needs at one of its times: its dates published, or its scheduled purge, also under purge protection (KV-63). */
export const doDue =
  (at: Instant) =>
  (key: Key): readonly KeyEvent[] => {
    if (key.status !== 'deleted') return publishDates(at)(key);
    return at < key.purgeAt ? [] : purge(at, false)(key);
  };

/** Removes a key in any state because its vault is purged (KV-66). */
export const purgeWithVault =
  (at: Instant) =>
  (key: Key): readonly KeyEvent[] =>
    exists(key) ? [{ type: 'KeyPurged', at }] : [];

/**
 * Makes a key from a backup (KV-29); a repeated request changes nothing.
 * @param versions at least one, oldest first
 * @throws Rejection ALREADY_EXISTS KEY_ALREADY_EXISTS, KEY_NAME_HELD
 */
export const restore =
  (at: Instant, requestId: string, versions: readonly RestoredVersion[]) =>
  (key: Key): readonly KeyEvent[] => {
    if (key.status === 'deleted') throw keyNameHeld();
    if (key.status === 'active') {
      if (key.restoreRequestId === requestId) return [];
      throw new Rejection(
        'ALREADY_EXISTS',
        'KEY_ALREADY_EXISTS',
        'a key of this name exists: delete and purge it, or restore to another vault',
      );
    }
    return [{ type: 'KeyRestored', requestId, versions, at }];
  };

/**
 * Records that the key owner allows a set to leave a version, also a disabled or deleted one.
 * @throws Rejection FAILED_PRECONDITION KEY_PURGED; NOT_FOUND KEY_NOT_FOUND, KEY_VERSION_NOT_FOUND
 */
export const authorizeRewrap =
  (at: Instant, authorization: RewrapAuthorization) =>
  (key: Key): readonly KeyEvent[] => {
    if (purgedVersionsOf(key).includes(authorization.source)) throw keyPurged();
    if (!exists(key)) throw keyNotFound();
    if (!versionOf(key, authorization.source)) throw versionNotFound();
    return key.authorizations.some(
      (given) =>
        isSameAuthorization(given, authorization) &&
        (given.vaultDeletionCount ?? 0) === (authorization.vaultDeletionCount ?? 0),
    )
      ? []
      : [{ type: 'RewrapAuthorized', ...authorization, at }];
  };

/** KV-90 */
export const keyNotFound = (name?: string): Rejection =>
  new Rejection(
    'NOT_FOUND',
    'KEY_NOT_FOUND',
    `${name ?? 'The key'} was not found in this key vault.`,
    name === undefined ? {} : { key: name },
  );

/** KV-90, for a deleted key: only recover and purge accept it (KV-14). */
export const keyDeleted = (name?: string): Rejection =>
  new Rejection(
    'NOT_FOUND',
    'KEY_DELETED',
    `${name ?? 'The key'} is deleted: it can only be recovered or purged.`,
    name === undefined ? {} : { key: name },
  );

/** KV-15, for the recovery of a purged key. */
export const keyGone = (name?: string): Rejection =>
  new Rejection(
    'NOT_FOUND',
    'KEY_PURGED',
    `${name ?? 'The key'} was purged: it is gone for good.`,
    name === undefined ? {} : { key: name },
  );

const versionNotFound = (): Rejection =>
  new Rejection('NOT_FOUND', 'KEY_VERSION_NOT_FOUND', 'A version with that id was not found in this key.');

const keyPurged = (): Rejection =>
  new Rejection('FAILED_PRECONDITION', 'KEY_PURGED', 'the version is purged: what only it could unwrap is lost');

/** While a deleted key has the name (KV-64, KV-91). */
export const keyNameHeld = (): Rejection =>
  new Rejection(
    'ALREADY_EXISTS',
    'KEY_NAME_HELD',
    'The key is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged.',
  );

const active = (key: Key): ActiveKey => {
  if (key.status === 'active') return key;
  throw key.status === 'deleted' ? keyDeleted() : keyNotFound();
};

const existing = (key: Key, version: string): KeyVersion => {
  active(key);
  const found = versionOf(key, version);
  if (found) return found;
  throw versionNotFound();
};
