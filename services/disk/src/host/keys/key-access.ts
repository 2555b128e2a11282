import { isAboutIdentity } from '@interlock/access';
import { type Clock, leftMs, readingOf } from '@interlock/runtime';
import type { LossFacts } from './key-reasons.ts';
import { type Asked, endOf, type KeyGrant, type LeaseTerms, type Refused } from './lease.ts';

/**
 * Whether unwrapped DEKs may be used now, per (set, key version): what every piece of I/O asks.
 *
 * It is told of losses by facts of the set and by refusals of the vault, and of grants by the vault's yes. Losses are
 * numbered by the access epoch of the vault: a loss e concerns whoever unwrapped at an epoch below e, and nobody else,
 * however late it is heard. Not every no has a new number, for a key can just run out: a refusal also concerns a yes that
 * was asked for before it. Where a refusal has no epoch, the order of asking and hearing on this host decides. After a loss
 * only a yes that was asked for later, at an epoch no lower, counts. The end of an identity has no number to compare: it
 * concerns who was told yes as that identity. Once the set has told of it, no yes to that identity counts, and neither does a
 * no that is about it alone: questions asked as the earlier identity are answered when the set has another one already.
 *
 * A yes that proved an unwrap is a lease: it lets DEKs be used until its time is over (`lease.ts`). A loss ends it at once.
 *
 * One entry a set and version: losing a key costs the same for one disk and for a fleet.
 */
export interface KeyAccess {
  /** Begins a question to the vault: an answer counts from this moment, and against what was heard before it. */
  ask(): Asked;
  /**
   * The vault said yes. Ends a loss that is no newer.
   * @param proof whether an unwrap was part of it: only such a yes wins or renews the lease
   */
  granted(key: SetKeyVersion, grant: KeyGrant, proof: 'unwrapped' | 'stated'): void;
  /** Somebody with authority said no: the set by a fact, or the vault to a question. Listeners hear it before this returns. */
  lost(key: SetKeyVersion, loss: LossFacts, source: 'fact' | Refused): void;
  /** The set says that access is back. DEKs may be used from the next yes on. */
  restored(key: SetKeyVersion, accessEpoch: number): void;
  /**
   * A set is gone: what was lost to it is not lost to a later one of that name (CMK-39).
   * @param isUsed whether somebody has a DEK under a key: then there is the later one already, and what was told yes is told it
   */
  forget(set: string, isUsed: (key: SetKeyVersion) => boolean): void;
  /** The loss in force, or undefined: as far as known the key can be used. */
  lossOf(key: SetKeyVersion): LossFacts | undefined;
  /** Whether there is a loss in force of any version of a set. */
  isAnyLost(set: string): boolean;
  /**
   * The loss in force as far as it concerns a disk whose open is on record with that number. What a set told of up to then is
   * over for it, though this host, begun anew, remembers the loss and not the yes that came after it.
   */
  lossAfter(key: SetKeyVersion, accessEpoch: number): LossFacts | undefined;
  /** The loss in force that concerns a DEK unwrapped with this grant; undefined: as far as losses go it may be used. */
  lossConcerning(key: SetKeyVersion, grant: KeyGrant): LossFacts | undefined;
  /** The lease of a key; the same object for the same key, for as long as it is used. */
  lease(key: SetKeyVersion): Lease;
  /** What one yes is worth by itself, not renewed. */
  termOf(grant: KeyGrant): { isHeld(): boolean; leftMs(): number };
  /** Calls the listener at each change, in the order of listening. */
  listen(listener: KeyAccessListener): void;
}

/** Told of what changes. */
export interface KeyAccessListener {
  /** A yes won or renewed the lease. */
  readonly held?: (key: SetKeyVersion, grant: KeyGrant) => void;
  /** A loss was heard. @param concerns whether it concerns who unwrapped with a grant */
  readonly lost?: (key: SetKeyVersion, concerns: (grant: KeyGrant) => boolean, source: LossSource) => void;
  /** A loss is over; there is no lease yet. */
  readonly returned?: (key: SetKeyVersion) => void;
}

