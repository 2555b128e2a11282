import { FINAL_EPOCH, type LossReason, precedingReason } from '@interlock/access';
import type { Instant } from '@interlock/runtime';
import type { SetEvent } from './events.ts';
import { type DiskEncryptionSet, keyVersionsOf, type LivingSet, type Question } from './state.ts';

/** That access to a key version ended. */
export interface Loss {
  readonly keyVersion: string;
  readonly reason: LossReason;
  /** Access epoch: whoever unwrapped at a lower one is concerned. */
  readonly epoch: number;
  readonly since: Instant;
  readonly traceId: string;
}

/**
 * Access ended by a fact that leaves no doubt. The same epoch again, or an older one, decides nothing; a version the set
 * does not have is none of its business (CMK-112). Where several reasons apply the most telling stays.
 */
export const loseKey =
  (at: Instant, loss: Loss) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!has(set, loss.keyVersion)) return [];
    const known = set.access[loss.keyVersion];
    if (known?.state === 'lost' && known.epoch === FINAL_EPOCH) return behindTheEnd(set, known.reason, loss, at);
    if (known !== undefined && known.epoch >= loss.epoch) return [];
    // What was not told is no reason to tell now: a deletion is one, the expiry before it was none.
    const isHeard = known?.state === 'lost' && (known.toldEpoch !== null || stopsNothing(set, loss.reason));
    // What was refused to an identity that is gone is refused to nobody, and no later fact would say that it is over.
    const isMoot = loss.epoch === FINAL_EPOCH && known?.state === 'lost' && known.reason === 'ACCESS_DENIED';
    const isAdded = isHeard && !isMoot;
    const reason = isAdded ? precedingReason(known.reason, loss.reason) : loss.reason;
    // The same loss under a new number, as of an expiry that is set again: access has been away all the time.
    const isGoingOn =
      known?.state === 'lost' && known.reason === reason && set.questions[loss.keyVersion] === undefined;
    const { since, traceId } = isGoingOn ? known : loss;
    return [lostOrBarred(set, { ...loss, reason, since, traceId }, stopsNothing(set, loss.reason), at)];
  };

/**
 * A loss heard of after the end of the identity takes nothing away any more, but the reason that is shown may be over with
 * it: a deleted vault that is purged is not a deleted one. A purge is never over, so it is told under the number of the end,
 * however late it is heard; of any other loss that number would hide whether it is over, so the vault is asked.
 */
const behindTheEnd = (set: LivingSet, shown: LossReason, loss: Loss, at: Instant): readonly SetEvent[] => {
  const { keyVersion, reason, epoch, since, traceId } = loss;
  if (epoch === FINAL_EPOCH || reason === shown || shown === 'KEY_PURGED') return [];
  if (reason === 'KEY_PURGED') return [lostOrBarred(set, { ...loss, epoch: FINAL_EPOCH }, false, at)];
  return questionKey(keyVersion, { epoch, since, traceId })(set);
};

/** Notes that the vault is to be asked about a version. A question already open and as young decides nothing. */
export const questionKey =
  (keyVersion: string, question: Question) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!has(set, keyVersion)) return [];
    const open = set.questions[keyVersion];
    if (open !== undefined && open.epoch >= question.epoch) return [];
    return [{ type: 'KeyAccessQuestioned', keyVersion, ...question }];
  };

/**
 * The vault said yes at this epoch. It gives back what was lost at an epoch no higher (CMK-120). Also where no loss was heard
 * of: what happened since the last yes may have been one that is over already, and a host that asked in between was refused.
 * Nobody but the set tells that host, and whoever it told, that access is back.
 */
export const restoreKey =
  (at: Instant, { keyVersion, epoch }: { readonly keyVersion: string; readonly epoch: number }) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!has(set, keyVersion)) return [];
    const known = set.access[keyVersion];
    const question = set.questions[keyVersion];
    const answer = answered(set, { keyVersion, epoch, granted: true });
    const isDoubted = answer.length > 0 && question !== undefined && question.epoch > (known?.epoch ?? 0);
    const isBack = (known?.state !== 'available' || isDoubted) && (known?.epoch ?? 0) <= epoch;
    return [...(isBack ? [{ type: 'KeyAccessRestored', keyVersion, epoch, at } as const] : []), ...answer];
  };

