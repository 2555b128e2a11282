import type { DiskEncryptionSet as WireSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { UpdateDiskEncryptionSetRequest } from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import type { Cause } from '@interlock/event-store';
import { type Call, expectedVersion, names } from '@interlock/rpc';
import { DomainAttribute, type Random, traceIdOf } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { askAccess } from '../key-access.ts';
import type { ChooseKey } from '../key-choice.ts';
import { standbyWord } from '../owners-word.ts';
import type { SetParts } from '../sets.ts';
import { activeSet } from './decider.ts';
import { removeIdentity, replaceIdentity } from './identity.ts';
import { type AskedChange, askedChangeOf, changeOptions } from './options.ts';
import { type AgreedStandby, checkStandby, keysInUse } from './standby.ts';
import type { DiskEncryptionSet, LivingSet } from './state.ts';
import { setOnWire } from './wire.ts';

/** What the owner of a set chooses about it: request in, resource out. */
export const optionsApi = (
  parts: Pick<SetParts, 'clock' | 'sets' | 'disks' | 'keyVault'> & {
    readonly random: Pick<Random, 'uuid'>;
    readonly chooseKey: ChooseKey;
    readonly attend: (set: string, cause: Cause) => void;
  },
) => {
  const { clock, random, sets, disks, keyVault, chooseKey, attend } = parts;

  /**
   * A standby nobody can use would fail when it is needed: it is held against every rule now. Then the owner of each key
   * the set is under has to agree (CMK-10).
   */
  const standbyOf = async (
    name: string,
    set: LivingSet,
    { keyUrl, sourceVault }: NonNullable<AskedChange['standby']>,
    keyOwnerToken: string,
    cause: Cause,
  ): Promise<AgreedStandby> => {
    const known = set.options.standbyKey;
    if (known !== null && known.keyUrl === keyUrl) return { key: known, agreedFor: [] };
    const { location, tenant, principal } = set;
    const { key } = await chooseKey({ set: name, location, keyUrl, sourceVault, tenant }, cause);
    checkStandby(key, set.activeKey);
    const { keyVersion } = key;
    const answer = await askAccess(disks, { set: name, principal, keyVersion, correlationId: cause.correlationId });
    if (!answer.granted) throw answer.rejection;
    const agreedFor = keysInUse(set);
    const wish = { keyVersions: agreedFor, standby: keyVersion, principal, diskEncryptionSet: name };
    await standbyWord(keyVault, wish, keyOwnerToken, cause);
    return { key, agreedFor };
  };

  return {
    async updateDiskEncryptionSet(request: UpdateDiskEncryptionSetRequest, { cause }: Call): Promise<WireSet> {
      const { name } = request;
      names.diskEncryptionSet.parse(name, 'name');
      trace.getActiveSpan()?.setAttribute(DomainAttribute.diskEncryptionSet, name);
      const expected = expectedVersion(request.etag);
      const { standby: asked, identity, ...plain } = askedChangeOf(request);
      // Decides nothing, but holds the etag against the set before anything is done for the request.
      const { state } = await sets.transact(name, () => [], cause, expected);
      const set = activeSet(state);
      const standby = asked ? await standbyOf(name, set, asked, request.keyOwnerToken, cause) : asked;
      const change = { ...plain, ...(standby === undefined ? {} : { standby }) };
      const at = clock.now();
      const principal = `principals/${random.uuid()}`;
      const traceId = traceIdOf(cause.traceparent) ?? '';
      const decideIdentity =
        identity === undefined
          ? () => []
          : identity === 'none'
            ? removeIdentity(at, traceId)
            : replaceIdentity(at, principal);
      const decide = (now: DiskEncryptionSet) => [...changeOptions(at, change)(now), ...decideIdentity(now)];
      const changed = await sets.transact(name, decide, cause, expected);
      attend(name, cause);
      return setOnWire(changed);
    },
  };
};
