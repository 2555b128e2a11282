import type { DiskEncryptionSet as WireSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { UpdateDiskEncryptionSetRequest } from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import type { Cause } from '@interlock/event-store';
import { type Call, expectedVersion, names } from '@interlock/rpc';
import { DomainAttribute, type Random, traceIdOf } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { SetParts } from '../sets.ts';
import { removeIdentity, replaceIdentity } from './identity.ts';
import { changeOptions, requestedChangeOf } from './options.ts';
import type { DiskEncryptionSet } from './state.ts';
import { setOnWire } from './wire.ts';

/** Updates of a set's options and identity. */
export const optionsApi = (
  parts: Pick<SetParts, 'clock' | 'sets'> & {
    readonly random: Pick<Random, 'uuid'>;
    readonly schedule: (set: string, cause: Cause) => void;
  },
) => {
  const { clock, random, sets, schedule } = parts;

  return {
    async updateDiskEncryptionSet(request: UpdateDiskEncryptionSetRequest, { cause }: Call): Promise<WireSet> {
      const { name } = request;
      names.diskEncryptionSet.parse(name, 'name');
      trace.getActiveSpan()?.setAttribute(DomainAttribute.diskEncryptionSet, name);
      const expected = expectedVersion(request.etag);
      const { identity, ...change } = requestedChangeOf(request);
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
      schedule(name, cause);
      return setOnWire(changed);
    },
  };
};
