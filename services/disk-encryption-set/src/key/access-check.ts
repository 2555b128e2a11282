import { FINAL_EPOCH } from '@interlock/access';
import type { Cause } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { ifIdentityIs, refuseKey, restoreKey, stopsNothing } from '../set/access.ts';
import { type KeyAccess, keyVersionsOf, type LivingSet, type Question } from '../set/state.ts';
import { questionOf } from '../set/streams.ts';
import { forProcess, type SetParts } from '../sets.ts';
import { type AccessAnswer, askAccess } from './key-access.ts';

/** Trace of the known loss, if the question has no cause. */
const lostBefore = (question: Question | undefined, known: KeyAccess | undefined): string =>
  question?.traceId === '' && known?.state === 'lost' ? known.traceId : '';

/**
 * Time and trace of a refusal. To an identity that never had access the vault names the last change of its grants. A change older
 * than the identity took nothing from it: the identity had no access from its start.
 */
const causeIn = (
  { identity: { ungrantedSince } }: LivingSet,
  { reason, since, traceId }: Extract<AccessAnswer, { readonly granted: false }>,
): { readonly since: Instant | undefined; readonly traceId: string } => {
  if (reason === 'ACCESS_DENIED' && since !== undefined && ungrantedSince !== null && since < ungrantedSince) {
    return { since: ungrantedSince, traceId: '' };
  }
  return { since, traceId };
};

/**
 * Checks a version. The vault names one reason, an expiry before a permission. If the expiry stops no machine, the reason
 * behind it may, so the check is repeated without the expiry.
 */
const checkVersion = async (
  disks: SetParts['disks'],
  set: string,
  state: LivingSet,
  keyVersion: string,
  cause: Cause,
): Promise<AccessAnswer> => {
  const question = { set, principal: state.principal, keyVersion, cause };
  const answer = await askAccess(disks, question);
  if (answer.granted || !stopsNothing(state, answer.reason)) return answer;
  const behind = await askAccess(disks, { ...question, allowExpired: true });
  return behind.granted ? answer : behind;
};

/**
 * Checks every version of a set with an open question, and every version that is not valid yet, because time alone makes it
 * valid; then decides by the replies (CMK-105, CMK-120). An identity that does not exist yet is not used: once it exists,
 * every version has an open question.
 * @returns whether access to a version is restored
 * @throws RpcFailure or Rejection if the vault did not decide: the question stays open
 */
export const checkAccess = async (
  { clock, sets, disks }: Pick<SetParts, 'clock' | 'sets' | 'disks'>,
  set: string,
  cause: Cause,
): Promise<boolean> => {
  const { state } = await sets.load(set);
  if (state.status !== 'active' && state.status !== 'deleting') return false;
  const { principal, questions, access, identity } = state;
  if (principal !== '' && !identity.isMade) return false;
  let isRestored = false;
  for (const keyVersion of keyVersionsOf(state)) {
    const question = questions[keyVersion];
    const known = access[keyVersion];
    const isEarly = known?.state === 'lost' && known.reason === 'KEY_NOT_YET_VALID';
    if (question === undefined && !isEarly) continue;
    const process = questionOf(keyVersion);
    const work = forProcess(cause, set, state, process);
    const answer = await checkVersion(disks, set, state, keyVersion, work);
    const at = clock.now();
    if (answer.granted) {
      const { events } = await sets.transact(
        set,
        ifIdentityIs(principal, restoreKey(at, { keyVersion, epoch: answer.epoch })),
        work,
        { step: process },
      );
      isRestored ||= events.some(({ type }) => type === 'KeyAccessRestored');
    } else {
      // A refusal without an epoch is at least as new as the question.
      const epoch = answer.epoch ?? Math.max(question?.epoch ?? 0, known?.epoch ?? 0);
      // The fact of identity, consumed before, says when the identity was deleted and by what.
      const published =
        known?.state === 'lost' && known.epoch === FINAL_EPOCH && epoch === FINAL_EPOCH ? known : undefined;
      const { since, traceId } = causeIn(state, answer);
      const loss = {
        keyVersion,
        reason: answer.reason,
        epoch,
        since: published?.since ?? since ?? question?.since ?? at,
        // The question of a new identity has no cause: the cause of the known loss still counts.
        traceId: published?.traceId || lostBefore(question, known) || traceId || question?.traceId || '',
      };
      await sets.transact(set, ifIdentityIs(principal, refuseKey(at, loss)), work, { step: process });
    }
  }
  return isRestored;
};
