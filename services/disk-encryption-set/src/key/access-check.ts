import { FINAL_EPOCH } from '@interlock/access';
import type { Cause } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { answeredTo, refuseKey, restoreKey, stopsNothing } from '../set/access.ts';
import { type KeyAccess, keyVersionsOf, type LivingSet, type Question } from '../set/state.ts';
import type { SetParts } from '../sets.ts';
import { type AccessAnswer, askAccess } from './key-access.ts';

/** Trace of the loss that goes on, where no cause made us ask. */
const lostBefore = (question: Question | undefined, known: KeyAccess | undefined): string =>
  question?.traceId === '' && known?.state === 'lost' ? known.traceId : '';

/**
 * Since when and by what the vault says that access is away. To somebody it never granted anything it names the last change of
 * its grants: what is older than the identity took nothing from it, and it has been without access from its beginning.
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
 * What the vault says about a version. It names one thing that is in the way, an expiry before a permission; where the expiry
 * leaves alone what runs, what is behind it need not.
 */
const askWhole = async (
  disks: SetParts['disks'],
  set: string,
  state: LivingSet,
  keyVersion: string,
  { correlationId }: Cause,
): Promise<AccessAnswer> => {
  const question = { set, principal: state.principal, keyVersion, correlationId };
  const answer = await askAccess(disks, question);
  if (answer.granted || !stopsNothing(state, answer.reason)) return answer;
  const behind = await askAccess(disks, { ...question, allowExpired: true });
  return behind.granted ? answer : behind;
};

/**
 * Asks about every version of a set that a question is open for, and about one that is not valid yet, which becomes so
 * by time alone; then decides by the answers (CMK-105, CMK-120). Nobody is asked as an identity that is not made yet: once
 * it is, every version is in question.
 * @returns whether a version can be used that could not before
 * @throws RpcFailure or Rejection where there is no definite answer: the question stays open
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
    const answer = await askWhole(disks, set, state, keyVersion, cause);
    const at = clock.now();
    if (answer.granted) {
      const { events } = await sets.transact(
        set,
        answeredTo(principal, restoreKey(at, { keyVersion, epoch: answer.epoch })),
        cause,
      );
      isRestored ||= events.some(({ type }) => type === 'KeyAccessRestored');
    } else {
      // A refusal without an epoch is at least as young as what made us ask.
      const epoch = answer.epoch ?? Math.max(question?.epoch ?? 0, known?.epoch ?? 0);
      // That an identity is gone is answered by who found out; identity's own word, heard before, says when and by what.
      const told = known?.state === 'lost' && known.epoch === FINAL_EPOCH && epoch === FINAL_EPOCH ? known : undefined;
      const { since, traceId } = causeIn(state, answer);
      const loss = {
        keyVersion,
        reason: answer.reason,
        epoch,
        since: told?.since ?? since ?? question?.since ?? at,
        // Asked because there is another identity, and not because of a cause: what took access away before is still why.
        traceId: told?.traceId || lostBefore(question, known) || traceId || question?.traceId || '',
      };
      await sets.transact(set, answeredTo(principal, refuseKey(at, loss)), cause);
    }
  }
  return isRestored;
};
