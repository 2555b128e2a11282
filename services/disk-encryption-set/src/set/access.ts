import type { Instant } from '@interlock/runtime';
import type { SetEvent } from './events.ts';
import { type LossReason, moreTelling } from './reasons.ts';
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
    if (known !== undefined && known.epoch >= loss.epoch) return [];
    const reason = known?.state === 'lost' ? moreTelling(known.reason, loss.reason) : loss.reason;
    return [{ type: 'KeyAccessLost', ...loss, reason, partial: set.previousKeys.length > 0, at }];
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

/** The vault said yes at this epoch. It gives back what was lost at an epoch no higher (CMK-120). */
export const restoreKey =
  (at: Instant, { keyVersion, epoch }: { readonly keyVersion: string; readonly epoch: number }) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!has(set, keyVersion)) return [];
    const known = set.access[keyVersion];
    const isBack = known?.state !== 'available' && (known?.epoch ?? 0) <= epoch;
    return [
      ...(isBack ? [{ type: 'KeyAccessRestored', keyVersion, epoch, at } as const] : []),
      ...answered(set, { keyVersion, epoch, granted: true }),
    ];
  };

/**
 * The vault said no. Unlike a fact the answer knows every reason, so its own replaces what was known. A no that only
 * repeats what is known decides nothing unless something had happened in between.
 */
export const refuseKey =
  (at: Instant, { keyVersion, reason, epoch, since, traceId }: Loss) =>
  (set: DiskEncryptionSet): readonly SetEvent[] => {
    if (!has(set, keyVersion)) return [];
    const known = set.access[keyVersion];
    const answer = answered(set, { keyVersion, epoch, granted: false });
    if (known === undefined) return [{ type: 'KeyAccessMissing', keyVersion, reason, epoch, traceId, at }, ...answer];
    const isNew = known.state === 'available' || known.reason !== reason || set.questions[keyVersion] !== undefined;
    if (known.epoch >= epoch || !isNew) return answer;
    const partial = set.previousKeys.length > 0;
    return [{ type: 'KeyAccessLost', keyVersion, reason, epoch, since, traceId, partial, at }, ...answer];
  };

/** An answer from before the question is none: the question stays open. */
const answered = (
  set: LivingSet,
  answer: { readonly keyVersion: string; readonly epoch: number; readonly granted: boolean },
): readonly SetEvent[] => {
  const open = set.questions[answer.keyVersion];
  return open === undefined || open.epoch > answer.epoch ? [] : [{ type: 'KeyAccessAnswered', ...answer }];
};

const has = (set: DiskEncryptionSet, keyVersion: string): set is LivingSet =>
  (set.status === 'active' || set.status === 'deleting') && keyVersionsOf(set).includes(keyVersion);
