import { FINAL_EPOCH, type LossReason, precedingReason } from '@interlock/access';
import type { Instant } from '@interlock/runtime';
import type { SetEvent } from './events.ts';
import { type DiskEncryptionSet, keyVersionsOf, type LivingSet, type Question } from './state.ts';

/** Access to a key version ended. */
export interface Loss {
  readonly keyVersion: string;
  readonly reason: LossReason;
  /** Access epoch: every unwrap at a lower one is concerned. */
  readonly epoch: number;
  readonly since: Instant;
  readonly traceId: string;
}

/**
 * Access ended by a fact that needs no check. The same epoch or an older one decides nothing, and neither does a version that
 * the set does not have (CMK-112). If several reasons apply, the first in the order of precedence is shown.
 */
export const loseKey =
  (at: Instant, loss: Loss) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!has(set, loss.keyVersion)) return [];
    const known = set.access[loss.keyVersion];
    if (known?.state === 'lost' && known.epoch === FINAL_EPOCH) return loseAfterEnd(set, known.reason, loss, at);
    if (known !== undefined && known.epoch >= loss.epoch) return [];
    // A later key of the same name was deleted. Recovering that one would not help, so the vault says why access is lost.
    if (known?.state === 'lost' && known.isPurged && loss.reason === 'KEY_DELETED') {
      const { keyVersion, epoch, since, traceId } = loss;
      return questionKey(keyVersion, { epoch, since, traceId })(set);
    }
    // A reason that was not published is not shown now: an expiry under `next_start`, and then a deletion.
    const isPublished = known?.state === 'lost' && (known.publishedEpoch !== null || stopsNothing(set, loss.reason));
    // After the identity is deleted, ACCESS_DENIED must not stay: nothing would clear it.
    const isReplacedByDeletion =
      loss.epoch === FINAL_EPOCH && known?.state === 'lost' && known.reason === 'ACCESS_DENIED';
    const isAdded = isPublished && !isReplacedByDeletion;
    const reason = isAdded ? precedingReason(known.reason, loss.reason) : loss.reason;
    // The same loss with a new number, for example another date in the past: access was lost all the time.
    const isSameLoss =
      known?.state === 'lost' && known.reason === reason && set.questions[loss.keyVersion] === undefined;
    const { since, traceId } = isSameLoss ? known : loss;
    return [lostOrBarred(set, { ...loss, reason, since, traceId }, stopsNothing(set, loss.reason), at)];
  };

/**
 * A loss after the end of the identity takes no access away, but the reason that is shown may be over: a purged vault is no
 * longer a deleted one. A purge is final, so it is published with the number of the end. For any other loss that number would
 * hide whether it is over, so the set checks with the vault.
 */
const loseAfterEnd = (set: LivingSet, shown: LossReason, loss: Loss, at: Instant): readonly SetEvent[] => {
  const { keyVersion, reason, epoch, since, traceId } = loss;
  if (epoch === FINAL_EPOCH || reason === shown || shown === 'KEY_PURGED') return [];
  if (reason === 'KEY_PURGED') return [lostOrBarred(set, { ...loss, epoch: FINAL_EPOCH }, false, at)];
  return questionKey(keyVersion, { epoch, since, traceId })(set);
};

/** Records that the vault has to check a version. An open question of the same or a higher number decides nothing. */
export const questionKey =
  (keyVersion: string, question: Question) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!has(set, keyVersion)) return [];
    const open = set.questions[keyVersion];
    if (open !== undefined && open.epoch >= question.epoch) return [];
    return [{ type: 'KeyAccessQuestioned', keyVersion, ...question }];
  };

/**
 * The vault granted at this epoch: losses up to it are over (CMK-120). It is also published if no loss is known but a question
 * was open: access may have been lost and restored since the last grant, and a host that was refused in between learns only
 * from the set that access is restored.
 */
export const restoreKey =
  (at: Instant, { keyVersion, epoch }: { readonly keyVersion: string; readonly epoch: number }) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!has(set, keyVersion)) return [];
    const known = set.access[keyVersion];
    const question = set.questions[keyVersion];
    const answer = answered(set, { keyVersion, epoch, granted: true });
    const wasInDoubt = answer.length > 0 && question !== undefined && question.epoch > (known?.epoch ?? 0);
    const isBack = (known?.state !== 'available' || wasInDoubt) && (known?.epoch ?? 0) <= epoch;
    return [...(isBack ? [{ type: 'KeyAccessRestored', keyVersion, epoch, at } as const] : []), ...answer];
  };

