import type { CategoryDefinition } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { KeyEvent, RestoredVersion, RewrapWord } from './events.ts';

/** One generation of a key. */
export interface KeyVersion extends RestoredVersion {
  /** The wish that made it; empty for a restored one. */
  readonly requestId: string;
  /** Digest of what that asked for; absent where it is not known. */
  readonly wish?: string;
  /** Since when it is disabled; absent while it is enabled. */
  readonly disabledAt?: Instant;
  /** It was disabled with the whole key, and comes back with it. */
  readonly isDisabledWithKey?: true;
  /** Whether its expiry has been told, or needs no telling because the dates that made it so were. */
  readonly isExpiryTold: boolean;
  /** False while a beginning that lies ahead is still to be told; absent once it has come, for every replica. */
  readonly isBeginningTold?: boolean;
}

/** What of a version's window needs no telling any more, because the event that made it says it. */
export const toldWith = (
  { notBefore, expiresAt }: Pick<RestoredVersion, 'notBefore' | 'expiresAt'>,
  at: Instant,
): Pick<KeyVersion, 'isExpiryTold' | 'isBeginningTold'> => ({
  isExpiryTold: (expiresAt ?? Number.POSITIVE_INFINITY) <= at,
  ...(notBefore !== undefined && notBefore > at ? { isBeginningTold: false } : {}),
});

/** What a key that is not purged is. */
interface Life {
  /** By version id, oldest first. */
  readonly versions: Readonly<Record<string, KeyVersion>>;
  /** Id of the newest version (KV-03). */
  readonly current: string;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
  readonly authorizations: readonly (RewrapWord & { readonly at: Instant })[];
  /** Versions of this name that were purged: their owners are told so for ever. */
  readonly purgedVersions: readonly string[];
  /** The wish that restored it; absent for one that was made here. */
  readonly restoreRequestId?: string;
}

/**
 * One customer key (KEK) and its versions.
 *
 *   absent ──create──▶ active ──delete──▶ deleted ──purge──▶ purged ──create──▶ active
 *      └────restore──────▲ ◀──recover────────┘                  └───restore──────▲
 */
export type Key =
  | { readonly status: 'absent' }
  | ({ readonly status: 'active' } & Life)
  | ({ readonly status: 'deleted'; readonly deletedAt: Instant; readonly purgeAt: Instant } & Life)
  | { readonly status: 'purged'; readonly purgedAt: Instant; readonly purgedVersions: readonly string[] };

export type ActiveKey = Extract<Key, { status: 'active' }>;
/** A key whose versions are known. */
export type StandingKey = Extract<Key, { status: 'active' | 'deleted' }>;

export const initial: Key = { status: 'absent' };

export const evolve = (key: Key, event: KeyEvent): Key => {
  switch (event.type) {
    case 'KeyVersionCreated': {
      if (key.status === 'deleted') return key;
      const { type: _type, at, ...made } = event;
      const version: KeyVersion = {
        ...made,
        createdAt: at,
        updatedAt: at,
        ...(made.enabled ? {} : { disabledAt: at }),
        ...toldWith(made, at),
      };
      if (key.status === 'active') {
        const versions = { ...key.versions, [version.version]: version };
        return { ...key, versions, current: version.version, updatedAt: at };
      }
      const versions = { [version.version]: version };
      return { ...newLife(at, purgedVersionsOf(key)), status: 'active', versions, current: version.version };
    }
    case 'KeyVersionEnabled':
      return withVersion(key, event, (version) => {
        const { disabledAt: _disabledAt, isDisabledWithKey: _withKey, ...enabled } = version;
        return { ...enabled, enabled: true };
      });
    case 'KeyVersionDisabled': {
      const change = { enabled: false, disabledAt: event.at };
      const mark = event.withKey === true ? { isDisabledWithKey: true as const } : {};
      return withoutWords(
        withVersion(key, event, (version) => ({ ...version, ...change, ...mark })),
        event.version,
      );
    }
    case 'KeyVersionKeptDisabled':
      return withVersion(key, event, ({ isDisabledWithKey: _withKey, ...version }) => version);
    case 'KeyVersionDatesSet':
      return withVersion(
        key,
        event,
        ({ notBefore: _begins, expiresAt: _ends, isBeginningTold: _told, ...version }) => ({
          ...version,
          ...(event.notBefore === undefined ? {} : { notBefore: event.notBefore }),
          ...(event.expiresAt === undefined ? {} : { expiresAt: event.expiresAt }),
          ...toldWith(event, event.at),
        }),
      );
    case 'KeyOperationsSet':
      return withVersion(key, event, (version) => ({ ...version, operations: event.operations }));
    case 'KeyTagsSet':
      return withVersion(key, event, (version) => ({ ...version, tags: event.tags }));
    case 'KeyVersionExpired':
      return withVersion(key, event, (version) => ({ ...version, isExpiryTold: true }));
    case 'KeyVersionBegan':
      return withVersion(key, event, ({ isBeginningTold: _told, ...version }) => version);
    case 'KeyDeleted':
      return key.status === 'active'
        ? { ...key, status: 'deleted', deletedAt: event.at, purgeAt: event.purgeAt, authorizations: [] }
        : key;
    case 'KeyRecovered': {
      if (key.status !== 'deleted') return key;
      const { deletedAt: _deletedAt, purgeAt: _purgeAt, ...life } = key;
      return { ...life, status: 'active', updatedAt: event.at };
    }
    case 'KeyPurged':
      return isStanding(key)
        ? {
            status: 'purged',
            purgedAt: event.at,
            purgedVersions: [...key.purgedVersions, ...Object.keys(key.versions)],
          }
        : key;
    case 'KeyRestored': {
      if (isStanding(key)) return key;
      const restored = event.versions.map((version): [string, KeyVersion] => [
        version.version,
        {
          ...version,
          requestId: '',
          ...(version.enabled ? {} : { disabledAt: event.at }),
          ...toldWith(version, event.at),
        },
      ]);
      const current = restored.at(-1)?.[0];
      if (current === undefined) return key;
      const versions = Object.fromEntries(restored);
      const purgedVersions = purgedVersionsOf(key).filter((version) => !(version in versions));
      const restoreRequestId = event.requestId;
      return { ...newLife(event.at, purgedVersions), status: 'active', versions, current, restoreRequestId };
    }
    case 'RewrapAuthorized': {
      if (!isStanding(key)) return key;
      const { type: _type, ...word } = event;
      return { ...key, authorizations: [...key.authorizations, word] };
    }
    case 'RewrapAuthorizationsCancelled':
      return withoutWords(key, event.version);
  }
};

