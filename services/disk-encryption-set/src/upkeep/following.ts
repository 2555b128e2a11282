import { type Cause, Rejection } from '@interlock/event-store';
import { subscriptionOf } from '@interlock/rpc';
import { askAccess } from '../key/key-access.ts';
import { checkKey } from '../key/key-rules.ts';
import { followNewest, missNewest } from '../set/key-change.ts';
import type { LivingSet } from '../set/state.ts';
import { callFor, forProcess, type SetParts } from '../sets.ts';
import { isOutage } from './outages.ts';

type Parts = Pick<SetParts, 'clock' | 'sets' | 'disks' | 'keyVault' | 'requirePurgeProtection'>;

/** Code of the error of a set whose identity is deleted (CMK-37). */
const identityGone = 'ManagedServiceIdentityNotFound';

/**
 * Assigns the newest usable version to a set that follows its key (CMK-36, CMK-81). It must meet the rules of an assigned key,
 * and the identity must have access to it; otherwise the obstacle is stored until a later check. If the set's generation
 * changes meanwhile, nothing is stored.
 * @returns whether the key changed
 * @throws RpcFailure or a retryable Rejection if a service does not respond: the check is repeated later
 */
export const follow = async (parts: Parts, set: string, origin: Cause): Promise<boolean> => {
  const { clock, sets, keyVault } = parts;
  const { state } = await sets.load(set);
  // Whether it still follows its key is decided at the end, as it may change during the check.
  if (state.status !== 'active') return false;
  const { keyVersion: active } = state.activeKey;
  const cause = forProcess(origin, set, state, 'following');
  const check = { generation: state.generation, position: state.following.due ?? 0 };
  let candidate = active;
  try {
    const found = await keyVault.findNewerKeyVersion({ keyVersion: active, resource: set }, callFor(cause));
    candidate = found.newer?.keyVersion ?? (found.unusableKeyVersion || active);
    if (found.newer === undefined && found.unusableKeyVersion !== '') {
      throw new Rejection(
        'FAILED_PRECONDITION',
        found.unusableReason,
        `the newest version, ${candidate}, cannot be used (${found.unusableReason}): make it usable, or make a newer one`,
      );
    }
    const newer = found.newer === undefined ? undefined : await usable(parts, set, state, found.newer, cause);
    const { events } = await sets.transact(set, followNewest(clock.now(), check, newer), cause, {
      step: 'following',
    });
    return events.some(({ type }) => type === 'KeyAssigned');
  } catch (error) {
    if (!(error instanceof Rejection) || isOutage(error)) throw error;
    const isGone = error.reason === 'IDENTITY_DELETED';
    const obstacle = {
      keyVersion: candidate,
      code: isGone ? identityGone : error.reason,
      message: isGone
        ? `automatic rotation is off because the identity of the set, ${state.principal}, does not exist: give the set a new one`
        : error.message,
    };
    await sets.transact(set, missNewest(clock.now(), check, obstacle), cause, { step: 'following' });
    return false;
  }
};

/** A newer version, checked for the set and its identity. @throws Rejection if it cannot be assigned */
const usable = async (
  { clock, disks, requirePurgeProtection }: Parts,
  set: string,
  { location, tenant, principal }: LivingSet,
  found: Parameters<typeof checkKey>[1],
  cause: Cause,
) => {
  const subscription = subscriptionOf(set);
  const rules = {
    location,
    subscription,
    isOwnTenant: tenant === found.tenant,
    sourceVault: '',
    requirePurgeProtection,
  };
  const key = checkKey(clock.now(), found, rules);
  const { keyVersion } = key;
  const answer = await askAccess(disks, { set, principal, keyVersion, cause });
  if (!answer.granted) throw answer.rejection;
  return { key, grant: { epoch: answer.epoch, principal } };
};
