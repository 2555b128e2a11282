import type { RecordedEvent } from '@interlock/event-store';
import type { SetEvent } from '../../../services/disk-encryption-set/src/set/events.ts';
import { type AccessTruth, type DefiniteReason, openAccessTruth } from './access.ts';

/** A set as its events have it. */
export interface KnownSet {
  /** Empty while it has no identity. */
  principal: string;
  activeKey: string;
  /** Older versions that something may still be under, as the set itself says. */
  readonly previousKeys: Set<string>;
  /** Whether an expiry stops nothing that runs (CMK-104). */
  expiresAtNextStart: boolean;
  isDeleted: boolean;
}

/** Something that is in the way of a (set, key version) now. Times in milliseconds of true time. */
export interface Standing {
  readonly reason: DefiniteReason;
  /** t0: the commit, or the date. */
  readonly sinceMs: number;
  readonly owner: 'key-vault' | 'identity';
}

/** A time in which a (set, key version) could not be used. */
export interface Loss {
  readonly fromMs: number;
  /** Undefined while it lasts. */
  untilMs: number | undefined;
  /** Every reason there was in that time. */
  readonly reasons: Set<DefiniteReason>;
}

/** For which purpose a key is needed: an expiry may be set to matter only for opening (CMK-104). */
export type Purpose = 'running' | 'opening';

/** Since when each key version cannot be used by each set, and when it could not in the past. */
export interface LossTruth {
  readonly access: AccessTruth;
  readonly sets: ReadonlyMap<string, KnownSet>;
  apply(event: RecordedEvent): void;
  /** Sets the vault's clock: dates begin or cease to matter at this moment. */
  setClock(set: () => void): void;
  /** What is in the way now; empty: the key can be used. */
  standing(set: string, keyVersion: string, purpose: Purpose): readonly Standing[];
  /** Every loss up to now, oldest first. */
  losses(set: string, keyVersion: string, purpose: Purpose): readonly Loss[];
}

/** What stands in the way nearly always. */
export const noneStanding: readonly Standing[] = [];

interface Pair {
  readonly set: string;
  readonly keyVersion: string;
  /** By reason and by who decided it. */
  standing: ReadonlyMap<string, Standing>;
  readonly losses: Readonly<Record<Purpose, Loss[]>>;
  /** Wall clock of the vault at which its dates matter next. */
  nextDate: number | undefined;
}

/**
 * @param nowMs true time, in milliseconds since the world began
 * @param vaultNow wall clock of key-vault's machine
 */
