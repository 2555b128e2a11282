import type { DiskEncryptionSet as WireSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { UpdateDiskEncryptionSetRequest } from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import type { Cause } from '@interlock/event-store';
import { type Call, expectedVersion, names } from '@interlock/rpc';
import { DomainAttribute, type Random, traceIdOf } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type GivenIdentityParts, requireGivenIdentity } from '../key/given-identity.ts';
import type { SetParts } from '../sets.ts';
import { activeSet } from './decider.ts';
import { removeIdentity, replaceIdentity } from './identity.ts';
import { changeOptions, requestedChangeOf } from './options.ts';
import type { DiskEncryptionSet } from './state.ts';
import { setOnWire } from './wire.ts';

/** Checks the identity that a user gives a set that exists. @throws Rejection as `requireGivenIdentity` and `replaceIdentity` */
const requireGiven = async (
  parts: Pick<SetParts, 'clock' | 'sets'> & GivenIdentityParts,
  set: string,
  principal: string,
  call: Call,
): Promise<void> => {
  const { state } = await parts.sets.load(set);
  // Decided first, and again with the change: what the set refuses needs no check at the vault.
  if (replaceIdentity(parts.clock.now(), principal, true)(state).length === 0) return;
  const { tenant, activeKey } = activeSet(state);
  await requireGivenIdentity(parts, { set, tenant, principal, keyVersion: activeKey.keyVersion }, call);
};

/** Updates of a set's options and identity. */
export const optionsApi = (
  parts: Pick<SetParts, 'clock' | 'sets'> &
    GivenIdentityParts & {
      readonly random: Pick<Random, 'uuid'>;
      readonly schedule: (set: string, cause: Cause) => void;
    },
) => {
  const { clock, random, sets, schedule } = parts;

  return {
    async updateDiskEncryptionSet(request: UpdateDiskEncryptionSetRequest, call: Call): Promise<WireSet> {
      const { name, userAssignedIdentity: given } = request;
      const { cause } = call;
      names.diskEncryptionSet.parse(name, 'name');
      trace.getActiveSpan()?.setAttribute(DomainAttribute.diskEncryptionSet, name);
      const expected = expectedVersion(request.etag);
      const { identity, ...change } = requestedChangeOf(request);
      const isGiven = identity === 'user_assigned';
      if (isGiven) await requireGiven(parts, name, given, call);
      const at = clock.now();
      const principal = isGiven ? given : `principals/${random.uuid()}`;
      const traceId = traceIdOf(cause.traceparent) ?? '';
      const decideIdentity =
        identity === undefined
          ? () => []
          : identity === 'none'
            ? removeIdentity(at, traceId)
            : replaceIdentity(at, principal, isGiven);
      const decide = (now: DiskEncryptionSet) => [...changeOptions(at, change)(now), ...decideIdentity(now)];
      const changed = await sets.transact(name, decide, cause, expected);
      schedule(name, cause);
      return setOnWire(changed);
    },
  };
};
