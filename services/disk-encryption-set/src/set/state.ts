import { isSameRegion } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import type { Founding, KeyReference, SetEvent, SetOptions } from './events.ts';
import type { LossReason } from './reasons.ts';

/** Whether a key version can be used by the set. A version without one has not been asked about yet. */
export type KeyAccess =
  | { readonly state: 'available'; readonly epoch: number; readonly since: Instant }
  | {
      readonly state: 'lost';
      readonly reason: LossReason;
      readonly epoch: number;
      readonly since: Instant;
      readonly traceId: string;
      /**
       * The number others heard last; null where they heard of none. An expiry under `next_start` concerns nobody who runs, so
       * one behind a told loss raises `epoch` alone.
       */
      readonly toldEpoch: number | null;
    };

/** What the vault is to be asked about a version. */
export interface Question {
  readonly epoch: number;
  readonly since: Instant;
  readonly traceId: string;
}

/** How a set that follows its key stands to the newest version. */
export interface Following {
  /** Position in key-vault's feed from which the newest version is to be looked at; null when it was. */
  readonly due: number | null;
  /** Why the newest version could not be taken; null while there is nothing in the way. */
  readonly error: {
    readonly keyVersion: string;
    readonly code: string;
    readonly message: string;
    readonly since: Instant;
  } | null;
}

/** The last move to another key. */
export interface Rotation {
  readonly generation: number;
  readonly progress:
    | { readonly status: 'running' }
    | {
        readonly status: 'waiting';
        readonly reason: LossReason | 'UNKNOWN';
        readonly keyVersion: string;
        /** Code of the refusal where the reason is `UNKNOWN`; absent where that was not kept. */
        readonly code?: string;
      }
    | { readonly status: 'finished'; readonly finishedAt: Instant };
  readonly resourcesCount: number;
  readonly doneCount: number;
  readonly startedAt: Instant;
}

