import { type CategoryDefinition, type Stepping, withSteps } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { type Ended, firstEnds, type VersionEnds, withDates, withEnabled, withExpiry, withOperations } from './ends.ts';
import type { KeyEvent, RestoredVersion, RewrapAuthorization } from './events.ts';
import { noticeTime, type RotationPolicy, rotationTime } from './rotation-policy.ts';

/** One generation of a key. */
export interface KeyVersion extends RestoredVersion {
  /** The request that made it; empty for a restored version. */
  readonly requestId: string;
  /** Digest of that request; absent for a restored version. */
  readonly digest?: string;
  /** Absent while it is enabled. */
  readonly disabledAt?: Instant;
  /** It was disabled with the whole key, and is enabled with it. */
  readonly isDisabledWithKey?: true;
  /** Whether its end date was published, by an event of its own or by the event that set the date. */
  readonly isExpiryPublished: boolean;
  /** False until its future start date is published; then absent, also for replicas whose clock is behind. */
  readonly isStartPublished?: boolean;
  /** False until notice of its end is given; absent: none is to be given. */
  readonly isNoticePublished?: false;
  readonly ends: VersionEnds;
}

/** Which dates of a version need no event of their own, because the event that sets them says it. */
export const publishedWith = (
  { notBefore, expiresAt }: Pick<RestoredVersion, 'notBefore' | 'expiresAt'>,
  at: Instant,
): Pick<KeyVersion, 'isExpiryPublished' | 'isStartPublished'> => ({
  isExpiryPublished: (expiresAt ?? Number.POSITIVE_INFINITY) <= at,
  ...(notBefore !== undefined && notBefore > at ? { isStartPublished: false } : {}),
});

/** Whether notice of a version's end is to be given: a date that is set within the time of notice needs none. */
const withNotice = (
  policy: RotationPolicy | undefined,
  dates: Pick<RestoredVersion, 'expiresAt'>,
  at: Instant,
): Pick<KeyVersion, 'isNoticePublished'> =>
  (noticeTime(policy, dates) ?? at) > at ? { isNoticePublished: false } : {};

/** A key that is not purged. */
interface Life {
  /** By version id, oldest first. */
  readonly versions: Readonly<Record<string, KeyVersion>>;
  /** Id of the newest version (KV-03). */
  readonly current: string;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
  readonly authorizations: readonly (RewrapAuthorization & { readonly at: Instant })[];
  /** Purged versions of this name: later uses of them are refused with KEY_PURGED. */
  readonly purgedVersions: readonly string[];
  /** The last purge of a key of this name; absent before the first. */
  readonly lastPurge?: Ended;
  /** Absent: a caller rotates it. */
  readonly rotationPolicy?: RotationPolicy & { readonly setAt: Instant };
  /** The request that restored it; absent for a key that was created. */
  readonly restoreRequestId?: string;
}

/**
 * One customer key (KEK) and its versions.
 *
 *   absent ──create──▶ active ──delete──▶ deleted ──purge──▶ purged ──create──▶ active
 *      └────restore──────▲ ◀──recover────────┘                  └───restore──────▲
 */
export type Key = Stepping &
  (
    | { readonly status: 'absent' }
    | ({ readonly status: 'active' } & Life)
    | ({
        readonly status: 'deleted';
        readonly deletedAt: Instant;
        readonly deletedBy: number;
        readonly purgeAt: Instant;
      } & Life)
    | {
        readonly status: 'purged';
        readonly purgedAt: Instant;
        readonly purgedVersions: readonly string[];
        readonly lastPurge: Ended;
      }
  );

export type ActiveKey = Extract<Key, { status: 'active' }>;
/** A key whose versions are known. */
export type ExistingKey = Extract<Key, { status: 'active' | 'deleted' }>;

export const initial: Key = { status: 'absent' };

