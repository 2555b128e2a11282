import { lossReasonIn } from '@interlock/access';
import { type Cause, timedBy } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import {
  type Clock,
  DomainAttribute,
  type Instant,
  inSpan,
  type Logger,
  leftMs,
  type Random,
  readingOf,
} from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { KeyAccess, Lease, LossSource, SetKeyVersion } from './key-access.ts';
import { endOf, type KeyGrant, type LeaseTerms, type LeaseWatch, nextStep, pacing } from './lease.ts';
import type { LeaseUser } from './lease-user.ts';
import type { LossReports } from './loss-reports.ts';
import type { SetClient } from './set-keys.ts';
import type { SetOptions } from './set-options.ts';
import { isUnanswered, requestedWaitMs, type UnansweredCall, whyOf } from './unanswered.ts';
import { cannotCheck, Witnesses } from './witnesses.ts';

/** One lease and its users, as it is now. */
export interface LeaseReport {
  readonly lease: Lease;
  readonly users: ReadonlySet<LeaseUser>;
  /** Start of the current time in which the lease is held; undefined while it is not held. */
  readonly wonAt: Instant | undefined;
  /** Since when it is not held; undefined while it is. */
  readonly endedAt: Instant | undefined;
  /** The last call without a reply; undefined after a reply. */
  readonly unanswered: UnansweredCall | undefined;
  /** Whether the unreachable vault counts as lost outside of this host. */
  readonly isCountedAsLost: boolean;
}

/** What leases need. */
export interface LeaseParts {
  readonly keyAccess: KeyAccess;
  readonly options: Pick<SetOptions, 'outlivesExpiry' | 'confirm'>;
  readonly sets: SetClient;
  readonly reports: Pick<LossReports, 'about'>;
  readonly terms: LeaseTerms;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Ends every loop. */
  readonly signal: AbortSignal;
}

interface Entry {
  readonly key: SetKeyVersion;
  readonly lease: Lease;
  readonly users: Set<LeaseUser>;
  readonly witnesses: Witnesses;
  wonAt: Instant | undefined;
  /** When the end was noticed, by the monotonic clock. */
  endedAtMs: number | undefined;
  endedAt: Instant | undefined;
  unanswered: UnansweredCall | undefined;
  /** When the first of the calls without a reply since the last reply was sent, by the monotonic clock. */
  silentSinceMs: number | undefined;
  failures: number;
  checkAtMs: number;
  /** Calls that are on their way. */
  questions: number;
  isCountedAsLost: boolean;
  /** Where the last loss came from. */
  lossSource: LossSource;
  /** Aborted to make the loop run again. */
  wake: AbortController;
  change: PromiseWithResolvers<void>;
}

const nameOf = ({ set, keyVersion }: SetKeyVersion): string => `${set}\n${keyVersion}`;

/** Whether the key is in use, or an outage that ended its use may be over. */
const isWatched = ({ users, isCountedAsLost }: Entry): boolean => users.size > 0 || isCountedAsLost;

/**
 * The leases of this host. For each set and key version in use, one loop renews the lease early, ends the use of DEKs when the
 * time of the last grant is over, and reports losses to compute. One check serves all disks under a key.
 * Rules G1, G3, CMK-100, CMK-102, CMK-113.
 */
export class Leases {
  readonly #parts: LeaseParts;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners: ((key: SetKeyVersion) => void)[] = [];

  constructor(parts: LeaseParts) {
    this.#parts = parts;
    parts.keyAccess.listen({
      held: (key, grant) => this.#onHeld(key, grant),
      lost: (key, concerns, source) => this.#onLost(key, concerns, source),
      returned: (key) => this.#onReturned(key),
    });
  }

  /** Calls the listener after each change of a lease, also when an outage begins or stops to count as lost. */
  listen(listener: (key: SetKeyVersion) => void): void {
    this.#listeners.push(listener);
  }