/** Who told of a loss: a fact of the set, or the vault itself. */
export type LossSource = 'fact' | 'refusal';

/** A key version as one set uses it: full names. */
export interface SetKeyVersion {
  readonly set: string;
  readonly keyVersion: string;
}

/** The right to use DEKs under one key. */
export interface Lease {
  readonly key: SetKeyVersion;
  /** The newest yes, also when its time is over; undefined after a loss, and before the first. */
  yes(): KeyGrant | undefined;
  /** Asked before and after every piece of I/O: two comparisons. */
  isHeld(): boolean;
}

interface Known extends LossFacts {
  readonly source: LossSource;
  readonly heard: number;
  /** Place of the question that was refused; undefined for a fact. */
  readonly asked: number | undefined;
  /** Whether a yes was heard while the refusal was on its way: then the higher epoch is the later answer. */
  readonly isCrossed: boolean;
}

interface Entry {
  readonly lease: Lease;
  loss: Known | undefined;
  /**
   * The grant to the last identity asked as with the highest epoch, the last asked for of those; undefined once that identity
   * has ended. A loss that does not concern it is over already.
   */
  newest: KeyGrant | undefined;
  /** When the last grant was heard. */
  grantHeard: number;
  /** What a yes must be asked for later than: the last loss that ended. */
  floorHeard: number;
  /** What a yes must not be lower than: every loss that was heard, until the set says that access is back. */
  floorEpoch: number;
  /** The last word of the set that access is back: up to which loss, and when it was heard. */
  back: { readonly accessEpoch: number; readonly heard: number } | undefined;
  yes: KeyGrant | undefined;
  endMonotonicMs: number;
  endBootMs: number;
}

