import type { RecordedEvent } from '@interlock/event-store';
import { traceIdOf } from '@interlock/runtime';
import type { ReadSetEvent } from '../events/disk-encryption-set.ts';
import { readEvent } from '../events/recorded.ts';
import { AccessTruth, type DefiniteReason } from './access.ts';

/** A set as its events have it. */
export interface KnownSet {
  /** Empty while it has no identity. */
  principal: string;
  activeKey: string;
  /** Older versions that something may still use, as the set itself shows them. */
  readonly previousKeys: Set<string>;
  /** Whether an expiry stops nothing that runs (CMK-104). */
  expiresAtNextStart: boolean;
  isDeleted: boolean;
}

/** What blocks a set from using a key version now. Times in milliseconds of true time. */
export interface Blocker {
  readonly reason: DefiniteReason;
  /** t0: the commit, or the date. */
  readonly sinceMs: number;
  readonly owner: 'key-vault' | 'identity';
  /** The event that changed access at `sinceMs`; absent for a date. */
  readonly event?: RecordedEvent;
}

/** A time in which a set could not use a key version. */
export interface Loss {
  readonly fromMs: number;
  /** Undefined while it lasts. */
  untilMs: number | undefined;
  /** Every reason that applied in that time. */
  readonly reasons: Set<DefiniteReason>;
  /** Traces of the commits in that time that can have removed access; none of a date. */
  readonly traces: Set<string>;
  /** The blocker that started it. */
  readonly first: Blocker;
}

/** The purpose for which a key is needed: an expiry may matter only for opening (CMK-104). */
export type Purpose = 'running' | 'opening';

export const noBlockers: readonly Blocker[] = [];

/** A set and a key version. */
interface Pair {
  readonly set: string;
  readonly keyVersion: string;
  /** By reason and owner. */
  blockers: ReadonlyMap<string, Blocker>;
  readonly losses: Readonly<Record<Purpose, Loss[]>>;
  /** Wall clock of the vault at which the next of its dates applies. */
  nextDate: number | undefined;
}

/** Since when each set cannot use each key version, and when it could not in the past. */
export class LossTruth {
  readonly access = new AccessTruth();
  readonly #sets = new Map<string, KnownSet>();
  /** By set and by version: a judge looks up a pair for every disk at every step. */
  readonly #pairs = new Map<string, Map<string, Pair>>();
  readonly #nowMs: () => number;
  readonly #vaultNow: () => number;
  #event: RecordedEvent | undefined;

  /**
   * @param nowMs true time, in milliseconds since the start of the run
   * @param vaultNow wall clock of key-vault's machine
   */
  constructor(nowMs: () => number, vaultNow: () => number) {
    this.#nowMs = nowMs;
    this.#vaultNow = vaultNow;
  }

  get sets(): ReadonlyMap<string, KnownSet> {
    return this.#sets;
  }

  /** Applies an event of key-vault, identity or the sets. */
  apply(event: RecordedEvent): void {
    this.#event = undefined;
    this.refreshDates();
    this.#event = event;
    if (event.stream.startsWith('set-')) this.#applySet(event.stream.slice('set-'.length), readEvent(event));
    else if (this.access.apply(event)) this.#refreshAll();
    else this.#noteRemoval(event);
    this.#event = undefined;
  }

