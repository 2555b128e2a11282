import { FINAL_EPOCH, type LossReason, lossReasonIn, refusalFacts } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { Disks } from '../neighbours.ts';

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
    const reason = lossReasonIn(error);
    if (!(error instanceof Rejection) || reason === undefined) throw error;
    const { accessEpoch, since, traceId = '' } = refusalFacts(error);
    return {
      granted: false,
      reason,
      epoch: reason === 'IDENTITY_DELETED' ? FINAL_EPOCH : accessEpoch,
      since,
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
