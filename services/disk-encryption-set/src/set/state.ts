import type { LossReason } from '@interlock/access';
import type { Stepping } from '@interlock/event-store';
import { isSameRegion } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import type { KeyReference, NewSet, SetEvent, SetOptions } from './events.ts';

/** Access of the set to a key version. A version without one was not checked yet. */
export type KeyAccess =
  | { readonly state: 'available'; readonly epoch: number; readonly since: Instant }
  | {
      readonly state: 'lost';
      readonly reason: LossReason;
      readonly epoch: number;
      readonly since: Instant;
      readonly traceId: string;
      /** Epoch published last; null if none was. An expiry under `next_start` is not published: it only raises `epoch`. */
      readonly publishedEpoch: number | null;
      /** The version was purged: what happens to the key of its name since then concerns a later key. */
      readonly isPurged?: true;
    };

/** An open question about a version for the vault. */
export interface Question {
  readonly epoch: number;
  readonly since: Instant;
  readonly traceId: string;
}

/** State of a set that follows the newest version of its key. */
export interface Following {
  /** Position in key-vault's feed of a change that remains to be checked; null without one. */
  readonly due: number | null;
  /** Why the newest version could not be assigned; null without an error. */
  readonly error: {
    readonly keyVersion: string;
    readonly code: string;
    readonly message: string;
    readonly since: Instant;
  } | null;
}

/** The last rotation. */
export interface Rotation {
  readonly generation: number;
  readonly progress:
    | { readonly status: 'running' }
    | {
        readonly status: 'waiting';
        readonly reason: LossReason | 'UNKNOWN';
        readonly keyVersion: string;
        /** Code of the refusal if the reason is `UNKNOWN`. */
        readonly code?: string;
        /** As in `RotationWaiting`. */
        readonly diskHosts?: readonly string[];
      }
    | { readonly status: 'finished'; readonly finishedAt: Instant };
  readonly resourcesCount: number;
  readonly doneCount: number;
  readonly startedAt: Instant;
}

/** The state of a set that exists. */
export interface SetBody extends NewSet {
  readonly options: SetOptions;
  readonly activeKey: KeyReference;
  /** Older versions that DEKs may still be wrapped under, oldest first; empty after a rotation (CMK-34). */
  readonly previousKeys: readonly KeyReference[];
  /** Rises with every change of the active key or identity, from 1; continues in a later set of the same name. */
  readonly generation: number;
  /** By key version, of the active and previous keys. */
  readonly access: Readonly<Record<string, KeyAccess>>;
  /** Open questions, by key version. */
  readonly questions: Readonly<Record<string, Question>>;
  readonly createdAt: Instant;
  /** When the active key changed last; null before the first change (CMK-35). */
  readonly lastKeyRotationAt: Instant | null;
  /** Null before the first change. */
  readonly rotation: Rotation | null;
  readonly following: Following;
  readonly identity: {
    /** Whether the principal exists at identity. */
    readonly isMade: boolean;
    /** Principals of removed identities that still exist at identity. */
    readonly retiring: readonly string[];
    /** Identities of users that the set had. Their loss is final for its disks (decision 0008), so it cannot get them again. */
    readonly former?: readonly string[];
    /** When the identity was chosen, until a vault first grants it access; then null. An earlier loss took nothing from it. */
    readonly ungrantedSince: Instant | null;
  };
}

/**
 * One disk encryption set.
 *
 *   absent ──create──▶ creating ──identity made──▶ active ──delete──▶ deleting ──nothing uses it──▶ released ──▶ deleted
 *                         │                           ▲                  │                                          ▲
 *                         │                           └─────in use───────┘                                          │
 *                         └────────────────────────────refused──────────────────────────────────────────────────────┘
 *
 * A deleted name can be used again, by a set with another identity and a higher generation (CMK-39).
 *
 * A change of the key of an active set: KeyAssigned ─▶ running ⇄ waiting ─▶ finished (`rotation`).
 */
export type DiskEncryptionSet = Stepping &
  (
    | { readonly status: 'absent' }
    | ({ readonly status: 'creating' } & SetBody)
    | ({ readonly status: 'active' } & SetBody)
    | ({ readonly status: 'deleting' } & SetBody)
    | ({ readonly status: 'released' } & SetBody)
    | ({ readonly status: 'deleted' } & SetBody)
  );

/** A set that has disks, or may get disks again. */
export type LivingSet = Extract<DiskEncryptionSet, { status: 'active' | 'deleting' }>;

