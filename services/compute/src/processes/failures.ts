import { accessReasonOf, isOutage, messageOf, refusalFacts, statusOf } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import { type Instant, isSpaceError } from '@interlock/runtime';
import { hostThatIsAway, TimedOut } from '../disk-service/disks.ts';
import { GuestStartError } from '../guests/vm-host.ts';
import type { Failure, KeyLoss, Work } from '../vm/machine.ts';

/** The disk a call is about, as far as compute knows. */
export interface RequestedDisk {
  readonly disk: string;
  readonly set: string;
  readonly keyVersion: string;
  /** The disk host that has it, `diskHosts/{disk_host}`; absent if it is not known. */
  readonly host?: string;
}

/** A call about a disk failed; `loss` if a lost key is why. */
export interface DiskFailure {
  readonly disk: string;
  readonly error: unknown;
  readonly loss?: KeyLoss;
  /** As in `RequestedDisk`. */
  readonly host?: string;
}

/** Calls about some disks of a machine failed. */
export class DisksFailed extends Error {
  override readonly name = 'DisksFailed';
  /** In the order of the disks. */
  readonly failures: readonly DiskFailure[];
  constructor(failures: readonly DiskFailure[]) {
    super(`calls about ${failures.map(({ disk }) => disk).join(', ')} failed`, { cause: failures[0]?.error });
    this.failures = failures;
  }
}

/** A key was lost after this run unwrapped it. */
export class LossMissed extends Error {
  override readonly name = 'LossMissed';
  readonly loss: KeyLoss;
  constructor(loss: KeyLoss) {
    super(messageOf(loss));
    this.loss = loss;
  }
}

/** The lost key behind a refusal of the disk service; `undefined` when it was refused for another reason. */
export const lossOfRefusal = (error: unknown, asked: RequestedDisk, at: Instant): KeyLoss | undefined => {
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

/** The failure that counts: an access loss before any other refusal, a refusal before a call that ran out of time. */
const worstOf = ({ failures }: DisksFailed): Omit<DiskFailure, 'disk'> =>
  failures.find(({ loss }) => loss !== undefined) ??
  failures.find(({ error }) => error instanceof Rejection) ??
  failures[0] ?? { error: undefined };

const reasonsOf = (error: unknown): Omit<DiskFailure, 'disk'> => {
  if (error instanceof DisksFailed) return worstOf(error);
  return error instanceof LossMissed ? { error, loss: error.loss } : { error };
};

/**
 * Why a piece of work failed, in the words of the service that refused it. Without a definite refusal, the vault is
 * unreachable if the disk service said so; otherwise the disk service is (VM-47).
 */
export const failureOf = (thrown: unknown, work: Work, vm: string, at: Instant): Failure => {
  const { error, loss, host } = reasonsOf(thrown);
  const common = { operation: work.kind, operationId: work.id, at };
  if (loss && !(error instanceof TimedOut && !isOutage(loss.reason))) {
    const diskHost = loss.host ?? host;
    return {
      ...{ ...common, status: statusOf(loss.reason), code: loss.reason, message: messageOf(loss), loss },
      ...(diskHost === undefined ? {} : { diskHost }),
    };
  }
  if (error instanceof TimedOut) {
    const diskHost = hostThatIsAway(error.cause);
    const why =
      diskHost === undefined
        ? 'Its disks could not be reached; try again later.'
        : `The disk host ${diskHost.replace('diskHosts/', '')}, which has disks of it, does not respond; try again when it does.`;
    return {
      ...common,
      ...(diskHost === undefined ? {} : { diskHost }),
      status: 'UNAVAILABLE',
      code: 'VM_START_TIMED_OUT',
      message: `VM '${vm}' did not start in the allotted time. ${why}`,
    };
  }
  const rejection = rejectionIn(error);
  if (rejection) return { ...common, status: rejection.code, code: rejection.reason, message: rejection.message };
  return {
    ...common,
    status: 'UNAVAILABLE',
    code: 'GUEST_START_FAILED',
    message: `VM '${vm}' did not start: ${guestProblem(error)}`,
  };
};

const guestProblem = (error: unknown): string => {
  if (error instanceof GuestStartError) return error.message;
  return isSpaceError(error)
    ? 'compute has no space left for the files of its guest. Try again when an operator has freed some.'
    : 'its guest did not come up. Try again.';
};

/** A failed operation as the refusal its caller gets. */
export const refusalOf = (failure: Failure, vm: string): Rejection => {
  const { status, code, message, operation, loss, diskHost } = failure;
  const about = loss && {
    disk: loss.disk,
    disk_encryption_set: loss.set,
    key_version: loss.keyVersion,
    since: new Date(loss.since).toISOString(),
    trace_id: loss.traceId,
  };
  const away = diskHost === undefined ? {} : { disk_host: diskHost };
  return new Rejection(status, code, message, { vm, operation, ...about, ...away });
};

const rejectionIn = (error: unknown): Rejection | undefined => {
  if (error instanceof Rejection) return error;
  return error instanceof TimedOut && error.cause instanceof Rejection ? error.cause : undefined;
};