/**
 * The vault said no. Unlike a fact the answer knows every reason, so its own replaces what was known. The first no is told
 * as well: between the grant and the first answer disks may have come under the key. A no that only repeats what is known
 * decides nothing unless something had happened in between.
 */
export const refuseKey =
  (at: Instant, { keyVersion, reason, epoch, since, traceId }: Loss) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!has(set, keyVersion)) return [];
    const known = set.access[keyVersion];
    const answer = answered(set, { keyVersion, epoch, granted: false });
    const isBarredOnly = stopsNothing(set, reason);
    // Whoever heard of the loss has its reason to correct; the number they heard stays, for an expiry concerns nobody who
    // opened since, also where it has been noted under its own meanwhile.
    const toldEpoch = isBarredOnly && known?.state === 'lost' ? known.toldEpoch : null;
    const told = { keyVersion, reason, epoch: toldEpoch ?? epoch, since, traceId };
    const loss = lostOrBarred(set, told, isBarredOnly && toldEpoch === null, at);
    if (known === undefined) return [loss, ...answer];
    const isNew = known.state === 'available' || known.reason !== reason || set.questions[keyVersion] !== undefined;
    // A fact of the same number may have kept a reason that is over: the vault knows which one is in force.
    const isOtherReason = known.state === 'lost' && known.epoch === epoch && known.reason !== reason;
    return (known.epoch >= epoch && !isOtherReason) || !isNew ? answer : [loss, ...answer];
  };

/** Tells what only barred starts so far, once an expiry is to stop machines (CMK-104). */
export const tellBarred =
  (at: Instant) =>
  (set: LivingSet): readonly SetEvent[] =>
    keyVersionsOf(set).flatMap((keyVersion) => {
      const known = set.access[keyVersion];
      if (known?.state !== 'lost' || (known.toldEpoch ?? -1) >= known.epoch) return [];
      const { reason, epoch, since, traceId } = known;
      return [lostOrBarred(set, { keyVersion, reason, epoch, since, traceId }, false, at)];
    });

/** Whether a loss leaves alone what runs: an expiry, where the owner of the set wants it so (CMK-104). */
export const stopsNothing = ({ options }: LivingSet, reason: LossReason): boolean =>
  reason === 'KEY_EXPIRED' && options.keyExpiry === 'next_start';

const lostOrBarred = (set: LivingSet, loss: Loss, isBarredOnly: boolean, at: Instant): SetEvent =>
  isBarredOnly
    ? { type: 'KeyAccessBarred', ...loss, at }
    : {
        type: 'KeyAccessLost',
        ...loss,
        partial: set.previousKeys.length > 0,
        // What no yes undoes is the end of this identity, and concerns nobody who asked as another.
        ...(loss.epoch === FINAL_EPOCH ? { principal: set.principal } : {}),
        at,
      };

/**
 * An answer from before the question is none, and neither is one from before a loss that was heard of meanwhile: which reason
 * is in force since then, or whether that loss is over, it cannot say. The question stays open, and the vault is asked again.
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

/** Every version is lost with the identity, for good as far as this identity goes (CMK-38, CMK-105). */
export const loseIdentity =
  (at: Instant, traceId: string) =>
  (set: LivingSet): readonly SetEvent[] =>
    keyVersionsOf(set).flatMap((keyVersion) =>
      loseKey(at, { keyVersion, reason: 'IDENTITY_DELETED', epoch: FINAL_EPOCH, since: at, traceId })(set),
    );

/**
 * A decision by an answer that some identity got: void once the set has another, for which the answer says nothing.
 */
export const answeredTo =
  (principal: string, decide: (set: DiskEncryptionSet) => readonly SetEvent[]) =>
  (set: DiskEncryptionSet): readonly SetEvent[] =>
    set.status !== 'absent' && set.principal === principal ? decide(set) : [];

const has = (set: DiskEncryptionSet, keyVersion: string): set is LivingSet =>
  (set.status === 'active' || set.status === 'deleting') && keyVersionsOf(set).includes(keyVersion);
