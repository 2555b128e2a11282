import { type Cause, Rejection } from '@interlock/event-store';
import { completeDeletion, refuseDeletion, release } from '../set/decider.ts';
import { callFor, forProcess, type SetParts } from '../sets.ts';
import { deleteIdentity } from './identity-change.ts';

/** Attempts while facts change the set between the list of its users and the release. */
const attemptsMax = 3;

/** Users that a refusal names. */
const namedUsersMax = 10;

/**
 * Finishes a deletion after its barrier: a set with users stays (CMK-130); otherwise its identity is deleted, then the set
 * (CMK-39). May be repeated at any step and in parallel with another replica: only a released set loses its identity.
 * @throws Rejection FAILED_PRECONDITION DISK_ENCRYPTION_SET_IN_USE naming up to 10 users
 * @throws RpcFailure or a retryable Rejection if a service does not respond: the deletion is finished later
 */
export const finishDeletion = async (
  { clock, sets, disks, identities }: Pick<SetParts, 'clock' | 'sets' | 'disks' | 'identities'>,
  set: string,
  cause: Cause,
): Promise<void> => {
  for (let attempt = 1; ; attempt += 1) {
    const { state, version } = await sets.load(set);
    if (state.status !== 'deleting') break;
    const { resources, nextPageToken } = await disks.listEncryptedResources(
      { diskEncryptionSet: set, pageSize: namedUsersMax },
      callFor(cause),
    );
    if (resources.length > 0) {
      const after = await sets.transact(set, refuseDeletion(clock.now()), cause, { step: 'life' });
      if (after.state.status === 'active') throw inUse(set, resources, nextPageToken !== '');
      break;
    }
    try {
      // At the listed version only: after a refused and restarted deletion the set may have users.
      await sets.transact(set, release(clock.now()), cause, { expected: version, step: 'life' });
      break;
    } catch (error) {
      const isChanged = error instanceof Rejection && error.reason === 'ETAG_MISMATCH';
      if (!isChanged || attempt >= attemptsMax) throw error;
    }
  }
  const { state: released } = await sets.load(set);
  if (released.status !== 'released') return;
  const work = forProcess(cause, set, released, 'life');
  const own = released.userAssigned === true ? [] : [released.principal];
  for (const name of [...own, ...released.identity.retiring]) {
    if (name !== '') await deleteIdentity(identities, name, work);
  }
  await sets.transact(set, completeDeletion(clock.now()), work, { step: 'life' });
};

const inUse = (set: string, users: readonly { readonly name: string }[], isMore: boolean): Rejection => {
  const resources = users.map(({ name }) => name).join(', ');
  return new Rejection(
    'FAILED_PRECONDITION',
    'DISK_ENCRYPTION_SET_IN_USE',
    `${set} is used by ${resources}${isMore ? ' and more' : ''}: delete these or put them under another set first`,
    { name: set, resources },
  );
};
