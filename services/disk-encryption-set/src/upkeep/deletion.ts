import { type Cause, Rejection } from '@interlock/event-store';
import { completeDeletion, refuseDeletion, release } from '../set/decider.ts';
import { callFor, type SetParts } from '../sets.ts';
import { deleteIdentity } from './identity-change.ts';

/** Facts may change a set while its users are looked for; so often they are looked for again before it is left for later. */
const looksMax = 3;

/** Users a refused deletion names: enough to see what kind they are. */
const namedUsersMax = 10;

/**
 * Finishes a deletion behind its barrier: with users the set stays (CMK-130), without any its identity goes, and then the
 * set (CMK-39). Safe to repeat after a crash at any step and beside another replica: only a released set loses its
 * identity, and a released set cannot come back.
 * @throws Rejection FAILED_PRECONDITION DISK_ENCRYPTION_SET_IN_USE naming up to 10 users
 * @throws RpcFailure or a retryable Rejection where somebody does not answer: the deletion is finished later
 */
export const finishDeletion = async (
  { clock, sets, disks, identities }: Pick<SetParts, 'clock' | 'sets' | 'disks' | 'identities'>,
  set: string,
  cause: Cause,
): Promise<void> => {
  for (let look = 1; ; look += 1) {
    const { state, version } = await sets.load(set);
    if (state.status !== 'deleting') break;
    const { resources, nextPageToken } = await disks.listEncryptedResources(
      { diskEncryptionSet: set, pageSize: namedUsersMax },
      callFor(cause),
    );
    if (resources.length > 0) {
      const after = await sets.transact(set, refuseDeletion(clock.now()), cause);
      if (after.state.status === 'active') throw inUse(set, resources, nextPageToken !== '');
      break;
    }
    try {
      // As it was when nobody used it: one whose deletion was refused meanwhile, and begun again, may have users by now.
      await sets.transact(set, release(clock.now()), cause, { expected: version });
      break;
    } catch (error) {
      const isChanged = error instanceof Rejection && error.reason === 'ETAG_MISMATCH';
      if (!isChanged || look >= looksMax) throw error;
    }
  }
  const { state: released } = await sets.load(set);
  if (released.status !== 'released') return;
  for (const name of [released.principal, ...released.identity.retiring]) {
    if (name !== '') await deleteIdentity(identities, name, cause);
  }
  await sets.transact(set, completeDeletion(clock.now()), cause);
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
