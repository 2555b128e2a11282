import { type Cause, Rejection } from '@interlock/event-store';
import { names } from '@interlock/rpc';
import { ifIdentityIs } from '../set/access.ts';
import { abandonCreation, completeCreation } from '../set/decider.ts';
import { callFor, forProcess, type SetParts } from '../sets.ts';
import { isOutage } from './outages.ts';

/**
 * Finishes a creation: creates the identity under the stored id, then the set (CMK-04). May be repeated at any step and in
 * parallel with another replica.
 * @throws Rejection if identity refuses: the creation is abandoned
 * @throws RpcFailure or a retryable Rejection if identity does not respond: the creation is finished later
 */
export const finishCreation = async (
  { clock, sets, identities }: Pick<SetParts, 'clock' | 'sets' | 'identities'>,
  set: string,
  cause: Cause,
): Promise<void> => {
  const { state } = await sets.load(set);
  if (state.status !== 'creating') return;
  const { principal, userAssigned = false } = state;
  const { principal: principalId } = names.principal.parse(principal, 'principal');
  const work = forProcess(cause, set, state, 'life');
  try {
    // The identity of a user exists.
    if (!userAssigned)
      await identities.createManagedIdentity({ principalId, tenant: state.tenant, owner: set }, callFor(work));
  } catch (error) {
    if (error instanceof Rejection && !isOutage(error)) {
      await sets.transact(set, ifIdentityIs(principal, abandonCreation(clock.now(), error.reason)), work, {
        step: 'life',
      });
    }
    throw error;
  }
  // Meanwhile the set may be deleted, and a later one of its name have another identity.
  await sets.transact(set, ifIdentityIs(principal, completeCreation(clock.now())), work, { step: 'life' });
};