/** Whether the key has versions. */
export const isStanding = (key: Key): key is StandingKey => key.status === 'active' || key.status === 'deleted';

/**
 * Whether a key is the one that was seen before and has versions still, and no later one of its name. Told by the names of the
 * private keys: each time a version comes into being it gets one of its own.
 */
export const isSameKey = (seen: Key, key: Key): boolean => {
  const before = materialOf(seen);
  return materialOf(key).some((materialId) => before.includes(materialId));
};

/** Names of the private keys that a key has. */
export const materialOf = (key: Key): readonly string[] =>
  isStanding(key) ? Object.values(key.versions).map(({ materialId }) => materialId) : [];

/** A version by id; `undefined` when the key has none of that id, or none at all. */
export const versionOf = (key: Key, version: string): KeyVersion | undefined =>
  isStanding(key) && Object.hasOwn(key.versions, version) ? key.versions[version] : undefined;

/** Versions of this name that were purged and not restored. */
export const purgedVersionsOf = (key: Key): readonly string[] => ('purgedVersions' in key ? key.purgedVersions : []);

/** Whether two words say the same. */
export const isSameWord = (left: RewrapWord, right: RewrapWord): boolean =>
  left.source === right.source &&
  left.target === right.target &&
  left.principal === right.principal &&
  left.diskEncryptionSet === right.diskEncryptionSet;

/** Whether no deletion of the vault came between the word and now, by count and not by clock (CMK-10). */
export const isWordGood = (word: RewrapWord, vault: { readonly deletionCount?: number }): boolean =>
  (word.vaultDeletionCount ?? 0) === (vault.deletionCount ?? 0);

/** When the service has to do something about the key by itself: tell a date, purge (KV-63). `undefined`: never. */
export const dueTime = (key: Key): Instant | undefined => {
  if (key.status === 'deleted') return key.purgeAt;
  if (key.status !== 'active') return undefined;
  const dates = Object.values(key.versions).flatMap((version) => {
    const { enabled, isExpiryTold, expiresAt, isBeginningTold = true, notBefore } = version;
    if (!enabled) return [];
    return [isExpiryTold ? undefined : expiresAt, isBeginningTold ? undefined : notBefore];
  });
  const due = dates.filter((date) => date !== undefined);
  return due.length === 0 ? undefined : Math.min(...due);
};

/** How keys are stored and listed: the ids are `vaults/<v>/keys/<k>`, so within a vault they come in order of names. */
export const keys: CategoryDefinition<Key, KeyEvent> = {
  name: 'key',
  stateVersion: 1,
  initial,
  evolve,
  indexes: (key, id) => {
    if (!isStanding(key)) return [];
    const vault = id.split('/')[1] ?? '';
    return [
      { index: key.status, value: vault },
      ...(dueTime(key) === undefined ? [] : [{ index: 'due', value: 'pending' }]),
    ];
  },
};

const newLife = (at: Instant, purgedVersions: readonly string[]): Omit<Life, 'versions' | 'current'> => ({
  createdAt: at,
  updatedAt: at,
  authorizations: [],
  purgedVersions,
});

const withVersion = (
  key: Key,
  { version: id, at }: { readonly version: string; readonly at: Instant },
  change: (version: KeyVersion) => KeyVersion,
): Key => {
  const version = versionOf(key, id);
  if (!version || !isStanding(key)) return key;
  return { ...key, versions: { ...key.versions, [id]: { ...change(version), updatedAt: at } }, updatedAt: at };
};

const withoutWords = (key: Key, version: string | undefined): Key =>
  isStanding(key)
    ? { ...key, authorizations: key.authorizations.filter(({ source }) => version !== undefined && source !== version) }
    : key;
