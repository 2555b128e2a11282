import { type Cause, Rejection } from '@interlock/event-store';
import { subscriptionOf } from '@interlock/rpc';
import { askAccess } from '../key/key-access.ts';
import { checkKey } from '../key/key-rules.ts';
import { followNewest, missNewest } from '../set/key-change.ts';
import type { LivingSet } from '../set/state.ts';
import { callFor, type SetParts } from '../sets.ts';
import { isOutage } from './outages.ts';

type Parts = Pick<SetParts, 'clock' | 'sets' | 'disks' | 'keyVault' | 'requirePurgeProtection'>;

/** Code of the error of a set whose identity is gone (CMK-37). */
const identityGone = 'ManagedServiceIdentityNotFound';

/**
 * Moves a set that follows its key to the newest version that can be used (CMK-36, CMK-81). The vault says which that is;
 * it is held against the rules a key somebody assigns is held against, and the identity must be able to use it. What
 * stands in the way is kept with the set until a later look finds it gone. Against a change somebody makes meanwhile the
 * generation decides: the look was about another key then, and nothing of it is stored.
 * @returns whether the set has another key now
 * @throws RpcFailure or a retryable Rejection where somebody does not answer: the look is taken again later
 */
export const follow = async (parts: Parts, set: string, cause: Cause): Promise<boolean> => {
  const { clock, sets, keyVault } = parts;
  const { state } = await sets.load(set);
  if (state.status !== 'active' || !state.options.autoKeyRotation) return false;
  const { keyVersion: active } = state.activeKey;
  const look = { generation: state.generation, position: state.following.due ?? 0 };
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
    const { events } = await sets.transact(set, followNewest(clock.now(), look, newer), cause);
    return events.some(({ type }) => type === 'KeyAssigned');
  } catch (error) {
    if (!(error instanceof Rejection) || isOutage(error)) throw error;
    const isGone = error.reason === 'IDENTITY_DELETED';
    const obstacle = {
      keyVersion: candidate,
      code: isGone ? identityGone : error.reason,
      message: isGone
        ? `automatic rotation is off because the identity of the set, ${state.principal}, was not found: give the set a new one`
        : error.message,
    };
    await sets.transact(set, missNewest(clock.now(), look, obstacle), cause);
    return false;
  }
};

/** A newer version as the set will name it, if it fits the set and the identity can use it. @throws Rejection why not */
const usable = async (
  { clock, disks, requirePurgeProtection }: Parts,
  set: string,
  { location, tenant, principal }: LivingSet,
  found: Parameters<typeof checkKey>[1],
  cause: Cause,
) => {
  const subscription = subscriptionOf(set);
  const wish = {
    location,
    subscription,
    isOwnTenant: tenant === found.tenant,
    sourceVault: '',
    requirePurgeProtection,
  };
  const key = checkKey(clock.now(), found, wish);
  const { keyVersion } = key;
  const answer = await askAccess(disks, { set, principal, keyVersion, correlationId: cause.correlationId });
  if (!answer.granted) throw answer.rejection;
  return { key, yes: { epoch: answer.epoch, principal } };
};
