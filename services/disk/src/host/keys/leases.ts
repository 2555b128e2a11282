import { lossReasonIn } from '@interlock/access';
import { type Cause, Rejection } from '@interlock/event-store';
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
import { endOf, type LeaseTerms, nextStep, pacing } from './lease.ts';
import type { LeaseUser } from './lease-user.ts';
import type { LossReports } from './loss-reports.ts';
import type { SetClient } from './set-keys.ts';
import type { SetOptions } from './set-options.ts';
import { askedWaitMs, isSilence, type Silence, whyOf } from './silence.ts';

/** Whether who was to ask is gone, or its header is damaged. */
const isNoWitness = (error: unknown): boolean =>
  error instanceof Rejection && (error.code === 'NOT_FOUND' || error.code === 'DATA_LOSS');

/** One lease with those who use it, as it is now. */
export interface LeaseReport {
  readonly lease: Lease;
  readonly users: ReadonlySet<LeaseUser>;
  /** When the lease was won first after it had not been held; undefined while it is not held. */
  readonly wonAt: Instant | undefined;
  /** Since when it is not held; undefined while it is. */
  readonly endedAt: Instant | undefined;
  /** The last question without an answer; undefined once there is one. */
  readonly silence: Silence | undefined;
  /** Whether the silence counts as a loss outside of this host. */
  readonly isCountedAsLost: boolean;
}

/**
 * The leases of this host: for each (set, key version) that somebody uses, one loop that asks the vault early and again,
 * ends the use of DEKs when the time of the last yes is over, and tells compute of losses. However many disks are under a
 * key, one question is asked for all of them.
 */
export interface Leases {
  /** Somebody uses DEKs under the key from now on. Begins to ask where nobody did. */
  join(key: SetKeyVersion, user: LeaseUser): void;
  leave(key: SetKeyVersion, user: LeaseUser): void;
  /** Whether anybody does. */
  isUsed(key: SetKeyVersion): boolean;
  /** Resolves at the next change of the lease, or after that time, or when `signal` is aborted. */
  changed(key: SetKeyVersion, withinMs: number, signal: AbortSignal): Promise<void>;
  /**
   * The silence of a vault that counts as a loss outside; undefined for none. It lasts until the vault answers, also when
   * nobody uses the key any more because of it.
   */
  outageOf(key: SetKeyVersion): { readonly reason: 'KEY_VAULT_UNREACHABLE'; readonly since: Instant } | undefined;
  /** Whether there is one for any version of a set. */
  isAnyOut(set: string): boolean;
  /** Every lease that is used, in order of names. */
  list(): readonly LeaseReport[];
}

interface Entry {
  readonly key: SetKeyVersion;
  readonly lease: Lease;
  readonly users: Set<LeaseUser>;
  /** Who used it last, where nobody does any more: an outage that counts as a loss is asked about with its wrapped DEK. */
  witness: LeaseUser | undefined;
  wonAt: Instant | undefined;
  /** When the end was noticed, by the monotonic clock. */
  endedAtMs: number | undefined;
  endedAt: Instant | undefined;
  silence: Silence | undefined;
  /** When the first question was asked that the vault gave no answer to, of those since its last answer. */
  silentSinceMs: number | undefined;
  failures: number;
  askAtMs: number;
  questions: number;
  isCountedAsLost: boolean;
  /** Who told of the last loss. */
  toldBy: LossSource;
  /** Aborted to make the loop look again. */
  wake: AbortController;
  change: PromiseWithResolvers<void>;
}

