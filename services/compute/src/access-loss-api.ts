import type { ReportAccessLostRequest } from '@interlock/contracts/interlock/compute/v1/access_loss.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, names } from '@interlock/rpc';
import { type Clock, DomainAttribute, traceIdOf } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { KeyStops } from './key-stops.ts';
import { lossReasonOf } from './vm/machine.ts';

/** What disk hosts report: a vault refused them a key version. */
export const accessLossApi = (parts: { readonly stops: KeyStops; readonly clock: Clock }) => ({
  async reportAccessLost(request: ReportAccessLostRequest, { cause, signal }: Call) {
    const { diskEncryptionSet: set, keyVersion, accessEpoch, since } = request;
    names.diskEncryptionSet.parse(set, 'disk_encryption_set');
    names.keyVersion.parse(keyVersion, 'key_version');
    const reason = lossReasonOf(request.reason);
    if (!reason) {
      throw new Rejection('INVALID_ARGUMENT', 'REASON_MISSING', 'reason must say why the key version was refused', {
        field: 'reason',
      });
    }
    trace.getActiveSpan()?.setAttributes({
      [DomainAttribute.diskEncryptionSet]: set,
      [DomainAttribute.keyVersion]: keyVersion,
      [DomainAttribute.reason]: reason,
    });
    const loss = {
      reason,
      set,
      keyVersion,
      since: since?.getTime() ?? parts.clock.now(),
      traceId: traceIdOf(cause.traceparent) ?? '',
      accessEpoch,
    };
    // A host speaks for one version: which disks are under it is confirmed before anything is stopped.
    return { stoppingCount: await parts.stops.stopFor({ loss, isPartial: true }, cause, signal) };
  },
});