export const initial: DiskEncryptionSet = { status: 'absent' };

export const evolve = (set: DiskEncryptionSet, event: SetEvent): DiskEncryptionSet => {
  if (event.type === 'SetCreating') {
    const { type: _type, at, key, ...newSet } = event;
    const { requestedOptions } = newSet;
    return {
      ...newSet,
      status: 'creating',
      options: requestedOptions,
      activeKey: key,
      previousKeys: [],
      // Above that of a deleted set of this name, whose generations are outdated.
      generation: set.status === 'absent' ? 1 : set.generation + 1,
      access: {},
      questions: {},
      createdAt: at,
      lastKeyRotationAt: null,
      rotation: null,
      following: { due: requestedOptions.autoKeyRotation ? 0 : null, error: null },
      identity: { isMade: false, retiring: [], ungrantedSince: at },
    };
  }
  if (set.status === 'absent') return set;
  switch (event.type) {
    case 'SetCreated':
      return { ...set, status: 'active', identity: { ...set.identity, isMade: true } };
    case 'SetDeleteRefused':
      return { ...set, status: 'active' };
    case 'SetOptionsChanged': {
      const { type: _type, at: _at, ...options } = event;
      if (!options.autoKeyRotation) return { ...set, options, following: { due: null, error: null } };
      const isTurnedOn = !set.options.autoKeyRotation;
      return { ...set, options, following: isTurnedOn ? { due: 0, error: null } : set.following };
    }
    case 'SetDeleting':
      return { ...set, status: 'deleting' };
    case 'SetReleased':
      return { ...set, status: 'released' };
    case 'SetCreationAbandoned':
    case 'SetDeleted':
      return { ...set, status: 'deleted' };
    default:
      return { ...set, ...evolveKeys(set, event) };
  }
};

/** Whether new disks of a set are placed on two disk hosts. */
export const isSpread = ({ spread = false }: Pick<SetOptions, 'spread'>): boolean => spread;

/** The active version, then the previous ones. */
export const keyVersionsOf = ({ activeKey, previousKeys }: SetBody): readonly string[] => [
  activeKey.keyVersion,
  ...previousKeys.map(({ keyVersion }) => keyVersion),
];

type KeyEvent = Exclude<SetEvent, { type: `Set${string}` }>;

const keyChanges: {
  readonly [Type in KeyEvent['type']]: (set: SetBody, event: Extract<KeyEvent, { type: Type }>) => Partial<SetBody>;
} = {
  KeyAssigned: (set, { key, generation, at }) => {
    const previousKeys = [...set.previousKeys, set.activeKey].filter((old) => old.keyVersion !== key.keyVersion);
    const rotation = newRotation(generation, at);
    const following = { ...set.following, error: null };
    return { activeKey: key, previousKeys, generation, lastKeyRotationAt: at, rotation, following };
  },
  IdentityRemoved: ({ identity, userAssigned }, event) => {
    const { retiring, former = [] } = identity;
    const left =
      userAssigned === true ? { former: [...former, event.principal] } : { retiring: [...retiring, event.principal] };
    return { principal: '', userAssigned: false, identity: { ...identity, isMade: false, ...left } };
  },
  IdentityRetired: ({ identity }, event) => ({
    identity: { ...identity, retiring: identity.retiring.filter((principal) => principal !== event.principal) },
  }),
  // Losses and questions of the earlier identity do not apply to this one; a loss stays until access is granted.
  IdentityReplaced: (set, { principal, userAssigned = false, generation, at }) => ({
    principal,
    userAssigned,
    generation,
    rotation: newRotation(generation, at),
    access: Object.fromEntries(Object.entries(set.access).map(([version, known]) => [version, withoutEpoch(known)])),
    questions: {},
    identity: { ...set.identity, isMade: false, ungrantedSince: at },
  }),
  IdentityMade: ({ identity }) => ({ identity: { ...identity, isMade: true } }),
  KeyAccessLost: (set, { keyVersion, reason, epoch, since, traceId }) => {
    // A correction repeats the epoch that was published before; a later epoch stays.
    const newest = Math.max(epoch, lostIn(set, keyVersion)?.epoch ?? 0);
    return withLoss(set, keyVersion, { reason, epoch: newest, since, traceId, publishedEpoch: epoch });
  },
  KeyAccessBarred: (set, { keyVersion, reason, epoch, since, traceId }) => {
    const publishedEpoch = lostIn(set, keyVersion)?.publishedEpoch ?? null;
    return withLoss(set, keyVersion, { reason, epoch, since, traceId, publishedEpoch });
  },
  KeyAccessRestored: (set, { keyVersion, epoch, at }) => ({
    ...withAccess(set, keyVersion, { state: 'available', epoch, since: at }),
    identity: { ...set.identity, ungrantedSince: null },
  }),
  KeyAccessQuestioned: ({ questions }, { type: _type, keyVersion, ...question }) => ({
    questions: { ...questions, [keyVersion]: question },
  }),
  KeyAccessAnswered: (set, { keyVersion, granted, epoch }) => {
    const { [keyVersion]: _answered, ...questions } = set.questions;
    const known = set.access[keyVersion];
    const isNewer = granted && known?.state === 'available' && known.epoch < epoch;
    return { questions, ...(isNewer ? withAccess(set, keyVersion, { ...known, epoch }) : {}) };
  },
  NewerVersionNoticed: ({ following }, { position }) => ({ following: { ...following, due: position } }),
  NewestFollowed: ({ following }, { position }) => ({
    following: { due: dueAfter(following, position), error: null },
  }),
  NewestNotFollowed: ({ following }, { keyVersion, code, message, position, at }) => {
    const known = following.error;
    const isKnown = known?.keyVersion === keyVersion && known.code === code;
    const error = { keyVersion, code, message, since: isKnown ? known.since : at };
    return { following: { due: dueAfter(following, position), error } };
  },
  RotationProgressed: (set, { resourcesCount, doneCount }) =>
    withRotation(set, { progress: { status: 'running' }, resourcesCount, doneCount }),
  RotationWaiting: (set, { type: _type, generation: _generation, at: _at, ...wait }) =>
    withRotation(set, { progress: { status: 'waiting', ...wait } }),
  RotationResumed: (set) => withRotation(set, { progress: { status: 'running' } }),
  RotationFinished: (set, { at: finishedAt }) => ({
    ...withRotation(set, {
      progress: { status: 'finished', finishedAt },
      doneCount: set.rotation?.resourcesCount ?? 0,
    }),
    previousKeys: [],
    access: only(set.access, set.activeKey.keyVersion),
    questions: only(set.questions, set.activeKey.keyVersion),
  }),
};