export const openLossTruth = (nowMs: () => number, vaultNow: () => number): LossTruth => {
  const access = openAccessTruth();
  const sets = new Map<string, KnownSet>();
  /** By set and by version: a pair is asked for at every look at every disk. */
  const pairs = new Map<string, Map<string, Pair>>();

  const matters = (pair: Pair, reason: DefiniteReason, purpose: Purpose): boolean =>
    purpose === 'opening' || reason !== 'KEY_EXPIRED' || sets.get(pair.set)?.expiresAtNextStart !== true;

  /** @param isClockSet whether the vault's clock was set just now: what it passes over begins at this moment */
  const refresh = (pair: Pair, isClockSet = false): void => {
    const set = sets.get(pair.set);
    if (!set) return;
    const at = nowMs();
    const instant = vaultNow();
    const found = new Map<string, Standing>();
    for (const { reason, owner, fromInstant } of access.obstacles(set.principal, pair.keyVersion, instant)) {
      const began = fromInstant === undefined ? at : at - (instant - fromInstant);
      // A date set into the past took effect when it was set, one that was reached at that moment.
      const isReached = !isClockSet && pair.nextDate !== undefined && instant >= pair.nextDate;
      const sinceMs = isReached ? Math.min(at, began) : at;
      // Of two who take access away for the same reason each has its own time: what one still gives, the other may not.
      const name = `${reason} ${owner}`;
      found.set(name, found.get(name) ?? pair.standing.get(name) ?? { reason, owner, sinceMs });
    }
    pair.standing = found;
    pair.nextDate = access.nextDate(pair.keyVersion, instant);
    for (const purpose of ['running', 'opening'] as const) {
      const reasons = [...found.values()].filter(({ reason }) => matters(pair, reason, purpose));
      const last = pair.losses[purpose].at(-1);
      const open = last?.untilMs === undefined ? last : undefined;
      const [first] = reasons;
      if (open) {
        for (const { reason } of reasons) open.reasons.add(reason);
        if (!first) open.untilMs = at;
      } else if (first) {
        const fromMs = Math.min(...reasons.map(({ sinceMs }) => sinceMs));
        pair.losses[purpose].push({
          fromMs,
          untilMs: undefined,
          reasons: new Set(reasons.map(({ reason }) => reason)),
        });
      }
    }
  };

  const refreshAll = (isClockSet = false): void => {
    for (const ofSet of pairs.values()) for (const pair of ofSet.values()) refresh(pair, isClockSet);
  };
  const refreshSet = (set: string): void => {
    for (const pair of pairs.get(set)?.values() ?? []) refresh(pair);
  };

  const pairOf = (set: string, keyVersion: string): Pair => {
    const ofSet = pairs.get(set) ?? new Map<string, Pair>();
    let pair = ofSet.get(keyVersion);
    if (!pair) {
      pair = { set, keyVersion, standing: new Map(), losses: { running: [], opening: [] }, nextDate: undefined };
      pairs.set(set, ofSet.set(keyVersion, pair));
      refresh(pair);
    } else if (pair.nextDate !== undefined && vaultNow() >= pair.nextDate) refresh(pair);
    return pair;
  };

  const applySet = (name: string, event: SetEvent): void => {
    if (event.type === 'SetCreating') {
      const { principal, key, askedOptions } = event;
      const expiresAtNextStart = askedOptions.keyExpiry === 'next_start';
      // A later set of the name has another identity: what an earlier one lost says nothing about it (CMK-39).
      pairs.delete(name);
      sets.set(name, {
        principal,
        activeKey: key.keyVersion,
        previousKeys: new Set(),
        expiresAtNextStart,
        isDeleted: false,
      });
      pairOf(name, key.keyVersion);
      return;
    }
    const set = sets.get(name);
    if (!set) return;
    switch (event.type) {
      case 'KeyAssigned':
        set.previousKeys.add(set.activeKey);
        set.previousKeys.delete(event.key.keyVersion);
        set.activeKey = event.key.keyVersion;
        pairOf(name, set.activeKey);
        return;
      case 'IdentityRemoved':
      case 'IdentityReplaced':
        set.principal = event.type === 'IdentityReplaced' ? event.principal : '';
        refreshSet(name);
        return;
      case 'RotationFinished':
        set.previousKeys.clear();
        return;
      case 'SetOptionsChanged':
        set.expiresAtNextStart = event.keyExpiry === 'next_start';
        refreshSet(name);
        return;
      case 'SetDeleted':
      case 'SetCreationAbandoned':
        set.isDeleted = true;
        return;
    }
  };

  return {
    access,
    sets,
    apply(event) {
      // A date that was reached before this event and that it takes away was in the way until now.
      const instant = vaultNow();
      for (const ofSet of pairs.values()) {
        for (const pair of ofSet.values()) if (pair.nextDate !== undefined && instant >= pair.nextDate) refresh(pair);
      }
      if (event.stream.startsWith('set-')) {
        const { type, data } = event;
        applySet(event.stream.slice('set-'.length), { type, ...data } as unknown as SetEvent);
      } else if (access.apply(event)) refreshAll();
    },
    setClock(set) {
      refreshAll();
      set();
      refreshAll(true);
    },
    standing(set, keyVersion, purpose) {
      const pair = pairOf(set, keyVersion);
      if (pair.standing.size === 0) return noneStanding;
      return [...pair.standing.values()].filter(({ reason }) => matters(pair, reason, purpose));
    },
    losses: (set, keyVersion, purpose) => pairOf(set, keyVersion).losses[purpose],
  };
};
