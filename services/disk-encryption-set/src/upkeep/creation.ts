import { type Cause, Rejection } from '@interlock/event-store';
import { names } from '@interlock/rpc';
import { answeredTo } from '../set/access.ts';
import { abandonCreation, completeCreation } from '../set/decider.ts';
import { callFor, type SetParts } from '../sets.ts';
import { isOutage } from './outages.ts';

/**
 * Finishes a creation: makes the identity under the id the set has stored, then the set is created (CMK-04). Safe to
 * repeat after a crash at any step and beside another replica: the id is the same, so is the identity.
 * @throws Rejection where identity refuses for good: the creation is abandoned and nothing is left behind
 * @throws RpcFailure or a retryable Rejection where it does not answer: the set stays in creation, to be finished later
 */
export const finishCreation = async (
  { clock, sets, identities }: Pick<SetParts, 'clock' | 'sets' | 'identities'>,
  set: string,
  cause: Cause,
): Promise<void> => {
  const { state } = await sets.load(set);
  if (state.status !== 'creating') return;
  const { principal } = state;
  const { principal: principalId } = names.principal.parse(principal, 'principal');
  try {
    await identities.createManagedIdentity({ principalId, tenant: state.tenant, owner: set }, callFor(cause));
  } catch (error) {
    if (error instanceof Rejection && !isOutage(error)) {
      await sets.transact(set, answeredTo(principal, abandonCreation(clock.now(), error.reason)), cause);
    }
    throw error;
  }
  // By now the set may be deleted, and another one of its name being made with another identity.
  await sets.transact(set, answeredTo(principal, completeCreation(clock.now())), cause);
};
