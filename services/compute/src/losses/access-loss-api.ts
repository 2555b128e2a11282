import { type AccessReason, accessReasonOf } from '@interlock/access';
import type { ReportAccessLostRequest } from '@interlock/contracts/interlock/compute/v1/access_loss.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, names } from '@interlock/rpc';
import { type Clock, DomainAttribute, traceIdOf } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { TimedOut } from '../disk-service/disks.ts';
import { canBeOrdered, type SetLoss } from '../vm/key-loss.ts';
import { endedWith } from '../vm/key-return.ts';
import type { KeyReturns } from './key-returns.ts';
import type { KeyStops } from './key-stops.ts';
import type { Losses } from './losses.ts';
import type { LostDisks } from './lost-disks.ts';

/** How long the disk service may take to confirm an outage, in milliseconds; the host repeats its report anyway. */
const confirmMs = 5_000;

/** Reports of disk hosts: a vault refused them a key version, or was unreachable for longer than their grace. */
export const accessLossApi = (parts: {
  readonly stops: Pick<KeyStops, 'stopFor'>;
  readonly lost: Pick<LostDisks, 'stopUnder'>;
  readonly losses: Pick<Losses, 'isOver'>;
  readonly returns: Pick<KeyReturns, 'returned'>;
  readonly clock: Clock;
}) => ({
  async reportAccessLost(request: ReportAccessLostRequest, { cause, signal }: Call) {
    const { diskEncryptionSet: set, keyVersion, accessEpoch, since } = request;
    names.diskEncryptionSet.parse(set, 'disk_encryption_set');
    names.keyVersion.parse(keyVersion, 'key_version');
    if (request.diskHost === '') {
      throw new Rejection('INVALID_ARGUMENT', 'DISK_HOST_MISSING', 'disk_host must name the host that was refused', {
        field: 'disk_host',
      });
    }
    const reason = reasonOf(request);
    trace.getActiveSpan()?.setAttributes({
      [DomainAttribute.diskEncryptionSet]: set,
      [DomainAttribute.keyVersion]: keyVersion,
      [DomainAttribute.reason]: reason,
    });
    const traceId = request.traceId || (traceIdOf(cause.traceparent) ?? '');
    const loss = { reason, set, keyVersion, since: since?.getTime() ?? parts.clock.now(), traceId, accessEpoch };
    return { stoppingCount: canBeOrdered(loss) ? await stopFor(loss) : await stopWithoutData() };

    /** The host reports one version: the disk service confirms which disks are under it. */
    async function stopFor(known: SetLoss): Promise<number> {
      const stopped = await parts.stops.stopFor({ loss: known, isPartial: true }, cause, signal);
      // Access may have been restored before the report arrived: give back what it stopped now, because nothing else will.
      if (await parts.losses.isOver(known))
        await parts.returns.returned({ set, keyVersion, ends: endedWith(known) }, cause);
      return stopped;
    }

    /** The loss has no number: the disks say which opens it ended. */
    async function stopWithoutData(): Promise<number> {
      const patience = { signal, untilMs: parts.clock.now() + confirmMs };
      try {
        const filter = { diskEncryptionSet: set, keyVersion, ...hostIn(request) };
        return await parts.lost.stopUnder(filter, { cause, traceId }, patience);
      } catch (error) {
        if (!(error instanceof TimedOut)) throw error;
        throw new Rejection(
          'UNAVAILABLE',
          'DEPENDENCY_UNAVAILABLE',
          `the disk service did not list the disks under ${keyVersion} within ${confirmMs} ms: report again`,
          { service: 'disk' },
        );
      }
    }
  },
});

/** The host of a report, if it has its full name: hosts of earlier releases send an address. What such a host found is looked for everywhere. */
const hostIn = ({ diskHost }: ReportAccessLostRequest): { readonly diskHost?: string } =>
  diskHost.startsWith('diskHosts/') ? { diskHost } : {};

/** @throws Rejection INVALID_ARGUMENT REASON_MISSING, REASON_NOT_A_LOSS */
const reasonOf = ({ reason: name }: ReportAccessLostRequest): AccessReason => {
  const reason = accessReasonOf(name);
  if (!reason) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'REASON_MISSING',
      'reason must be the reason for which the key version was refused, for example KEY_DISABLED',
      {
        field: 'reason',
      },
    );
  }
  if (reason === 'THROTTLED') {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'REASON_NOT_A_LOSS',
      'reason must not be THROTTLED: a vault that throttles has decided nothing. Report KEY_VAULT_UNREACHABLE after the grace',
      { field: 'reason', reason },
    );
  }
  return reason;
};
