import { accessReasonOf, isOutage, messageOf, refusalFacts, statusOf } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { Failure, KeyLoss, Work } from '../vm/machine.ts';
import { TimedOut } from './disks.ts';

/** Which disk a refusal is about, as far as compute knows. */
export interface AskedDisk {
  readonly disk: string;
  readonly set: string;
  readonly keyVersion: string;
}

/** The lost key behind a refusal of the disk service; `undefined` when it was refused for another reason. */
export const lossBehind = (error: unknown, asked: AskedDisk, at: Instant): KeyLoss | undefined => {
  const rejection = rejectionIn(error);
  const reason = rejection && accessReasonOf(rejection.reason);
  if (!rejection || !reason) return undefined;
  const { metadata } = rejection;
  const { accessEpoch = 0, since = at, traceId = '' } = refusalFacts(rejection);
  return {
    reason,
    disk: asked.disk,
    set: metadata.disk_encryption_set || asked.set,
    keyVersion: metadata.key_version || asked.keyVersion,
    since,
    traceId,
    accessEpoch,
  };
};

/**
 * Why a piece of work failed, in the words of whoever said no. Without a definite no it is the vault that gives no
 * answer, where that is what the disk service said, else the disk service itself (VM-47).
 */
export const failureOf = (error: unknown, loss: KeyLoss | undefined, work: Work, vm: string, at: Instant): Failure => {
  const common = { operation: work.kind, operationId: work.id, at };
  if (loss && !(error instanceof TimedOut && !isOutage(loss.reason))) {
    return { ...common, status: statusOf(loss.reason), code: loss.reason, message: messageOf(loss), loss };
  }
  if (error instanceof TimedOut) {
    return {
      ...common,
      status: 'UNAVAILABLE',
      code: 'VM_START_TIMED_OUT',
      message: `VM '${vm}' did not start in the allotted time. Its disks could not be reached; try again later.`,
    };
  }
  const rejection = rejectionIn(error);
  if (rejection) return { ...common, status: rejection.code, code: rejection.reason, message: rejection.message };
  return {
    ...common,
    status: 'UNAVAILABLE',
    code: 'GUEST_START_FAILED',
    message: `VM '${vm}' did not start: its guest did not come up. Try again.`,
  };
};

/** A failed operation as the refusal its caller gets. */
export const refusalOf = (failure: Failure, vm: string): Rejection => {
  const { status, code, message, loss } = failure;
  return new Rejection(status, code, message, {
    vm,
    operation: failure.operation,
    ...(loss === undefined
      ? {}
      : {
          disk: loss.disk,
          disk_encryption_set: loss.set,
          key_version: loss.keyVersion,
          since: new Date(loss.since).toISOString(),
          trace_id: loss.traceId,
        }),
  });
};

const rejectionIn = (error: unknown): Rejection | undefined => {
  if (error instanceof Rejection) return error;
  return error instanceof TimedOut && error.cause instanceof Rejection ? error.cause : undefined;
};
