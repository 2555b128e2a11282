import { FINAL_EPOCH, type LossReason, lossReasonIn, refusalFacts } from '@interlock/access';
import { type Cause, Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { Disks } from '../sets.ts';

/** Which identity and which version to check. */
export interface AccessQuestion {
  /** Name of the set. */
  readonly set: string;
  /** `principals/<uuid>`: its identity. */
  readonly principal: string;
  readonly keyVersion: string;
  /** Whether to ignore the expiry of the version. Default false. */
  readonly allowExpired?: boolean;
  readonly cause: Cause;
}

/** The decision of the vault. */
export type AccessAnswer =
  | { readonly granted: true; readonly epoch: number }
  | {
      readonly granted: false;
      readonly reason: LossReason;
      /** Undefined if the refusal does not say it. */
      readonly epoch: number | undefined;
      /** Undefined if the refusal does not say it. */
      readonly since: Instant | undefined;
      /** Trace of the commit that took access away; empty if the refusal does not say it. */
      readonly traceId: string;
      /** The refusal itself. */
      readonly rejection: Rejection;
    };

/**
 * Has the disk service check with the vault, as the identity of the set (CMK-07).
 * @throws RpcFailure or Rejection if the vault did not decide: that says nothing about the key
 */
export const askAccess = async (disks: Disks, question: AccessQuestion): Promise<AccessAnswer> => {
  const { set, principal, keyVersion, allowExpired = false, cause } = question;
  if (principal === '') return noIdentity(set);
  try {
    const { accessEpoch } = await disks.checkKeyAccess(
      { diskEncryptionSet: set, keyVersion, principal, allowExpired },
      { cause },
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

/** A set without an identity needs no check (CMK-38). */
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