/** Everything a set that exists has. */
export interface SetBody extends Founding {
  readonly options: SetOptions;
  readonly activeKey: KeyReference;
  /**
   * Older versions that something may still be wrapped under, oldest first; empty unless a move is unfinished (CMK-34). A
   * move to another identity under the same key has none.
   */
  readonly previousKeys: readonly KeyReference[];
  /** Rises with every change of the active key, from 1; never falls, also when a set follows a deleted one of its name. */
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
    /** Principals of removed identities that exist there still. */
    readonly retiring: readonly string[];
    /**
     * When the identity was chosen, as long as no vault has said yes to it: what a refusal goes back to before that took
     * nothing from it. Null once one did.
     */
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
 * A deleted name is free: create begins another set there, with another identity and a higher generation (CMK-39).
 *
 * While active its key may change: KeyAssigned ─▶ running ⇄ waiting ─▶ finished, told by `rotation`.
 */
export type DiskEncryptionSet =
  | { readonly status: 'absent' }
  | ({ readonly status: 'creating' } & SetBody)
  | ({ readonly status: 'active' } & SetBody)
  | ({ readonly status: 'deleting' } & SetBody)
  | ({ readonly status: 'released' } & SetBody)
  | ({ readonly status: 'deleted' } & SetBody);

/** A set whose keys are watched: it has disks, or may have again. */
export type LivingSet = Extract<DiskEncryptionSet, { status: 'active' | 'deleting' }>;

export const initial: DiskEncryptionSet = { status: 'absent' };

export const evolve = (set: DiskEncryptionSet, event: SetEvent): DiskEncryptionSet => {
  if (event.type === 'SetCreating') {
    const { type: _type, at, key, ...founding } = event;
    const { askedOptions } = founding;
    return {
      ...founding,
      status: 'creating',
      options: askedOptions,
      activeKey: key,
      previousKeys: [],
      // Goes on above a deleted set of this name: whoever remembers a generation of that one takes it for outdated.
      generation: set.status === 'absent' ? 1 : set.generation + 1,
      access: {},
      questions: {},
      createdAt: at,
      lastKeyRotationAt: null,
      rotation: null,
      following: { due: askedOptions.autoKeyRotation ? 0 : null, error: null },
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

/** Every version the set watches: the active one first. */
export const keyVersionsOf = ({ activeKey, previousKeys }: SetBody): readonly string[] => [
  activeKey.keyVersion,
  ...previousKeys.map(({ keyVersion }) => keyVersion),
];

type LifeEvent = Extract<SetEvent, { type: `Set${string}` }>;

const evolveKeys = (set: SetBody, event: Exclude<SetEvent, LifeEvent>): Partial<SetBody> => {
  switch (event.type) {
    case 'KeyAssigned': {
      const { key, generation, at } = event;
      const previousKeys = [...set.previousKeys, set.activeKey].filter((old) => old.keyVersion !== key.keyVersion);
      const rotation = newRotation(generation, at);
      const following = { ...set.following, error: null };
      return { activeKey: key, previousKeys, generation, lastKeyRotationAt: at, rotation, following };
    }
    case 'IdentityRemoved': {
      const retiring = [...set.identity.retiring, event.principal];
      return { principal: '', identity: { ...set.identity, isMade: false, retiring } };
    }
    case 'IdentityRetired': {
      const retiring = set.identity.retiring.filter((principal) => principal !== event.principal);
      return { identity: { ...set.identity, retiring } };
    }
    case 'IdentityReplaced': {
      const { principal, generation, at } = event;
      // What another identity lost or was asked about says nothing about this one; a loss stays until there is a yes.
      const access = Object.entries(set.access).map(([version, known]) => [version, begunAnew(known)] as const);
      return {
        principal,
        generation,
        rotation: newRotation(generation, at),
        access: Object.fromEntries(access),
        questions: {},
        identity: { ...set.identity, isMade: false, ungrantedSince: at },
      };
    }
    case 'IdentityMade':
      return { identity: { ...set.identity, isMade: true } };
    case 'KeyAccessLost': {
      const { keyVersion, reason, epoch, since, traceId } = event;
      // A correction has the number of what was told before, and undoes nothing that came since.
      const newest = Math.max(epoch, lostIn(set, keyVersion)?.epoch ?? 0);
      return withAccess(set, keyVersion, { state: 'lost', reason, epoch: newest, since, traceId, toldEpoch: epoch });
    }
    case 'KeyAccessBarred': {
      const { keyVersion, reason, epoch, since, traceId } = event;
      const toldEpoch = lostIn(set, keyVersion)?.toldEpoch ?? null;
      return withAccess(set, keyVersion, { state: 'lost', reason, epoch, since, traceId, toldEpoch });
    }
    case 'KeyAccessRestored': {
      const { keyVersion, epoch, at } = event;
      const identity = { ...set.identity, ungrantedSince: null };
      return { ...withAccess(set, keyVersion, { state: 'available', epoch, since: at }), identity };
    }
    case 'KeyAccessQuestioned': {
      const { type: _type, keyVersion, ...question } = event;
      return { questions: { ...set.questions, [keyVersion]: question } };
    }
    case 'KeyAccessAnswered': {
      const { [event.keyVersion]: _answered, ...questions } = set.questions;
      const known = set.access[event.keyVersion];
      const isNewer = event.granted && known?.state === 'available' && known.epoch < event.epoch;
      return { questions, ...(isNewer ? withAccess(set, event.keyVersion, { ...known, epoch: event.epoch }) : {}) };
    }
    case 'NewerVersionNoticed':
      return { following: { ...set.following, due: event.position } };
    case 'NewestFollowed':
      return { following: { due: dueAfter(set.following, event.position), error: null } };
    case 'NewestNotFollowed': {
      const { keyVersion, code, message, position, at } = event;
      const known = set.following.error;
      const isKnown = known?.keyVersion === keyVersion && known.code === code;
      const error = { keyVersion, code, message, since: isKnown ? known.since : at };
      return { following: { due: dueAfter(set.following, position), error } };
    }
    case 'RotationProgressed': {
      const { resourcesCount, doneCount } = event;
      return withRotation(set, { progress: { status: 'running' }, resourcesCount, doneCount });
    }
    case 'RotationWaiting': {
      const { type: _type, generation: _generation, at: _at, ...wait } = event;
      return withRotation(set, { progress: { status: 'waiting', ...wait } });
    }
    case 'RotationResumed':
      return withRotation(set, { progress: { status: 'running' } });
    case 'RotationFinished': {
      const active = set.activeKey.keyVersion;
      return {
        ...withRotation(set, {
          progress: { status: 'finished', finishedAt: event.at },
          doneCount: set.rotation?.resourcesCount ?? 0,
        }),
        previousKeys: [],
        access: only(set.access, active),
        questions: only(set.questions, active),
      };
    }
  }
};

const newRotation = (generation: number, startedAt: Instant): Rotation => ({
  generation,
  progress: { status: 'running' },
  resourcesCount: 0,
  doneCount: 0,
  startedAt,
});

/** What was noticed later than the look is still to be looked at. */
const dueAfter = ({ due }: Following, position: number): number | null => (due !== null && due > position ? due : null);

const lostIn = ({ access }: SetBody, keyVersion: string): Extract<KeyAccess, { state: 'lost' }> | undefined => {
  const known = access[keyVersion];
  return known?.state === 'lost' ? known : undefined;
};

const begunAnew = (known: KeyAccess): KeyAccess =>
  known.state === 'lost' && known.toldEpoch !== null ? { ...known, epoch: 0, toldEpoch: 0 } : { ...known, epoch: 0 };

const withAccess = (set: SetBody, keyVersion: string, access: KeyAccess): Partial<SetBody> => ({
  access: { ...set.access, [keyVersion]: access },
});

const withRotation = (set: SetBody, change: Partial<Rotation>): Partial<SetBody> =>
  set.rotation === null ? {} : { rotation: { ...set.rotation, ...change } };

const only = <Value>(record: Readonly<Record<string, Value>>, key: string): Readonly<Record<string, Value>> => {
  const value = record[key];
  return value === undefined ? {} : { [key]: value };
};

/** Whether what is asked for would be where the set is (CMK-23). */
export const isInRegionOf = (set: { readonly location: string }, wish: { readonly location: string }): boolean =>
  isSameRegion(set.location, wish.location);