/**
 * The vault refused. Unlike a fact, its reply considers every reason, so its reason replaces the known one. The first refusal is
 * published too: disks may be under the key already. A repeated refusal decides nothing unless a question was open.
 */
export const refuseKey =
  (at: Instant, { keyVersion, reason, epoch, since, traceId }: Loss) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!has(set, keyVersion)) return [];
    const known = set.access[keyVersion];
    const answer = answered(set, { keyVersion, epoch, granted: false });
    const isBarredOnly = stopsNothing(set, reason);
    // A published loss gets its reason corrected under the published number: an expiry under `next_start` concerns no open
    // since then, although it has a number of its own.
    const publishedEpoch = isBarredOnly && known?.state === 'lost' ? known.publishedEpoch : null;
    const published = { keyVersion, reason, epoch: publishedEpoch ?? epoch, since, traceId };
    const loss = lostOrBarred(set, published, isBarredOnly && publishedEpoch === null, at);
    if (known === undefined) return [loss, ...answer];
    const isNew = known.state === 'available' || known.reason !== reason || set.questions[keyVersion] !== undefined;
    // A fact of the same number may have kept a reason that is over: the vault says which one is in force.
    const isOtherReason = known.state === 'lost' && known.epoch === epoch && known.reason !== reason;
    return (known.epoch >= epoch && !isOtherReason) || !isNew ? answer : [loss, ...answer];
  };

/** Publishes what only barred starts so far, once an expiry is to stop machines (CMK-104). */
export const publishBarred =
  (at: Instant) =>
  (set: LivingSet): readonly SetEvent[] =>
    keyVersionsOf(set).flatMap((keyVersion) => {
      const known = set.access[keyVersion];
      if (known?.state !== 'lost' || (known.publishedEpoch ?? -1) >= known.epoch) return [];
      const { reason, epoch, since, traceId } = known;
      return [lostOrBarred(set, { keyVersion, reason, epoch, since, traceId }, false, at)];
    });

/** Whether a loss stops no machine: an expiry under `next_start` (CMK-104). */
export const stopsNothing = ({ options }: LivingSet, reason: LossReason): boolean =>
  reason === 'KEY_EXPIRED' && options.keyExpiry === 'next_start';

const lostOrBarred = (set: LivingSet, loss: Loss, isBarredOnly: boolean, at: Instant): SetEvent =>
  isBarredOnly
    ? { type: 'KeyAccessBarred', ...loss, at }
    : {
        type: 'KeyAccessLost',
        ...loss,
        partial: set.previousKeys.length > 0,
        // The end of this identity concerns no grant to another one.
        ...(loss.epoch === FINAL_EPOCH ? { principal: set.principal } : {}),
        at,
      };

/**
 * Closes the question, unless the reply is older than it or than a known loss: then it does not say which reason is in force,
 * or whether that loss is over. The question stays open, and the set checks again.
 */
const answered = (
  set: LivingSet,
  answer: { readonly keyVersion: string; readonly epoch: number; readonly granted: boolean },
): readonly SetEvent[] => {
  const open = set.questions[answer.keyVersion];
  const known = set.access[answer.keyVersion];
  const lostAt = known?.state === 'lost' ? known.epoch : 0;
  return open === undefined || Math.max(open.epoch, lostAt) > answer.epoch
    ? []
    : [{ type: 'KeyAccessAnswered', ...answer }];
};

/** Every version is lost with the identity (CMK-38, CMK-105). */
export const loseIdentity =
  (at: Instant, traceId: string) =>
  (set: LivingSet): readonly SetEvent[] =>
    keyVersionsOf(set).flatMap((keyVersion) =>
      loseKey(at, { keyVersion, reason: 'IDENTITY_DELETED', epoch: FINAL_EPOCH, since: at, traceId })(set),
    );

/**
 * A decision about a reply to one identity. It has no effect once the set has another identity.
 */
export const ifIdentityIs =
  (principal: string, decide: (set: DiskEncryptionSet) => readonly SetEvent[]) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status !== 'absent' && set.principal === principal ? decide(set) : [];

const has = (set: DiskEncryptionSet, keyVersion: string): set is LivingSet =>
  (set.status === 'active' || set.status === 'deleting') && keyVersionsOf(set).includes(keyVersion);
