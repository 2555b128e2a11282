import { type Cause, Rejection } from '@interlock/event-store';
import { names } from '@interlock/rpc';
import { completeIdentity, retireIdentity } from '../set/identity.ts';
import { callFor, type SetParts } from '../sets.ts';

/**
 * Does at identity what a change of a set's identity left to do: deletes the principals of removed ones, makes that of a
 * new one under the id the set has stored. Safe to repeat after a crash at any step and beside another replica.
 * @returns whether the set has an identity now that was not made before: there is something to ask about
 * @throws RpcFailure or Rejection where identity does not answer: it is taken up again later
 */
export const settleIdentity = async (
  { clock, sets, identities }: Pick<SetParts, 'clock' | 'sets' | 'identities'>,
  set: string,
  cause: Cause,
): Promise<boolean> => {
  const { state } = await sets.load(set);
  // Also while it is not known yet whether the set can be deleted: what was taken away must not live on behind that (G1).
  if (state.status !== 'active' && state.status !== 'deleting') return false;
  for (const name of state.identity.retiring) {
    await deleteIdentity(identities, name, cause);
    await sets.transact(set, retireIdentity(clock.now(), name), cause);
  }
  const { principal, tenant, identity } = state;
  if (state.status === 'deleting' || principal === '' || identity.isMade) return false;
  const { principal: principalId } = names.principal.parse(principal, 'principal');
  await makeIdentity(identities, { principalId, tenant, owner: set }, cause);
  const { state: after, events } = await sets.transact(set, completeIdentity(clock.now(), principal), cause);
  // Taken away meanwhile, also with the whole set, and perhaps looked for at identity before it was there: nobody else
  // would delete it.
  const isGone = after.status === 'released' || after.status === 'deleted';
  if (after.status !== 'absent' && (isGone || after.principal !== principal)) {
    await deleteIdentity(identities, principal, cause);
  }
  return events.length > 0;
};

/** Makes a principal. One that was made and deleted since counts as made: whoever asks as it hears that it is gone. */
const makeIdentity = async (
  identities: SetParts['identities'],
  wish: { readonly principalId: string; readonly tenant: string; readonly owner: string },
  cause: Cause,
): Promise<void> => {
  try {
    await identities.createManagedIdentity(wish, callFor(cause));
  } catch (error) {
    if (!(error instanceof Rejection && error.reason === 'PRINCIPAL_ALREADY_EXISTS')) throw error;
  }
};

/** Deletes a principal; one that never was is as gone as one can be. */
export const deleteIdentity = async (identities: SetParts['identities'], name: string, cause: Cause): Promise<void> => {
  try {
    await identities.deletePrincipal({ name }, callFor(cause));
  } catch (error) {
    if (!(error instanceof Rejection && error.code === 'NOT_FOUND')) throw error;
  }
};
