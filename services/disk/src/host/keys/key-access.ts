import { concerns, FINAL_EPOCH, type Grant, isAboutIdentity, isSameIdentity } from '@interlock/access';
import { type Clock, leftMs, readingOf } from '@interlock/runtime';
import type { LossFacts } from './key-reasons.ts';
import { endOf, type KeyGrant, type LeaseTerms, type Refused, type SentCall } from './lease.ts';
import { SetIdentities } from './set-identities.ts';
import type { SetKey } from './set-keys.ts';

/** Receives the changes. */
export interface KeyAccessListener {
  /** A grant won or renewed the lease. */
  readonly held?: (key: SetKeyVersion, grant: KeyGrant) => void;
  /** A loss arrived. @param concerns whether it concerns a DEK that was unwrapped with a grant */
  readonly lost?: (key: SetKeyVersion, concerns: (grant: KeyGrant) => boolean, source: LossSource) => void;
  /** A loss is over; there is no lease yet. */
  readonly returned?: (key: SetKeyVersion) => void;
}

/** Where a loss came from: a fact of the set, or a refusal of the vault. */
export type LossSource = 'fact' | 'refusal';

/** A key version as one set uses it: full names. */
export interface SetKeyVersion {
  readonly set: string;
  readonly keyVersion: string;
}

/** The right to use DEKs under one key. */
export interface Lease {
  readonly key: SetKeyVersion;
  /** The newest grant, also when its time is over; undefined after a loss, and before the first. */
  grant(): KeyGrant | undefined;
  /** Checked before and after every piece of I/O: two comparisons. */
  isHeld(): boolean;
  /** Milliseconds until its end, unless it is renewed; 0 or less: it is not held. */
  leftMs(): number;
}

/** A loss as this host received it. Places are in the order of all calls and messages of this host. */
interface ReceivedLoss extends LossFacts {
  readonly source: LossSource;
  readonly receivedAt: number;
  /** Place of the call that was refused; undefined for a fact. */
  readonly calledAt: number | undefined;
  /** Whether a grant arrived while the refused call was on its way: then the higher epoch is the later reply. */
  readonly isCrossed: boolean;
  /** For a refusal: the loss that the set had published, and has not ended. */
  readonly published: ReceivedLoss | undefined;
}

/** What is known about one key. */
interface Entry {
  readonly lease: Lease;
  loss: ReceivedLoss | undefined;
  /** The newest grant to the current identity; undefined after that identity was deleted. */
  newest: KeyGrant | undefined;
  /** Place of the last grant that arrived. */
  grantedAt: number;
  /** A grant counts only if it was called for after this place: the last loss that ended. */
  floorPlace: number;
  /** A grant counts only if its epoch is not below this: every loss that arrived, until the set publishes access restored. */
  floorEpoch: number;
  /** The last message of the set that access is restored: up to which loss, and its place. */
  restored: { readonly accessEpoch: number; readonly place: number } | undefined;
  /** The grant of the lease. */
  held: KeyGrant | undefined;
  endMonotonicMs: number;
  endBootMs: number;
}

const nameOf = ({ set, keyVersion }: SetKeyVersion): string => `${set}\n${keyVersion}`;

/**
 * Whether unwrapped DEKs may be used now, for each set and key version. Every piece of I/O checks it. One entry covers all
 * disks under a key. Rules G1, CMK-100, CMK-105, CMK-112.
 *
 * Losses arrive as facts of the set and as refusals of the vault. A loss ends the lease at once if it concerns its grant. Two orders
 * tell whether it does:
 *
 *   epoch   given by the vault. A loss concerns every grant at a lower epoch (`concerns` in libs/access). A key that expired has no
 *           new epoch, and identity's refusals have none, so refusals also need:
 *   place   given by this host: to each call before it is sent, and to each loss, grant and message of a set when it arrives.
 *
 * A refusal (its call at place c) also concerns a grant whose call was sent before c:
 *
 *   grant's call ──▶ granted   c ──▶ refused      always: the refusal is later
 *   grant's call ────────────────▶ granted        *crossed*: both were under way, and replies may overtake each other. The higher
 *                        c ───────────▶ refused   epoch is the later reply; at the same epoch the refusal counts
 *
 * After a loss a grant counts above two *floors* only: its call was sent after the loss arrived (place), and its epoch is not below
 * that of any loss that arrived, until the set publishes that access is restored and from which epoch on.
 *
 * Once the set has published the deletion of an identity, this host ignores grants to that identity, and refusals that are only
 * about it: the set may have another identity already. It also ignores that an identity is deleted if it calls as another one.
 *
 * A grant that proved an unwrap is a lease: DEKs may be used until its time is over (`lease.ts`).
 */