/** Nobody uses a key yet. Rules G1, G3, CMK-100, CMK-102, CMK-113. */
export const openLeases = (parts: {
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
}): Leases => {
  const { keyAccess, options, sets, reports, terms, clock, random, log, tracer, signal } = parts;
  const { ttlMs, unreachableGraceMs } = terms;
  const entries = new Map<string, Entry>();
  const nameOf = ({ set, keyVersion }: SetKeyVersion): string => `${set}\n${keyVersion}`;

  /** Whether somebody uses the key, or it is to be found out when an outage is over that ended the use. */
  const isWatched = ({ users, isCountedAsLost }: Entry): boolean => users.size > 0 || isCountedAsLost;

  const changed = (entry: Entry): void => {
    if (!isWatched(entry)) entries.delete(nameOf(entry.key));
    entry.wake.abort();
    const { change } = entry;
    entry.change = Promise.withResolvers();
    change.resolve();
    tell(entry);
  };

  /** Lets compute know what its machines cannot use here, as long as it is so and somebody has a disk under it open. */
  const tell = (entry: Entry): void => {
    const { key, users, endedAt } = entry;
    const loss = keyAccess.lossOf(key);
    if (users.size === 0) reports.about(key, undefined);
    else if (loss) reports.about(key, loss, entry.toldBy);
    else if (!entry.isCountedAsLost) reports.about(key, undefined);
    else {
      const since = endedAt ?? clock.now();
      // An outage has no number of its own: it concerns whoever unwrapped up to now.
      let accessEpoch = entry.lease.yes()?.accessEpoch ?? 0;
      for (const user of users) accessEpoch = Math.max(accessEpoch, user.accessEpoch);
      reports.about(key, { reason: 'KEY_VAULT_UNREACHABLE', since, traceId: '', accessEpoch }, 'refusal');
    }
  };

  keyAccess.listen({
    held(key, grant) {
      const entry = entries.get(nameOf(key));
      if (!entry) return;
      entry.silence = undefined;
      entry.silentSinceMs = undefined;
      entry.failures = 0;
      entry.askAtMs = grant.asked.at.monotonicMs + pacing.renewMs(ttlMs, random.fraction());
      // An answer can be so late that its time is over already.
      if (entry.lease.isHeld()) {
        entry.wonAt ??= clock.now();
        entry.endedAtMs = undefined;
        entry.endedAt = undefined;
        entry.isCountedAsLost = false;
      }
      changed(entry);
    },
    lost(key, concerns, source) {
      const entry = entries.get(nameOf(key));
      if (!entry) return;
      for (const user of entry.users) {
        const grant = user.grant();
        if (grant && !user.isPinnable && concerns(grant)) user.drop('lost');
      }
      if (keyAccess.lossOf(key) !== undefined) {
        entry.silence = undefined;
        entry.silentSinceMs = undefined;
        entry.isCountedAsLost = false;
        entry.toldBy = source;
        end(entry);
        entry.askAtMs = clock.monotonicMs() + pacing.lostMs(ttlMs, random.fraction());
      }
      changed(entry);
    },
    returned(key) {
      const entry = entries.get(nameOf(key));
      if (!entry) return;
      // From here on it is silence, if it is.
      entry.endedAtMs = clock.monotonicMs();
      entry.endedAt = clock.now();
      entry.askAtMs = clock.monotonicMs();
      changed(entry);
    },
  });

  /** The lease is not held any more: no DEK under it stays in memory but those of pinned disks. */
  const end = (entry: Entry): void => {
    entry.wonAt = undefined;
    entry.endedAtMs ??= clock.monotonicMs();
    entry.endedAt ??= clock.now();
    for (const user of entry.users) if (!user.isPinnable && user.grant() !== undefined) user.drop('ended');
  };

  /** The vault has answered, if about another key: it is under that now. Or it cannot be asked about this one any more. */
  const dismissWitness = (entry: Entry): void => {
    if (entry.users.size > 0 || !entry.isCountedAsLost) return;
    entry.isCountedAsLost = false;
    changed(entry);
  };

  /**
   * Asks the vault through one of the disks. That a set lets what runs outlive the expiry of its key is what it told last; of a
   * key that has expired the set is asked each time, for its facts may not arrive (G1). Without its word there is no answer.
   */
  const probe = async (entry: Entry, user: LeaseUser, deadlineMs: number, cause: Cause): Promise<void> => {
    const { set } = entry.key;
    try {
      await user.probe({ allowExpired: false, deadlineMs }, cause);
      return;
    } catch (error) {
      if (lossReasonIn(error) !== 'KEY_EXPIRED' || !options.outlivesExpiry(set)) throw error;
    }
    // Whoever is silent from here on, it is not the vault.
    entry.silentSinceMs = undefined;
    await options.confirm(set, () => sets.getDiskEncryptionSet({ name: set }, { deadlineMs }));
    await user.probe({ allowExpired: options.outlivesExpiry(set), deadlineMs }, cause);
  };

  const ask = async (entry: Entry): Promise<void> => {
    const { key, users } = entry;
    // In turn: one whose own header is damaged does not keep the others from an answer.
    const [user = entry.witness] = users;
    if (user === undefined) return;
    if (users.delete(user)) users.add(user);
    const deadlineMs = pacing.deadlineMs(ttlMs);
    const askedAtMs = clock.monotonicMs();
    entry.questions += 1;
    entry.askAtMs = askedAtMs + pacing.besideMs(ttlMs);
    try {
      const id = random.uuid();
      const cause = { correlationId: id, causationId: id, caller: 'system:disk' };
      const attributes = { [DomainAttribute.diskEncryptionSet]: key.set, [DomainAttribute.keyVersion]: key.keyVersion };
      // A span, so that a loss found like this has a trace.
      await inSpan(tracer, 'renew lease', { attributes }, () => probe(entry, user, deadlineMs, cause));
      dismissWitness(entry);
    } catch (error) {
      if (lossReasonIn(error) !== undefined || isNoWitness(error)) dismissWitness(entry);
      if (lossReasonIn(error) !== undefined) return;
      entry.failures += 1;
      const waitMs = Math.max(pacing.retryMs(ttlMs, entry.failures, random.fraction()), askedWaitMs(error, ttlMs));
      entry.askAtMs = clock.monotonicMs() + waitMs;
      entry.silence = { at: clock.now(), why: whyOf(error) };
      const isVaultSilent = isSilence(error);
      if (isVaultSilent) entry.silentSinceMs = Math.min(askedAtMs, entry.silentSinceMs ?? askedAtMs);
      const what = isVaultSilent
        ? 'a key vault gave no answer about a lease'
        : 'a key vault could not be asked about a lease';
      if (entry.failures === 1) log.warn(what, { ...key, error });
    } finally {
      entry.questions -= 1;
      entry.wake.abort();
    }
  };

  const watchOf = (entry: Entry) => {
    const now = readingOf(clock);
    const yes = entry.lease.yes();
    const { endedAtMs, isCountedAsLost, silentSinceMs } = entry;
    const isOver = endedAtMs !== undefined && !isCountedAsLost && keyAccess.lossOf(entry.key) === undefined;
    return {
      leftMs: yes && leftMs(endOf(yes, ttlMs), now),
      isEnded: endedAtMs !== undefined,
      // Who was not asked yet, as after a start or a suspension, or cannot be by this host, is not silent.
      outageInMs:
        isOver && silentSinceMs !== undefined
          ? Math.max(endedAtMs, silentSinceMs) + unreachableGraceMs - now.monotonicMs
          : undefined,
      askInMs: entry.askAtMs - now.monotonicMs,
      questions: entry.questions,
    };
  };

  const run = async (entry: Entry): Promise<void> => {
    while (isWatched(entry) && !signal.aborted) {
      const step = nextStep(watchOf(entry));
      if (step.do === 'end') {
        end(entry);
        // The machine was suspended: what was to be asked early is due now.
        if (entry.failures === 0) entry.askAtMs = Math.min(entry.askAtMs, clock.monotonicMs());
        changed(entry);
      } else if (step.do === 'countAsLost') {
        entry.isCountedAsLost = true;
        log.warn('a key vault that gives no answer counts as lost', { ...entry.key, since: entry.endedAt });
        changed(entry);
      } else if (step.do === 'ask') {
        void ask(entry);
      } else {
        entry.wake = new AbortController();
        await clock.sleep(step.forMs, entry.wake.signal, signal);
      }
    }
  };

  return {
    join(key, user) {
      const name = nameOf(key);
      const known = entries.get(name);
      if (known) {
        known.users.add(user);
        known.witness = undefined;
        tell(known);
        return;
      }
      const lease = keyAccess.lease(key);
      const yes = lease.yes();
      const entry: Entry = {
        key: lease.key,
        lease,
        users: new Set([user]),
        witness: undefined,
        wonAt: lease.isHeld() ? clock.now() : undefined,
        endedAtMs: undefined,
        endedAt: undefined,
        silence: undefined,
        silentSinceMs: undefined,
        failures: 0,
        askAtMs: yes ? yes.asked.at.monotonicMs + pacing.renewMs(ttlMs, random.fraction()) : clock.monotonicMs(),
        questions: 0,
        isCountedAsLost: false,
        toldBy: 'fact',
        wake: new AbortController(),
        change: Promise.withResolvers(),
      };
      entries.set(name, entry);
      tell(entry);
      // A loop belongs to no call, though one may begin it: it has neither its deadline nor its trace.
      outsideOfCalls(() => void run(entry));
    },
    leave(key, user) {
      const entry = entries.get(nameOf(key));
      if (!entry?.users.delete(user) || entry.users.size > 0) return;
      entry.witness = user;
      changed(entry);
    },
    isUsed: (key) => (entries.get(nameOf(key))?.users.size ?? 0) > 0,
    async changed(key, withinMs, until) {
      const entry = entries.get(nameOf(key));
      // A machine that wakes finds its lease over before any timer does: whoever waits makes the loop look.
      entry?.wake.abort();
      const over = new AbortController();
      const sleeping = clock.sleep(withinMs, over.signal, until, signal);
      await Promise.race(entry ? [entry.change.promise, sleeping] : [sleeping]);
      over.abort();
    },
    outageOf(key) {
      const entry = entries.get(nameOf(key));
      return entry?.isCountedAsLost
        ? { reason: 'KEY_VAULT_UNREACHABLE', since: entry.endedAt ?? clock.now() }
        : undefined;
    },
    isAnyOut: (set) => [...entries.values()].some(({ key, isCountedAsLost }) => key.set === set && isCountedAsLost),
    list: () =>
      [...entries]
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .flatMap(([, entry]) => (entry.users.size > 0 ? [entry] : [])),
  };
};