  /** A user uses DEKs under the key from now on. Starts the loop of the key unless it runs. */
  join(key: SetKeyVersion, user: LeaseUser): void {
    const name = nameOf(key);
    const known = this.#entries.get(name);
    if (known) {
      known.users.add(user);
      known.witnesses.remove(user);
      this.#report(known);
      return;
    }
    const entry = this.#newEntry(key, user);
    this.#entries.set(name, entry);
    this.#report(entry);
    // The call that starts the loop gives it neither its deadline nor its trace.
    outsideOfCalls(() => void this.#run(entry));
  }

  /** The user uses no DEK under the key any more. */
  leave(key: SetKeyVersion, user: LeaseUser): void {
    const entry = this.#entries.get(nameOf(key));
    if (!entry?.users.delete(user)) return;
    entry.witnesses.add(user);
    if (entry.users.size === 0) this.#changed(entry);
  }

  /** Whether the key has a user. */
  isUsed(key: SetKeyVersion): boolean {
    return (this.#entries.get(nameOf(key))?.users.size ?? 0) > 0;
  }

  /** Resolves at the next change of the lease, after that time, or when a signal is aborted. */
  async changed(key: SetKeyVersion, withinMs: number, until: AbortSignal): Promise<void> {
    const { clock, signal } = this.#parts;
    const entry = this.#entries.get(nameOf(key));
    // After a suspension of the machine the lease is over before a timer fires: make the loop run.
    entry?.wake.abort();
    const over = new AbortController();
    const sleeping = clock.sleep(withinMs, over.signal, until, signal);
    await Promise.race(entry ? [entry.change.promise, sleeping] : [sleeping]);
    over.abort();
  }

  /** The outage that counts as lost outside of this host, or undefined. It lasts until the vault replies, also without a user. */
  outageOf(key: SetKeyVersion): { readonly reason: 'KEY_VAULT_UNREACHABLE'; readonly since: Instant } | undefined {
    const entry = this.#entries.get(nameOf(key));
    if (!entry?.isCountedAsLost) return undefined;
    return { reason: 'KEY_VAULT_UNREACHABLE', since: entry.endedAt ?? this.#parts.clock.now() };
  }

  /** Whether there is such an outage for any version of a set. */
  isAnyOut(set: string): boolean {
    return [...this.#entries.values()].some(({ key, isCountedAsLost }) => key.set === set && isCountedAsLost);
  }

  /** Every lease in use, in the order of names. */
  list(): readonly LeaseReport[] {
    return [...this.#entries]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .flatMap(([, entry]) => (entry.users.size > 0 ? [entry] : []));
  }

  #newEntry(key: SetKeyVersion, user: LeaseUser): Entry {
    const { keyAccess, clock, random, terms } = this.#parts;
    const lease = keyAccess.lease(key);
    const grant = lease.grant();
    const renewMs = pacing.renewMs(terms.ttlMs, random.fraction());
    return {
      key: lease.key,
      lease,
      users: new Set([user]),
      witnesses: new Witnesses(),
      wonAt: lease.isHeld() ? clock.now() : undefined,
      endedAtMs: undefined,
      endedAt: undefined,
      unanswered: undefined,
      silentSinceMs: undefined,
      failures: 0,
      checkAtMs: grant ? grant.sent.at.monotonicMs + renewMs : clock.monotonicMs(),
      questions: 0,
      isCountedAsLost: false,
      lossSource: 'fact',
      wake: new AbortController(),
      change: Promise.withResolvers(),
    };
  }

  #onHeld(key: SetKeyVersion, grant: KeyGrant): void {
    const { clock, random, terms } = this.#parts;
    const entry = this.#entries.get(nameOf(key));
    if (!entry) return;
    entry.unanswered = undefined;
    entry.silentSinceMs = undefined;
    entry.failures = 0;
    entry.checkAtMs = grant.sent.at.monotonicMs + pacing.renewMs(terms.ttlMs, random.fraction());
    // A reply can be so late that its time is over already.
    if (entry.lease.isHeld()) {
      entry.wonAt ??= clock.now();
      entry.endedAtMs = undefined;
      entry.endedAt = undefined;
      entry.isCountedAsLost = false;
    }
    this.#changed(entry);
  }

  #onLost(key: SetKeyVersion, concerns: (grant: KeyGrant) => boolean, source: LossSource): void {
    const { keyAccess, clock, random, terms } = this.#parts;
    const entry = this.#entries.get(nameOf(key));
    if (!entry) return;
    for (const user of entry.users) {
      const grant = user.grant();
      if (grant && !user.isPinnable && concerns(grant)) user.drop('lost');
    }
    if (keyAccess.lossOf(key) !== undefined) {
      entry.unanswered = undefined;
      entry.silentSinceMs = undefined;
      entry.isCountedAsLost = false;
      entry.lossSource = source;
      this.#end(entry);
      entry.checkAtMs = clock.monotonicMs() + pacing.lostMs(terms.ttlMs, random.fraction());
    }
    this.#changed(entry);
  }

  #onReturned(key: SetKeyVersion): void {
    const { clock } = this.#parts;
    const entry = this.#entries.get(nameOf(key));
    if (!entry) return;
    // From here on the vault may be unreachable; the loss is over.
    entry.endedAtMs = clock.monotonicMs();
    entry.endedAt = clock.now();
    entry.checkAtMs = clock.monotonicMs();
    this.#changed(entry);
  }

  #changed(entry: Entry): void {
    if (!isWatched(entry)) this.#entries.delete(nameOf(entry.key));
    entry.wake.abort();
    const { change } = entry;
    entry.change = Promise.withResolvers();
    change.resolve();
    for (const listener of this.#listeners) listener(entry.key);
    this.#report(entry);
  }

  /** Reports to compute what its machines cannot use here, while a disk under the key is open. */
  #report(entry: Entry): void {
    const { keyAccess, reports, clock } = this.#parts;
    const { key, users, endedAt } = entry;
    const loss = keyAccess.lossOf(key);
    if (users.size === 0) reports.about(key, undefined);
    else if (loss) reports.about(key, loss, entry.lossSource);
    else if (!entry.isCountedAsLost) reports.about(key, undefined);
    else {
      const since = endedAt ?? clock.now();
      // An outage has no epoch of its own: it concerns every unwrap up to now.
      let accessEpoch = entry.lease.grant()?.accessEpoch ?? 0;
      for (const user of users) accessEpoch = Math.max(accessEpoch, user.accessEpoch);
      reports.about(key, { reason: 'KEY_VAULT_UNREACHABLE', since, traceId: '', accessEpoch }, 'refusal');
    }
  }