/** @param by version of the event in the stream of the key */
export const evolve = (key: Key, event: KeyEvent, by: number): Key => {
  switch (event.type) {
    case 'KeyVersionCreated':
      return withCreatedVersion(key, event, by);
    case 'KeyVersionDisabled':
      return withoutAuthorizations(withChangedVersion(key, event, by), event.version);
    case 'KeyVersionEnabled':
    case 'KeyVersionKeptDisabled':
    case 'KeyVersionDatesSet':
    case 'KeyOperationsSet':
    case 'KeyTagsSet':
    case 'KeyVersionExpired':
    case 'KeyVersionBegan':
    case 'KeyVersionNearExpiry':
      return withChangedVersion(key, event, by);
    case 'KeyRotationPolicySet': {
      if (!exists(key)) return key;
      const { rotationPolicy: _before, ...rest } = key;
      const { policy, at } = event;
      return { ...rest, updatedAt: at, ...(policy === undefined ? {} : { rotationPolicy: { ...policy, setAt: at } }) };
    }
    case 'KeyDeleted':
      return key.status === 'active'
        ? { ...key, status: 'deleted', deletedAt: event.at, deletedBy: by, purgeAt: event.purgeAt, authorizations: [] }
        : key;
    case 'KeyRecovered': {
      if (key.status !== 'deleted') return key;
      const { deletedAt: _deletedAt, deletedBy: _deletedBy, purgeAt: _purgeAt, ...life } = key;
      return { ...life, status: 'active', updatedAt: event.at };
    }
    case 'KeyPurged': {
      if (!exists(key)) return key;
      const purgedVersions = [...key.purgedVersions, ...Object.keys(key.versions)];
      return { status: 'purged', purgedAt: event.at, purgedVersions, lastPurge: { since: event.at, by } };
    }
    case 'KeyRestored':
      return exists(key) ? key : restored(key, event, by);
    case 'RewrapAuthorized': {
      if (!exists(key)) return key;
      const { type: _type, ...authorization } = event;
      return { ...key, authorizations: [...key.authorizations, authorization] };
    }
    case 'RewrapAuthorizationsCancelled':
      return withoutAuthorizations(key, event.version);
  }
};

type EventOf<Type extends KeyEvent['type']> = Extract<KeyEvent, { readonly type: Type }>;

const withCreatedVersion = (key: Key, event: EventOf<'KeyVersionCreated'>, by: number): Key => {
  if (key.status === 'deleted') return key;
  const { type: _type, at, ...made } = event;
  const disabled = made.enabled ? {} : { disabledAt: at };
  const ends = firstEnds(made, at, by);
  const notice = withNotice(key.status === 'active' ? key.rotationPolicy : undefined, made, at);
  const version: KeyVersion = {
    ...made,
    createdAt: at,
    updatedAt: at,
    ...disabled,
    ...publishedWith(made, at),
    ...notice,
    ends,
  };
  const current = version.version;
  if (key.status === 'active') {
    return { ...key, versions: { ...key.versions, [current]: version }, current, updatedAt: at };
  }
  return { ...newLife(at, key), status: 'active', versions: { [current]: version }, current };
};

type VersionEvent = EventOf<
  | 'KeyVersionEnabled'
  | 'KeyVersionDisabled'
  | 'KeyVersionKeptDisabled'
  | 'KeyVersionDatesSet'
  | 'KeyOperationsSet'
  | 'KeyTagsSet'
  | 'KeyVersionExpired'
  | 'KeyVersionBegan'
  | 'KeyVersionNearExpiry'
>;

const withChangedVersion = (key: Key, event: VersionEvent, by: number): Key => {
  const { version: id, at } = event;
  const version = versionOf(key, id);
  if (!version || !exists(key)) return key;
  const changed = { ...changedVersion(version, event, by, key.rotationPolicy), updatedAt: at };
  return { ...key, versions: { ...key.versions, [id]: changed }, updatedAt: at };
};

