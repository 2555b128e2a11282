import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { Disks } from '../neighbours.ts';
import { FINAL_EPOCH, type LossReason, lossReasonNamed } from '../set/reasons.ts';
import { isOutage } from '../upkeep/outages.ts';

/** Who is asked for, and about which version. */
export interface AccessQuestion {
  /** Name of the set. */
  readonly set: string;
  /** `principals/<uuid>`: its identity. */
  readonly principal: string;
  readonly keyVersion: string;
  /** Whether the end of the version's window is not looked at. Default false. */
  readonly allowExpired?: boolean;
  readonly correlationId: string;
}

/** A definite answer. */
export type AccessAnswer =
  | { readonly granted: true; readonly epoch: number }
  | {
      readonly granted: false;
      readonly reason: LossReason;
      /** Undefined where the refusal did not carry it. */
      readonly epoch: number | undefined;
      /** Undefined where the refusal did not carry it. */
      readonly since: Instant | undefined;
      /** Trace of the commit that took access away; empty where the refusal did not carry it. */
      readonly traceId: string;
      /** As the service that refused worded it. */
      readonly rejection: Rejection;
    };

/**
 * Has the disk service ask the vault, as the identity of the set (CMK-07).
 * @throws RpcFailure or Rejection where there is no definite answer: nothing may be concluded from it
 */
export const askAccess = async (disks: Disks, question: AccessQuestion): Promise<AccessAnswer> => {
  const { set, principal, keyVersion, allowExpired = false, correlationId } = question;
  if (principal === '') return noIdentity(set);
  try {
    const { accessEpoch } = await disks.checkKeyAccess(
      { diskEncryptionSet: set, keyVersion, principal, allowExpired },
      { correlationId },
    );
    return { granted: true, epoch: accessEpoch };
  } catch (error) {
    const reason = definiteReason(error);
    if (!(error instanceof Rejection) || reason === undefined) throw error;
    const { access_epoch: epoch = '', since = '', trace_id: traceId = '' } = error.metadata;
    const sinceAt = Date.parse(since);
    return {
      granted: false,
      reason,
      epoch: reason === 'IDENTITY_DELETED' ? FINAL_EPOCH : /^\d{1,15}$/.test(epoch) ? Number(epoch) : undefined,
      since: Number.isNaN(sinceAt) ? undefined : sinceAt,
      traceId,
      rejection: error,
    };
  }
};

/** Nobody has to be asked for a set without an identity (CMK-38). */
const noIdentity = (set: string): AccessAnswer => ({
  granted: false,
  reason: 'IDENTITY_DELETED',
  epoch: FINAL_EPOCH,
  since: undefined,
  traceId: '',
  rejection: new Rejection(
    'FAILED_PRECONDITION',
    'IDENTITY_DELETED',
    `${set} has no identity that could use a key: give it one first (identity_type SYSTEM_ASSIGNED)`,
    { disk_encryption_set: set },
  ),
});

/** The reason of a refusal that a service decided; undefined for an outage, a throttled call or anything else. */
export const definiteReason = (error: unknown): LossReason | undefined =>
  error instanceof Rejection && !isOutage(error) ? lossReasonNamed(error.reason) : undefined;