/** Nothing is known yet. Rules G1, CMK-100, CMK-105, CMK-112. */
export const createKeyAccess = (
  clock: Pick<Clock, 'monotonicMs' | 'bootMs'>,
  { ttlMs }: Pick<LeaseTerms, 'ttlMs'>,
): KeyAccess => {
  const entries = new Map<string, Entry>();
  /** By set: identities whose end it told of. What they were told says nothing about the one after them. */
  const ended = new Map<string, Set<string>>();
  const listeners: KeyAccessListener[] = [];
  let order = 0;

  const nameOf = ({ set, keyVersion }: SetKeyVersion): string => `${set}\n${keyVersion}`;
  const concerns = (loss: Known, { accessEpoch, principal, asked: { order: asked } }: KeyGrant): boolean => {
    if (isOfAnother(loss, principal)) return false;
    if (loss.accessEpoch === undefined) return asked < loss.heard;
    if (accessEpoch < loss.accessEpoch) return true;
    const isEarlier = loss.asked !== undefined && asked < loss.asked;
    return isEarlier && (accessEpoch === loss.accessEpoch || !loss.isCrossed);
  };

  const entryOf = (key: SetKeyVersion): Entry => {
    const name = nameOf(key);
    const known = entries.get(name);
    if (known) return known;
    const { set, keyVersion } = key;
    const entry: Entry = {
      lease: {
        key: { set, keyVersion },
        yes: () => entry.yes,
        isHeld: () => clock.monotonicMs() < entry.endMonotonicMs && clock.bootMs() < entry.endBootMs,
      },
      loss: undefined,
      newest: undefined,
      grantHeard: 0,
      floorHeard: 0,
      floorEpoch: 0,
      back: undefined,
      yes: undefined,
      endMonotonicMs: Number.NEGATIVE_INFINITY,
      endBootMs: Number.NEGATIVE_INFINITY,
    };
    entries.set(name, entry);
    return entry;
  };
  const win = (entry: Entry, grant: KeyGrant): void => {
    const end = endOf(grant, ttlMs);
    // Answers may overtake each other: the yes that lasts longest counts.
    if (entry.yes !== undefined && end.bootMs <= entry.endBootMs) return;
    entry.yes = grant;
    entry.endMonotonicMs = end.monotonicMs;
    entry.endBootMs = end.bootMs;
  };
  const end = (entry: Entry): void => {
    entry.yes = undefined;
    entry.endMonotonicMs = Number.NEGATIVE_INFINITY;
    entry.endBootMs = Number.NEGATIVE_INFINITY;
  };
  const hasEnded = (set: string, principal: string | undefined): boolean =>
    principal !== undefined && ended.get(set)?.has(principal) === true;
  const noteEnd = (set: string, principal: string): void => {
    ended.set(set, (ended.get(set) ?? new Set()).add(principal));
    for (const entry of entries.values()) {
      if (entry.lease.key.set === set && entry.newest?.principal === principal) entry.newest = undefined;
    }
  };
  /** The loss is over: DEKs may be used from the next yes on. */
  const bringBack = (entry: Entry, loss: Known, accessEpoch: number): void => {
    entry.loss = undefined;
    entry.floorHeard = loss.heard;
    entry.floorEpoch = accessEpoch;
    for (const { returned } of listeners) returned?.(entry.lease.key);
  };
  const isOverBy = (loss: Known, grant: KeyGrant): boolean => grant.asked.order > loss.heard && !concerns(loss, grant);

  return {
    ask: () => {
      order += 1;
      return { order, at: readingOf(clock) };
    },
    granted(key, grant, proof) {
      if (hasEnded(key.set, grant.principal)) return;
      const entry = entryOf(key);
      order += 1;
      entry.grantHeard = order;
      if (isNewer(grant, entry.newest)) entry.newest = grant;
      const { loss } = entry;
      const isReturned = loss !== undefined && isOverBy(loss, grant);
      if (isReturned) {
        entry.loss = undefined;
        entry.floorHeard = loss.heard;
      }
      const isLateEnough = grant.asked.order > entry.floorHeard && grant.accessEpoch >= entry.floorEpoch;
      const isWon = proof === 'unwrapped' && entry.loss === undefined && isLateEnough;
      // One question is asked for many disks, and its yes proved by each of them: it is news once.
      const isNews = isWon && entry.yes?.asked.order !== grant.asked.order;
      if (isWon) win(entry, grant);
      if (isReturned) for (const { returned } of listeners) returned?.(entry.lease.key);
      if (isNews) for (const { held } of listeners) held?.(entry.lease.key, grant);
    },
    lost(key, facts, source) {
      if (source !== 'fact' && isAboutIdentity(facts.reason) && hasEnded(key.set, source.principal)) return;
      const entry = entryOf(key);
      order += 1;
      const known = entry.loss;
      // The same no again: what is known of when and why it began stays.
      const isSame = known?.reason === facts.reason && known.accessEpoch === facts.accessEpoch;
      const asked = source === 'fact' ? undefined : source.order;
      const isAboutKey = known !== undefined && !isAboutIdentity(known.reason);
      const isOfAskerAlone = source !== 'fact' && facts.reason === 'IDENTITY_DELETED' && isAboutKey;
      const loss: Known = {
        ...(isSame ? known : facts),
        // Whoever asks as an identity that has ended learns that first, whatever became of the key: that goes on being told.
        ...(isOfAskerAlone ? { reason: known.reason, since: known.since, traceId: known.traceId } : {}),
        source: source === 'fact' ? 'fact' : 'refusal',
        heard: order,
        asked,
        isCrossed: asked !== undefined && entry.grantHeard > asked,
      };
      // Facts of a set come in order: the one after the end of an identity is about the next, whose numbers are lower.
      const isOfNext = source === 'fact' && known?.principal !== undefined && known.principal !== facts.principal;
      const isLater =
        known === undefined || isOfNext || (known.accessEpoch ?? 0) <= (facts.accessEpoch ?? Number.MAX_SAFE_INTEGER);
      if (source === 'fact' && facts.principal !== undefined) noteEnd(key.set, facts.principal);
      const isOver = entry.newest !== undefined && !concerns(loss, entry.newest);
      if (isLater && !isOver) entry.loss = loss;
      // No yes reaches the number of an identity's end: that is over with the first yes to another identity.
      if (facts.principal === undefined) entry.floorEpoch = Math.max(entry.floorEpoch, facts.accessEpoch ?? 0);
      if (entry.yes !== undefined && concerns(loss, entry.yes)) end(entry);
      for (const { lost } of listeners) lost?.(entry.lease.key, (grant) => concerns(loss, grant), loss.source);
      // A refusal may come after the word of the set that what it tells of is over: nobody says that again.
      const { back } = entry;
      const isBack = back !== undefined && asked !== undefined && asked < back.heard;
      if (isBack && entry.loss === loss && (loss.accessEpoch ?? Number.MAX_SAFE_INTEGER) <= back.accessEpoch) {
        bringBack(entry, loss, back.accessEpoch);
      }
    },
    restored(key, accessEpoch) {
      const entry = entryOf(key);
      const { loss } = entry;
      order += 1;
      entry.back = { accessEpoch, heard: order };
      // Facts of a set come in order, so this one answers the loss told before it; a refusal may be newer than both.
      const isAnswered = loss?.source === 'fact' || (loss?.accessEpoch ?? 0) <= accessEpoch;
      if (!loss) {
        // A yes has ended it already. The loss may have had the number of what never returns, which no yes reaches.
        const yesEpoch = entry.newest?.accessEpoch ?? 0;
        entry.floorEpoch = Math.min(entry.floorEpoch, Math.max(accessEpoch, yesEpoch));
      }
      if (loss && isAnswered) bringBack(entry, loss, accessEpoch);
    },
    forget(set, isUsed) {
      const prefix = nameOf({ set, keyVersion: '' });
      ended.delete(set);
      for (const [name, entry] of entries) {
        if (!name.startsWith(prefix)) continue;
        if (isUsed(entry.lease.key)) {
          entry.back = undefined;
          if (entry.loss?.source === 'fact') bringBack(entry, entry.loss, 0);
        } else {
          entries.delete(name);
          end(entry);
        }
      }
    },
    lossOf: (key) => entries.get(nameOf(key))?.loss,
    isAnyLost: (set) => [...entries.values()].some(({ lease, loss }) => lease.key.set === set && loss !== undefined),
    lossAfter(key, accessEpoch) {
      const loss = entries.get(nameOf(key))?.loss;
      const isOver = loss?.source === 'fact' && accessEpoch >= (loss.accessEpoch ?? Number.POSITIVE_INFINITY);
      return isOver ? undefined : loss;
    },
    lossConcerning(key, grant) {
      const loss = entries.get(nameOf(key))?.loss;
      return loss && concerns(loss, grant) ? loss : undefined;
    },
    lease: (key) => entryOf(key).lease,
    termOf(grant) {
      const end = endOf(grant, ttlMs);
      const left = (): number => leftMs(end, readingOf(clock));
      return { isHeld: () => left() > 0, leftMs: left };
    },
    listen: (listener) => {
      listeners.push(listener);
    },
  };
};

/** The end of an identity, however late it is heard, says nothing about another one. */
const isOfAnother = (loss: LossFacts, principal: string | undefined): boolean =>
  loss.principal !== undefined && principal !== undefined && loss.principal !== principal;

/** Whoever is asked as later is the set's identity now, whatever number an earlier one was given. */
const isNewer = (one: KeyGrant, other: KeyGrant | undefined): boolean => {
  if (other === undefined) return true;
  const isSame = one.principal === undefined || other.principal === undefined || one.principal === other.principal;
  if (isSame && one.accessEpoch !== other.accessEpoch) return one.accessEpoch > other.accessEpoch;
  return one.asked.order > other.asked.order;
};
