import { type LossReason, refusalMetadata, statusOf } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import { type Instant, linkRunningSpan } from '@interlock/runtime';

/** Which key, and for which resource, in the metadata of an error. Names are full; empty ones are left out. */
export interface KeyUse {
  readonly set: string;
  readonly keyVersion: string;
  /** The disk or snapshot; `''` for the set as a whole. */
  readonly resource: string;
}

/** What is known about a loss. */
export interface LossFacts {
  readonly reason: LossReason;
  readonly since: Instant;
  /** 32 hexadecimal digits; `''` if its cause was not traced. */
  readonly traceId: string;
  /** W3C trace context of the commit that took access away, if the vault said it. */
  readonly traceparent?: string;
  /** The event that took access away, as far as it is known: what this host does about the loss follows from it. */
  readonly event?: string;
  /** Correlation id of that event. */
  readonly correlationId?: string;
  /** Undefined if the refusal did not say it. */
  readonly accessEpoch: number | undefined;
  /** `principals/<uuid>`: the identity that was deleted; absent for every other loss. */
  readonly principal?: string;
}

/** Why data under a key is unavailable, as the API shows it: a loss in force, or an outage that counts as one. */
export interface KeyUnavailable {
  readonly reason: LossReason | 'KEY_VAULT_UNREACHABLE';
  readonly since: Instant;
  /** As in `LossFacts`. */
  readonly event?: string;
  readonly correlationId?: string;
  readonly traceparent?: string;
}

/** The refusal of everything that needs a lost key, running I/O included (CMK-105, CMK-110). Its span is linked to the loss (G10). */
export const keyLost = (use: KeyUse, loss: LossFacts, cause?: unknown): Rejection => {
  linkRunningSpan(loss.traceparent);
  const since = new Date(loss.since).toISOString();
  return new Rejection(
    statusOf(loss.reason),
    loss.reason,
    `${use.resource || use.set} needs key version ${use.keyVersion} of ${use.set}, which cannot be used since ${since}: ${loss.reason}`,
    { ...namesOf(use), ...refusalMetadata({ ...loss, traceparent: undefined }) },
    { cause },
  );
};

/** The vault did not decide: time cures it, and it is no decision of the key's owner. */
export const vaultUnreachable = (use: KeyUse, cause: unknown): Rejection => {
  const isThrottled = cause instanceof Rejection && cause.reason === 'THROTTLED';
  return new Rejection(
    'UNAVAILABLE',
    isThrottled ? 'THROTTLED' : 'KEY_VAULT_UNREACHABLE',
    `the vault of key version ${use.keyVersion} did not reply whether it may be used: try again`,
    namesOf(use),
    { cause },
  );
};

const namesOf = ({ set, keyVersion, resource }: KeyUse): Record<string, string> => ({
  disk_encryption_set: set,
  key_version: keyVersion,
  ...(resource === '' ? {} : { disk: resource }),
});