const evolveKeys = <Type extends KeyEvent['type']>(
  set: SetBody,
  event: Extract<KeyEvent, { type: Type }>,
): Partial<SetBody> => keyChanges[event.type as Type](set, event);

const newRotation = (generation: number, startedAt: Instant): Rotation => ({
  generation,
  progress: { status: 'running' },
  resourcesCount: 0,
  doneCount: 0,
  startedAt,
});

/** A change after this position remains to be checked. */
const dueAfter = ({ due }: Following, position: number): number | null => (due !== null && due > position ? due : null);

const lostIn = ({ access }: SetBody, keyVersion: string): Extract<KeyAccess, { state: 'lost' }> | undefined => {
  const known = access[keyVersion];
  return known?.state === 'lost' ? known : undefined;
};

const withoutEpoch = (known: KeyAccess): KeyAccess =>
  known.state === 'lost' && known.publishedEpoch !== null
    ? { ...known, epoch: 0, publishedEpoch: 0 }
    : { ...known, epoch: 0 };

const withAccess = (set: SetBody, keyVersion: string, access: KeyAccess): Partial<SetBody> => ({
  access: { ...set.access, [keyVersion]: access },
});

/** A version stays purged until access to it is granted, as after its key was restored from a backup. */
const withLoss = (
  set: SetBody,
  keyVersion: string,
  loss: Omit<Extract<KeyAccess, { state: 'lost' }>, 'state' | 'isPurged'>,
): Partial<SetBody> => {
  const isPurged = loss.reason === 'KEY_PURGED' || lostIn(set, keyVersion)?.isPurged === true;
  return withAccess(set, keyVersion, { state: 'lost', ...loss, ...(isPurged ? { isPurged } : {}) });
};

const withRotation = (set: SetBody, change: Partial<Rotation>): Partial<SetBody> =>
  set.rotation === null ? {} : { rotation: { ...set.rotation, ...change } };

const only = <Value>(record: Readonly<Record<string, Value>>, key: string): Readonly<Record<string, Value>> => {
  const value = record[key];
  return value === undefined ? {} : { [key]: value };
};

/** Whether both are in the same region (CMK-23). */
export const isInRegionOf = (set: { readonly location: string }, wanted: { readonly location: string }): boolean =>
  isSameRegion(set.location, wanted.location);