  /** The lease is not held any more: no DEK under it stays in memory, except those of pinned disks. */
  #end(entry: Entry): void {
    entry.wonAt = undefined;
    entry.endedAtMs ??= this.#parts.clock.monotonicMs();
    entry.endedAt ??= this.#parts.clock.now();
    for (const user of entry.users) if (!user.isPinnable && user.grant() !== undefined) user.drop('ended');
  }

  /** The vault replied, perhaps about the key that the disk is under now, or no disk can check any more. */
  #forgetOutage(entry: Entry): void {
    if (entry.users.size > 0 || !entry.isCountedAsLost) return;
    entry.isCountedAsLost = false;
    this.#changed(entry);
  }

  async #run(entry: Entry): Promise<void> {
    const { clock, log, signal } = this.#parts;
    while (isWatched(entry) && !signal.aborted) {
      const step = nextStep(this.#watchOf(entry));
      if (step.do === 'end') {
        this.#end(entry);
        // The machine was suspended: the early renewal is due now.
        if (entry.failures === 0) entry.checkAtMs = Math.min(entry.checkAtMs, clock.monotonicMs());
        this.#changed(entry);
      } else if (step.do === 'countAsLost') {
        entry.isCountedAsLost = true;
        log.warn('an unreachable key vault counts as lost', { ...entry.key, since: entry.endedAt });
        this.#changed(entry);
      } else if (step.do === 'check') {
        void this.#renew(entry);
      } else {
        entry.wake = new AbortController();
        await clock.sleep(step.forMs, entry.wake.signal, signal);
      }
    }
  }

  #watchOf(entry: Entry): LeaseWatch {
    const { keyAccess, clock, terms } = this.#parts;
    const now = readingOf(clock);
    const grant = entry.lease.grant();
    const { endedAtMs, isCountedAsLost, silentSinceMs } = entry;
    const isOver = endedAtMs !== undefined && !isCountedAsLost && keyAccess.lossOf(entry.key) === undefined;
    return {
      leftMs: grant && leftMs(endOf(grant, terms.ttlMs), now),
      isEnded: endedAtMs !== undefined,
      // A vault that was not called yet, or that this host cannot call, is not unreachable.
      outageInMs:
        isOver && silentSinceMs !== undefined
          ? Math.max(endedAtMs, silentSinceMs) + terms.unreachableGraceMs - now.monotonicMs
          : undefined,
      checkInMs: entry.checkAtMs - now.monotonicMs,
      questions: entry.questions,
    };
  }

  async #renew(entry: Entry): Promise<void> {
    const { clock, random, tracer, terms } = this.#parts;
    const { key, users } = entry;
    // In turn: a disk with a damaged header does not keep the others from a reply.
    const [user = entry.witnesses.newest] = users;
    if (user === undefined) return;
    if (users.delete(user)) users.add(user);
    const sentAtMs = clock.monotonicMs();
    entry.questions += 1;
    entry.checkAtMs = sentAtMs + pacing.besideMs(terms.ttlMs);
    try {
      const id = random.uuid();
      // The use of the key armed the timer of its lease.
      const armed = user.openedBy === undefined ? [] : [user.openedBy];
      const cause = timedBy({ correlationId: id, caller: 'system:disk' }, ...armed);
      const attributes = { [DomainAttribute.diskEncryptionSet]: key.set, [DomainAttribute.keyVersion]: key.keyVersion };
      // A span, so that a loss found here has a trace.
      await inSpan(tracer, 'renew lease', { attributes }, () => this.#probe(entry, user, cause));
      this.#forgetOutage(entry);
    } catch (error) {
      const isReply = lossReasonIn(error) !== undefined;
      if (cannotCheck(error)) entry.witnesses.remove(user);
      if (isReply || entry.witnesses.newest === undefined) this.#forgetOutage(entry);
      if (!isReply) this.#noteFailure(entry, sentAtMs, error);
    } finally {
      entry.questions -= 1;
      entry.wake.abort();
    }
  }

  #noteFailure(entry: Entry, sentAtMs: number, error: unknown): void {
    const { clock, random, log, terms } = this.#parts;
    const { ttlMs } = terms;
    const { key } = entry;
    entry.failures += 1;
    const waitMs = Math.max(pacing.retryMs(ttlMs, entry.failures, random.fraction()), requestedWaitMs(error, ttlMs));
    entry.checkAtMs = clock.monotonicMs() + waitMs;
    entry.unanswered = { at: clock.now(), why: whyOf(error) };
    const isUnreachable = isUnanswered(error);
    if (isUnreachable) entry.silentSinceMs = Math.min(sentAtMs, entry.silentSinceMs ?? sentAtMs);
    const what = isUnreachable ? 'a key vault did not reply about a lease' : 'this host could not check a lease';
    if (entry.failures === 1) log.warn(what, { ...key, error });
  }

  /**
   * Checks with the vault, with the wrapped DEK of one disk. A set may let running disks outlive the expiry of its key. Once
   * the key has expired, the set confirms that each time, because its facts may be lost (G1). Without a reply there is no grant.
   */
  async #probe(entry: Entry, user: LeaseUser, cause: Cause): Promise<void> {
    const { options, sets, terms } = this.#parts;
    const { set } = entry.key;
    const deadlineMs = pacing.deadlineMs(terms.ttlMs);
    try {
      await user.probe({ allowExpired: false, deadlineMs }, cause);
      return;
    } catch (error) {
      if (lossReasonIn(error) !== 'KEY_EXPIRED' || !options.outlivesExpiry(set)) throw error;
    }
    // The vault replied: if the next call has no reply, the vault is not unreachable.
    entry.silentSinceMs = undefined;
    await options.confirm(set, () => sets.getDiskEncryptionSet({ name: set }, { deadlineMs }));
    await user.probe({ allowExpired: options.outlivesExpiry(set), deadlineMs }, cause);
  }
}

/** The leases of a host on which no key is in use. */
export const openLeases = (parts: LeaseParts): Leases => new Leases(parts);