const changedVersion = (
  version: KeyVersion,
  event: VersionEvent,
  by: number,
  policy: RotationPolicy | undefined,
): KeyVersion => {
  const { ends } = version;
  const now = { since: event.at, by };
  switch (event.type) {
    case 'KeyVersionEnabled': {
      const { disabledAt: _disabledAt, isDisabledWithKey: _withKey, ...enabled } = version;
      return { ...enabled, enabled: true, ends: withEnabled(ends, undefined) };
    }
    case 'KeyVersionDisabled': {
      const mark = event.withKey === true ? { isDisabledWithKey: true as const } : {};
      return { ...version, enabled: false, disabledAt: event.at, ...mark, ends: withEnabled(ends, now) };
    }
    case 'KeyVersionKeptDisabled': {
      const { isDisabledWithKey: _withKey, ...disabled } = version;
      return disabled;
    }
    case 'KeyVersionDatesSet': {
      const {
        notBefore: _notBefore,
        expiresAt: _expiresAt,
        isStartPublished: _published,
        isNoticePublished: _notice,
        ...undated
      } = version;
      return {
        ...undated,
        ...(event.notBefore === undefined ? {} : { notBefore: event.notBefore }),
        ...(event.expiresAt === undefined ? {} : { expiresAt: event.expiresAt }),
        ...publishedWith(event, event.at),
        ...withNotice(policy, event, event.at),
        ends: withDates(version, event, now),
      };
    }
    case 'KeyOperationsSet':
      return { ...version, operations: event.operations, ends: withOperations(ends, event, now) };
    case 'KeyTagsSet':
      return { ...version, tags: event.tags };
    case 'KeyVersionExpired':
      return { ...version, isExpiryPublished: true, ends: withExpiry(ends, event.expiresAt, by) };
    case 'KeyVersionBegan': {
      const { isStartPublished: _published, ...started } = version;
      return started;
    }
    case 'KeyVersionNearExpiry': {
      const { isNoticePublished: _notice, ...noticed } = version;
      return noticed;
    }
  }
};

const restored = (key: Key, { at, requestId, versions: backedUp }: EventOf<'KeyRestored'>, by: number): Key => {
  const current = backedUp.at(-1)?.version;
  if (current === undefined) return key;
  const versions = Object.fromEntries(
    backedUp.map((version): [string, KeyVersion] => {
      const disabled = version.enabled ? {} : { disabledAt: at };
      const ends = firstEnds(version, at, by);
      const published = { ...publishedWith(version, at), ...withNotice(undefined, version, at) };
      return [version.version, { ...version, requestId: '', ...disabled, ...published, ends }];
    }),
  );
  const purgedVersions = purgedVersionsOf(key).filter((version) => !(version in versions));
  return { ...newLife(at, key), purgedVersions, status: 'active', versions, current, restoreRequestId: requestId };
};

/** Whether the key has versions. */
export const exists = (key: Key): key is ExistingKey => key.status === 'active' || key.status === 'deleted';

/**
 * Whether both are the same key, and not a later one of the same name, and have versions. The names of the private keys
 * show it, because each creation or restore of a version uses another name.
 */
export const isSameKey = (seen: Key, key: Key): boolean => {
  const before = materialOf(seen);
  return materialOf(key).some((materialId) => before.includes(materialId));
};

/** Names of the private keys of a key. */
export const materialOf = (key: Key): readonly string[] =>
  exists(key) ? Object.values(key.versions).map(({ materialId }) => materialId) : [];

export const versionOf = (key: Key, version: string): KeyVersion | undefined =>
  exists(key) && Object.hasOwn(key.versions, version) ? key.versions[version] : undefined;

export const purgedVersionsOf = (key: Key): readonly string[] => ('purgedVersions' in key ? key.purgedVersions : []);

export const isSameAuthorization = (left: RewrapAuthorization, right: RewrapAuthorization): boolean =>
  left.source === right.source &&
  left.target === right.target &&
  left.principal === right.principal &&
  left.diskEncryptionSet === right.diskEncryptionSet;

/** Whether the vault was not deleted since the authorization, by count and not by clock (CMK-10). */
export const isAuthorizationValid = (
  authorization: RewrapAuthorization,
  vault: { readonly deletionCount?: number },
): boolean => (authorization.vaultDeletionCount ?? 0) === (vault.deletionCount ?? 0);