  /** A vault that notices that identity removed access stores it with a trace of its own: that of the call that showed it. */
  #noteRemoval({ stream, data }: RecordedEvent): void {
    const { principal, removed } = Object(data);
    if (removed !== true || !stream.startsWith('vault-')) return;
    for (const ofSet of this.#pairs.values())
      for (const pair of ofSet.values()) {
        if (this.#sets.get(pair.set)?.principal !== principal) continue;
        // The loss may be over by then: the vault learns of it within `authzTtl`.
        for (const loss of [pair.losses.running.at(-1), pair.losses.opening.at(-1)])
          for (const trace of this.#tracesFor(pair)) loss?.traces.add(trace);
      }
  }

  /** Sets the vault's clock: dates start or stop to apply at this moment. */
  setClock(set: () => void): void {
    this.#refreshAll();
    set();
    this.#refreshAll(true);
  }

  /** What blocks the use now; empty if the key can be used. */
  blockers(set: string, keyVersion: string, purpose: Purpose): readonly Blocker[] {
    const pair = this.#pairOf(set, keyVersion);
    if (pair.blockers.size === 0) return noBlockers;
    return [...pair.blockers.values()].filter(({ reason }) => this.#isRelevant(pair, reason, purpose));
  }

  /** Every loss up to now, oldest first. */
  losses(set: string, keyVersion: string, purpose: Purpose): readonly Loss[] {
    return this.#pairOf(set, keyVersion).losses[purpose];
  }

  /** Every pair of a set and a key version that this set was ever under. */
  pairs(): readonly Pick<Pair, 'set' | 'keyVersion'>[] {
    return [...this.#pairs.values()].flatMap((ofSet) => [...ofSet.values()]);
  }

  /** Notes the dates that were reached since the last event. */
  refreshDates(): void {
    const instant = this.#vaultNow();
    for (const ofSet of this.#pairs.values()) {
      for (const pair of ofSet.values()) {
        if (pair.nextDate !== undefined && instant >= pair.nextDate) this.#refresh(pair);
      }
    }
  }

  #isRelevant(pair: Pair, reason: DefiniteReason, purpose: Purpose): boolean {
    return purpose === 'opening' || reason !== 'KEY_EXPIRED' || this.#sets.get(pair.set)?.expiresAtNextStart !== true;
  }

  #refreshAll(isClockSet = false): void {
    for (const ofSet of this.#pairs.values()) for (const pair of ofSet.values()) this.#refresh(pair, isClockSet);
  }

  #refreshSet(set: string): void {
    for (const pair of this.#pairs.get(set)?.values() ?? []) this.#refresh(pair);
  }

  #pairOf(set: string, keyVersion: string): Pair {
    const ofSet = this.#pairs.get(set) ?? new Map<string, Pair>();
    let pair = ofSet.get(keyVersion);
    if (!pair) {
      pair = { set, keyVersion, blockers: new Map(), losses: { running: [], opening: [] }, nextDate: undefined };
      this.#pairs.set(set, ofSet.set(keyVersion, pair));
      this.#refresh(pair);
    } else if (pair.nextDate !== undefined && this.#vaultNow() >= pair.nextDate) this.#refresh(pair);
    return pair;
  }

  /** @param isClockSet whether the vault's clock was just set: dates it passes apply from this moment */
  #refresh(pair: Pair, isClockSet = false): void {
    const set = this.#sets.get(pair.set);
    if (!set) return;
    const [at, instant] = [this.#nowMs(), this.#vaultNow()];
    const found = new Map<string, Blocker>();
    for (const { reason, owner, fromInstant } of this.access.blockers(set.principal, pair.keyVersion, instant)) {
      const dateMs = fromInstant === undefined ? at : at - (instant - fromInstant);
      // A date that was set into the past applies since it was set; a date that was reached applies since that moment.
      const isReached = !isClockSet && pair.nextDate !== undefined && instant >= pair.nextDate;
      const sinceMs = isReached ? Math.min(at, dateMs) : at;
      // Two owners may block for the same reason, each since a different time: one may restore access while the other does not.
      const name = `${reason} ${owner}`;
      const event = this.#event === undefined ? {} : { event: this.#event };
      found.set(name, found.get(name) ?? pair.blockers.get(name) ?? { reason, owner, sinceMs, ...event });
    }
    pair.blockers = found;
    pair.nextDate = this.access.nextDate(pair.keyVersion, instant);
    for (const purpose of ['running', 'opening'] as const) this.#noteLoss(pair, purpose, at);
  }

  #noteLoss(pair: Pair, purpose: Purpose, at: number): void {
    const blockers = [...pair.blockers.values()].filter(({ reason }) => this.#isRelevant(pair, reason, purpose));
    const last = pair.losses[purpose].at(-1);
    const open = last?.untilMs === undefined ? last : undefined;
    const [first] = blockers.toSorted((a, b) => a.sinceMs - b.sinceMs);
    if (open) {
      for (const { reason } of blockers) open.reasons.add(reason);
      for (const trace of first ? this.#tracesFor(pair) : []) open.traces.add(trace);
      if (!first) open.untilMs = at;
    } else if (first) {
      const reasons = new Set(blockers.map(({ reason }) => reason));
      const traces = new Set(this.#tracesFor(pair));
      pair.losses[purpose].push({ fromMs: first.sinceMs, untilMs: undefined, reasons, traces, first });
    }
  }

  /** The trace of the event that is applied now, if its stream decides about the pair. */
  #tracesFor({ set, keyVersion }: Pair): readonly string[] {
    const trace = traceIdOf(this.#event?.cause.traceparent);
    if (this.#event === undefined || trace === undefined) return [];
    const [key = ''] = keyVersion.split('/versions/');
    const { stream } = this.#event;
    const own = [`key-${key}`, `vault-${key.split('/')[1]}`, `set-${set}`];
    return own.includes(stream) || /^(principal|role_assignment)-/.test(stream) ? [trace] : [];
  }

  #applySet(name: string, event: ReadSetEvent): void {
    if (event.type === 'SetCreating') {
      const { principal, key, requestedOptions } = event;
      const expiresAtNextStart = requestedOptions.keyExpiry === 'next_start';
      // A later set of the same name has another identity: the losses of an earlier one do not concern it (CMK-39).
      this.#pairs.delete(name);
      const keys = { activeKey: key.keyVersion, previousKeys: new Set<string>() };
      this.#sets.set(name, { principal, ...keys, expiresAtNextStart, isDeleted: false });
      this.#pairOf(name, key.keyVersion);
      return;
    }
    const set = this.#sets.get(name);
    if (!set) return;
    switch (event.type) {
      case 'KeyAssigned':
        set.previousKeys.add(set.activeKey);
        set.previousKeys.delete(event.key.keyVersion);
        set.activeKey = event.key.keyVersion;
        this.#pairOf(name, set.activeKey);
        return;
      case 'IdentityRemoved':
      case 'IdentityReplaced':
        set.principal = event.type === 'IdentityReplaced' ? event.principal : '';
        this.#refreshSet(name);
        return;
      case 'RotationFinished':
        set.previousKeys.clear();
        return;
      case 'SetOptionsChanged':
        set.expiresAtNextStart = event.keyExpiry === 'next_start';
        this.#refreshSet(name);
        return;
      case 'SetDeleted':
      case 'SetCreationAbandoned':
        set.isDeleted = true;
        return;
    }
  }
}