export class KeyAccess {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'bootMs'>;
  readonly #ttlMs: number;
  readonly #entries = new Map<string, Entry>();
  readonly #identities = new SetIdentities();
  readonly #listeners: KeyAccessListener[] = [];
  #place = 0;

  constructor(clock: Pick<Clock, 'monotonicMs' | 'bootMs'>, { ttlMs }: Pick<LeaseTerms, 'ttlMs'>) {
    this.#clock = clock;
    this.#ttlMs = ttlMs;
  }

  /** Starts a call to the vault: a grant is worth its time from here, and is ordered by this place. */
  nextCall(): SentCall {
    return { order: this.#nextPlace(), at: readingOf(this.#clock) };
  }

  /**
   * The vault granted. Ends a loss that does not concern the grant.
   * @param proof whether the vault also unwrapped: only such a grant wins or renews the lease
   */
  granted(key: SetKeyVersion, grant: KeyGrant, proof: 'unwrapped' | 'stated'): void {
    if (this.#identities.hasEnded(key.set, grant.principal)) return;
    const entry = this.#entryOf(key);
    entry.grantedAt = this.#nextPlace();
    if (isNewer(grant, entry.newest)) {
      this.#identities.follow(key.set, entry.newest?.principal, grant.principal);
      entry.newest = grant;
    }
    const { loss } = entry;
    const isReturned = loss !== undefined && grant.sent.order > loss.receivedAt && !isConcerned(loss, grant);
    if (isReturned) {
      entry.loss = undefined;
      entry.floorPlace = loss.receivedAt;
    }
    const isLateEnough = grant.sent.order > entry.floorPlace && grant.accessEpoch >= entry.floorEpoch;
    const isWon = proof === 'unwrapped' && entry.loss === undefined && isLateEnough;
    // One call is made for many disks, and each of them proves its grant: listeners are called once.
    const isNew = isWon && entry.held?.sent.order !== grant.sent.order;
    if (isWon) win(entry, grant, this.#ttlMs);
    if (isReturned) for (const { returned } of this.#listeners) returned?.(entry.lease.key);
    if (isNew) for (const { held } of this.#listeners) held?.(entry.lease.key, grant);
  }

  /** A loss arrived: a fact of the set, or a refusal of the vault. Listeners are called before this returns. */
  lost(key: SetKeyVersion, facts: LossFacts, source: 'fact' | Refused): void {
    if (source !== 'fact' && isAboutIdentity(facts.reason) && this.#identities.hasEnded(key.set, source.principal))
      return;
    if (source !== 'fact' && this.#isReplaced(key.set, facts)) return;
    const entry = this.#entryOf(key);
    const known = entry.loss;
    const loss = received(entry, facts, source, this.#nextPlace());
    // Facts of a set arrive in order: the one after an identity deletion is about the next identity, whose epochs are lower.
    const isOfNext = source === 'fact' && known?.principal !== undefined && known.principal !== facts.principal;
    const isLater = known === undefined || isOfNext || (known.accessEpoch ?? 0) <= numberOf(facts);
    if (source === 'fact' && facts.principal !== undefined) this.#noteEnd(key.set, facts.principal);
    // The end of an identity that this host has not met is not over with a grant to an earlier one.
    const isOfLater =
      source === 'fact' && facts.principal !== undefined && !this.#identities.isFormer(key.set, facts.principal);
    const isOver = entry.newest !== undefined && !isOfLater && !isConcerned(loss, entry.newest);
    if (isLater && !isOver) entry.loss = loss;
    // The deletion of an identity is over with the first grant to another one, whatever its epoch.
    if (facts.principal === undefined) entry.floorEpoch = Math.max(entry.floorEpoch, facts.accessEpoch ?? 0);
    if (entry.held !== undefined && isConcerned(loss, entry.held)) end(entry);
    for (const { lost } of this.#listeners) lost?.(entry.lease.key, (grant) => isConcerned(loss, grant), loss.source);
    // The set may have published that this loss is over before the refusal arrived, and will not publish it again.
    const { restored } = entry;
    const isRestored = restored !== undefined && loss.calledAt !== undefined && loss.calledAt < restored.place;
    if (isRestored && entry.loss === loss && numberOf(loss) <= restored.accessEpoch) {
      this.#endLoss(entry, loss, restored.accessEpoch);
    }
  }

  /** The set published that access is restored. DEKs may be used from the next grant on. */
  restored(key: SetKeyVersion, accessEpoch: number): void {
    const entry = this.#entryOf(key);
    const { loss } = entry;
    entry.restored = { accessEpoch, place: this.#nextPlace() };
    if (!loss) {
      // A grant has ended the loss already. The loss may have had the epoch of an identity deletion, which no grant reaches.
      const newestEpoch = entry.newest?.accessEpoch ?? 0;
      entry.floorEpoch = Math.min(entry.floorEpoch, Math.max(accessEpoch, newestEpoch));
      return;
    }
    // Facts of a set arrive in order, so this one ends the loss published before it. A refusal may be newer than both.
    if (loss.source === 'fact' || (loss.accessEpoch ?? 0) <= accessEpoch) this.#endLoss(entry, loss, accessEpoch);
  }

  /**
   * This host calls the vault as this identity from a generation of the set on. A refusal because an earlier one is deleted does not
   * concern the set any more, also if the fact of that deletion did not arrive here. A loss that the set published stays.
   */
  inForce(set: string, key: Pick<SetKey, 'principal' | 'generation'>): void {
    if (!this.#identities.use(set, key)) return;
    for (const entry of this.#entries.values()) {
      const { lease, loss } = entry;
      const isOver = lease.key.set === set && loss?.source === 'refusal' && this.#isReplaced(set, loss);
      if (isOver && loss.published !== undefined) entry.loss = loss.published;
      else if (isOver) this.#endLoss(entry, loss, entry.floorEpoch);
    }
  }

  /**
   * A set was deleted: its losses do not concern a later set of that name (CMK-39).
   * @param isUsed whether a DEK under a key is in use: then the later set exists already and keeps its grants
   */
  forget(set: string, isUsed: (key: SetKeyVersion) => boolean): void {
    const prefix = nameOf({ set, keyVersion: '' });
    this.#identities.forget(set);
    for (const [name, entry] of this.#entries) {
      if (!name.startsWith(prefix)) continue;
      if (isUsed(entry.lease.key)) {
        entry.restored = undefined;
        if (entry.loss?.source === 'fact') this.#endLoss(entry, entry.loss, 0);
      } else {
        this.#entries.delete(name);
        end(entry);
      }
    }
  }

  /** The loss in force, or undefined. */
  lossOf(key: SetKeyVersion): LossFacts | undefined {
    return this.#entries.get(nameOf(key))?.loss;
  }

  /** Whether the loss in force was published by the set. */
  isPublished(key: SetKeyVersion): boolean {
    return this.#entries.get(nameOf(key))?.loss?.source === 'fact';
  }

  /** Whether a loss of any version of a set is in force. */
  isAnyLost(set: string): boolean {
    return [...this.#entries.values()].some(({ lease, loss }) => lease.key.set === set && loss !== undefined);
  }

  /**
   * The loss in force as far as it concerns a disk whose open is stored with that grant. A published loss that does not concern
   * the grant is over for the disk, although this host restarted since and remembers the loss but no later grant.
   */
  lossAfter(key: SetKeyVersion, opened: Grant): LossFacts | undefined {
    const loss = this.#entries.get(nameOf(key))?.loss;
    const isOver =
      loss?.source === 'fact' && !concerns({ accessEpoch: numberOf(loss), principal: loss.principal }, opened);
    return isOver ? undefined : loss;
  }

  /** The loss in force that concerns a DEK unwrapped with this grant, or undefined. */
  lossConcerning(key: SetKeyVersion, grant: KeyGrant): LossFacts | undefined {
    const loss = this.#entries.get(nameOf(key))?.loss;
    return loss && isConcerned(loss, grant) ? loss : undefined;
  }

  /** The lease of a key; the same object for the same key while it is used. */
  lease(key: SetKeyVersion): Lease {
    return this.#entryOf(key).lease;
  }

  /** How long one grant lasts by itself, without renewal. */
  termOf(grant: KeyGrant): { isHeld(): boolean; leftMs(): number } {
    const end = endOf(grant, this.#ttlMs);
    const left = (): number => leftMs(end, readingOf(this.#clock));
    return { isHeld: () => left() > 0, leftMs: left };
  }

  /** Calls the listener at each change, after the listeners before it. */
  listen(listener: KeyAccessListener): void {
    this.#listeners.push(listener);
  }

  #nextPlace(): number {
    this.#place += 1;
    return this.#place;
  }

  #entryOf(key: SetKeyVersion): Entry {
    const name = nameOf(key);
    const known = this.#entries.get(name);
    if (known) return known;
    const entry = newEntry(key, this.#clock);
    this.#entries.set(name, entry);
    return entry;
  }

  /** Whether a loss is only that an identity is deleted, and this host calls as another one. */
  #isReplaced(set: string, { reason, principal }: LossFacts): boolean {
    return reason === 'IDENTITY_DELETED' && principal !== undefined && this.#identities.isReplaced(set, principal);
  }

  #noteEnd(set: string, principal: string): void {
    this.#identities.end(set, principal);
    for (const entry of this.#entries.values()) {
      if (entry.lease.key.set === set && entry.newest?.principal === principal) entry.newest = undefined;
    }
  }

  /** The loss is over: DEKs may be used from the next grant on. */
  #endLoss(entry: Entry, loss: ReceivedLoss, accessEpoch: number): void {
    entry.loss = undefined;
    entry.floorPlace = loss.receivedAt;
    entry.floorEpoch = accessEpoch;
    for (const { returned } of this.#listeners) returned?.(entry.lease.key);
  }
}

/** Key access of a host that knows nothing yet. */
export const createKeyAccess = (...parts: ConstructorParameters<typeof KeyAccess>): KeyAccess =>
  new KeyAccess(...parts);

/** A loss without an epoch is later than every loss with one. */
const numberOf = ({ accessEpoch }: LossFacts): number => accessEpoch ?? FINAL_EPOCH;

/** A loss as it arrives at an entry, in place of what is known. */
const received = (entry: Entry, facts: LossFacts, source: 'fact' | Refused, place: number): ReceivedLoss => {
  const known = entry.loss;
  const isRepeat = known?.reason === facts.reason && known.accessEpoch === facts.accessEpoch;
  const calledAt = source === 'fact' ? undefined : source.order;
  // A call as a deleted identity is refused for that first, whatever the state of the key: the reason of the key stays.
  const isOfIdentityOnly = source !== 'fact' && facts.reason === 'IDENTITY_DELETED';
  const keeps = isOfIdentityOnly && known !== undefined && !isAboutIdentity(known.reason);
  return {
    // A repeat keeps the time and the cause.
    ...(isRepeat ? known : facts),
    ...(keeps ? { reason: known.reason, since: known.since, traceId: known.traceId } : {}),
    source: source === 'fact' ? 'fact' : 'refusal',
    receivedAt: place,
    calledAt,
    isCrossed: calledAt !== undefined && entry.grantedAt > calledAt,
    published: source === 'fact' ? undefined : known?.source === 'fact' ? known : known?.published,
  };
};

/** Whether a loss concerns a grant: by the epochs, and for a refusal also by the order of this host's calls. */
const isConcerned = (loss: ReceivedLoss, grant: KeyGrant): boolean => {
  const { accessEpoch, principal, source, calledAt, isCrossed, receivedAt } = loss;
  const { order } = grant.sent;
  if (source === 'fact') return concerns({ accessEpoch: numberOf(loss), principal }, grant);
  if (!isSameIdentity(loss, grant)) return false;
  if (accessEpoch === undefined) return order < receivedAt;
  if (concerns({ accessEpoch }, grant)) return true;
  const isEarlier = calledAt !== undefined && order < calledAt;
  return isEarlier && (grant.accessEpoch === accessEpoch || !isCrossed);
};

/** Whether a grant is newer. If the identities differ, the grant requested later is newer. */
const isNewer = (one: KeyGrant, other: KeyGrant | undefined): boolean => {
  if (other === undefined) return true;
  if (isSameIdentity(one, other) && one.accessEpoch !== other.accessEpoch) return one.accessEpoch > other.accessEpoch;
  return one.sent.order > other.sent.order;
};

const newEntry = ({ set, keyVersion }: SetKeyVersion, clock: Pick<Clock, 'monotonicMs' | 'bootMs'>): Entry => {
  const entry: Entry = {
    lease: {
      key: { set, keyVersion },
      grant: () => entry.held,
      isHeld: () => clock.monotonicMs() < entry.endMonotonicMs && clock.bootMs() < entry.endBootMs,
      leftMs: () => Math.min(entry.endMonotonicMs - clock.monotonicMs(), entry.endBootMs - clock.bootMs()),
    },
    loss: undefined,
    newest: undefined,
    grantedAt: 0,
    floorPlace: 0,
    floorEpoch: 0,
    restored: undefined,
    held: undefined,
    endMonotonicMs: Number.NEGATIVE_INFINITY,
    endBootMs: Number.NEGATIVE_INFINITY,
  };
  return entry;
};

/** Replies may overtake each other: the grant that lasts longest counts. */
const win = (entry: Entry, grant: KeyGrant, ttlMs: number): void => {
  const end = endOf(grant, ttlMs);
  if (entry.held !== undefined && end.bootMs <= entry.endBootMs) return;
  entry.held = grant;
  entry.endMonotonicMs = end.monotonicMs;
  entry.endBootMs = end.bootMs;
};

const end = (entry: Entry): void => {
  entry.held = undefined;
  entry.endMonotonicMs = Number.NEGATIVE_INFINITY;
  entry.endBootMs = Number.NEGATIVE_INFINITY;
};