/** When the service itself must publish a date of the key or purge it (KV-63); `undefined`: never. */
export const dueTime = (key: Key): Instant | undefined => {
  if (key.status === 'deleted') return key.purgeAt;
  if (key.status !== 'active') return undefined;
  const dates = Object.values(key.versions).flatMap((version) => {
    const { enabled, isExpiryPublished, expiresAt, isStartPublished = true, notBefore } = version;
    if (!enabled) return [];
    return [
      isExpiryPublished ? undefined : expiresAt,
      isStartPublished ? undefined : notBefore,
      noticeDue(key, version),
    ];
  });
  const due = dates.filter((date) => date !== undefined);
  return due.length === 0 ? undefined : Math.min(...due);
};

/** When notice of the end of a version is to be given: of the current one alone; undefined: never. */
export const noticeDue = (key: ActiveKey, version: KeyVersion): Instant | undefined =>
  version.isNoticePublished === false && version.version === key.current
    ? noticeTime(key.rotationPolicy, version)
    : undefined;

/** When the service itself must rotate the key (KV-34); `undefined`: never. */
export const rotationDue = (key: Key): Instant | undefined => {
  const current = key.status === 'active' ? key.versions[key.current] : undefined;
  return key.status === 'active' && current ? rotationTime(key.rotationPolicy, current) : undefined;
};

/** The timer of a version's dates. */
const datesOf = (version: string): string => `dates/${version}`;
/** The timer of a deleted key's purge. */
const PURGE = 'purge';
/** The timer of a rotation by policy. */
export const ROTATION = 'rotation';

/** The timers that an event arms. */
function timersOf(event: KeyEvent): readonly string[] {
  switch (event.type) {
    case 'KeyVersionCreated':
    case 'KeyVersionDatesSet':
      return [datesOf(event.version), ROTATION];
    case 'KeyRotationPolicySet':
    case 'KeyVersionEnabled':
      return [ROTATION];
    case 'KeyRestored':
      return event.versions.map(({ version }) => datesOf(version));
    case 'KeyDeleted':
      return [PURGE];
    default:
      return [];
  }
}

/** The timers that led to these events, which the clock decided. */
export const expiredTimers = (events: readonly unknown[]): readonly string[] =>
  (events as readonly KeyEvent[]).map((event) =>
    'version' in event && event.version ? datesOf(event.version) : PURGE,
  );

/** How keys are stored and listed. Their ids are `vaults/<v>/keys/<k>`, so within a vault they are in order of names. */
export const keys: CategoryDefinition<Key, KeyEvent> = {
  name: 'key',
  readable: [
    ...([
      'requestId',
      'version',
      'versions',
      'bits',
      'origin',
      'enabled',
      'notBefore',
      'expiresAt',
      'operations',
    ] as const),
    ...(['tags', 'withKey', 'purgeAt', 'source', 'target', 'principal', 'diskEncryptionSet', 'authorizedBy'] as const),
    ...(['vaultDeletionCount', 'policy', 'at'] as const),
  ],
  stateVersion: 1,
  initial,
  evolve: withSteps(evolve, timersOf),
  indexes: (key, id) => {
    if (!exists(key)) return [];
    const vault = id.split('/')[1] ?? '';
    return [
      { index: key.status, value: vault },
      ...((dueTime(key) ?? rotationDue(key)) === undefined ? [] : [{ index: 'due', value: 'pending' }]),
    ];
  },
};

const newLife = (at: Instant, key: Key): Omit<Life, 'versions' | 'current'> => ({
  createdAt: at,
  updatedAt: at,
  authorizations: [],
  purgedVersions: purgedVersionsOf(key),
  ...('lastPurge' in key && key.lastPurge !== undefined ? { lastPurge: key.lastPurge } : {}),
});

const withoutAuthorizations = (key: Key, version: string | undefined): Key =>
  exists(key)
    ? { ...key, authorizations: key.authorizations.filter(({ source }) => version !== undefined && source !== version) }
    : key;
