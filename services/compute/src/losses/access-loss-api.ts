import { type AccessReason, accessReasonOf } from '@interlock/access';
import type { ReportAccessLostRequest } from '@interlock/contracts/interlock/compute/v1/access_loss.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, names } from '@interlock/rpc';
import { type Clock, DomainAttribute, traceIdOf } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { isNumbered } from '../vm/key-loss.ts';
import { TimedOut } from '../work/disks.ts';
import type { KeyReturns } from './key-returns.ts';
import type { KeyStops } from './key-stops.ts';
import type { Losses } from './losses.ts';
import type { LostDisks } from './lost-disks.ts';

/** How long the disk service may take to confirm an outage, in milliseconds; the host repeats its report anyway. */
const confirmMs = 5_000;

/** What disk hosts report: a vault refused them a key version, or gave no answer for longer than their grace. */
export const accessLossApi = (parts: {
  readonly stops: KeyStops;
  readonly lost: LostDisks;
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
    const reason = lossOf(request);
    trace.getActiveSpan()?.setAttributes({
      [DomainAttribute.diskEncryptionSet]: set,
      [DomainAttribute.keyVersion]: keyVersion,
      [DomainAttribute.reason]: reason,
    });
    const traceId = request.traceId || (traceIdOf(cause.traceparent) ?? '');
    const loss = { reason, set, keyVersion, since: since?.getTime() ?? parts.clock.now(), traceId, accessEpoch };
    // A host speaks for one version: which disks are under it is confirmed before anything is stopped.
    if (isNumbered(loss)) {
      const stoppingCount = await parts.stops.stopFor({ loss, isPartial: true }, cause, signal);
      // The word that the key is back may have overtaken the report: what it stopped is carried back now, or never.
      if (await parts.losses.isOver(loss)) {
        await parts.returns.returned({ set, keyVersion, ends: accessEpoch }, cause);
      }
      return { stoppingCount };
    }
    const patience = { signal, untilMs: parts.clock.now() + confirmMs };
    try {
      const filter = { diskEncryptionSet: set, keyVersion };
      return { stoppingCount: await parts.lost.stopUnder(filter, { cause, traceId }, patience) };
    } catch (error) {
      if (!(error instanceof TimedOut)) throw error;
      throw new Rejection(
        'UNAVAILABLE',
        'DEPENDENCY_UNAVAILABLE',
        'the disk service did not say which disks are concerned: report again',
        { service: 'disk' },
      );
    }
  },
});

/** @throws Rejection INVALID_ARGUMENT REASON_MISSING, REASON_NOT_A_LOSS */
const lossOf = ({ reason: word }: ReportAccessLostRequest): AccessReason => {
  const reason = accessReasonOf(word);
  if (!reason) {
    throw new Rejection('INVALID_ARGUMENT', 'REASON_MISSING', 'reason must say why the key version was refused', {
      field: 'reason',
    });
  }
  if (reason === 'THROTTLED') {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'REASON_NOT_A_LOSS',
      'reason: a vault that throttles has decided nothing; report KEY_VAULT_UNREACHABLE once the grace is over',
      { field: 'reason', reason },
    );
  }
  return reason;
};
