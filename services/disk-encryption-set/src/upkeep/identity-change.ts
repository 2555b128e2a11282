import { type Cause, Rejection } from '@interlock/event-store';
import { names } from '@interlock/rpc';
import { completeIdentity, retireIdentity } from '../set/identity.ts';
import { callFor, forProcess, type SetParts } from '../sets.ts';

/**
 * Deletes the principals of removed identities and creates that of a new one under the stored id. May be repeated at any step and
 * in parallel with another replica.
 * @returns whether a new identity was completed: its access must be checked
 * @throws RpcFailure or Rejection if identity does not respond: it is retried later
 */
export const reconcileIdentity = async (
  { clock, sets, identities }: Pick<SetParts, 'clock' | 'sets' | 'identities'>,
  set: string,
  cause: Cause,
): Promise<boolean> => {
  const { state } = await sets.load(set);
  // Also during a deletion that may be refused: a removed identity must not stay alive (G1).
  if (state.status !== 'active' && state.status !== 'deleting') return false;
  for (const name of state.identity.retiring) {
    const retiring = forProcess(cause, set, state, 'identity');
    await deleteIdentity(identities, name, retiring);
    await sets.transact(set, retireIdentity(clock.now(), name), retiring, { step: 'identity' });
  }
  const { principal, tenant, identity, userAssigned = false } = state;
  if (state.status === 'deleting' || principal === '' || identity.isMade) return false;
  // Another replica may have recorded the deletions: their answers do not cause what follows.
  const work = forProcess(cause, set, state, 'identity');
  const { principal: principalId } = names.principal.parse(principal, 'principal');
  if (!userAssigned) await createIdentity(identities, { principalId, tenant, owner: set }, work);
  const { state: after, events } = await sets.transact(set, completeIdentity(clock.now(), principal), work, {
    step: 'identity',
  });
  // Removed meanwhile, perhaps with the set, and deleted at identity before it existed: only this run can delete it.
  const isGone = after.status === 'released' || after.status === 'deleted';
  if (!userAssigned && after.status !== 'absent' && (isGone || after.principal !== principal)) {
    await deleteIdentity(identities, principal, work);
  }
  return events.length > 0;
};

/** Creates a principal. A principal that was created and deleted counts as created: its calls are refused. */
const createIdentity = async (
  identities: SetParts['identities'],
  request: { readonly principalId: string; readonly tenant: string; readonly owner: string },
  cause: Cause,
): Promise<void> => {
  try {
    await identities.createManagedIdentity(request, callFor(cause));
  } catch (error) {
    if (!(error instanceof Rejection && error.reason === 'PRINCIPAL_ALREADY_EXISTS')) throw error;
  }
};

/** Deletes a principal, if it exists. */
export const deleteIdentity = async (identities: SetParts['identities'], name: string, cause: Cause): Promise<void> => {
  try {
    await identities.deletePrincipal({ name }, callFor(cause));
  } catch (error) {
    if (!(error instanceof Rejection && error.code === 'NOT_FOUND')) throw error;
  }
};
