import { type LossReason, refusalMetadata, statusOf } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** Which key, and for whom, in the metadata of an error. Names are full; empty ones are left out. */
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
  /** 32 hexadecimal digits; `''` when its cause was not traced. */
  readonly traceId: string;
  /** W3C trace context of the commit that took access away, where the vault said it. */
  readonly traceparent?: string;
  /** Undefined where whoever refused did not say. */
  readonly accessEpoch: number | undefined;
  /** `principals/<uuid>`: of an identity that ended; absent for a loss of the key. */
  readonly principal?: string;
}

/** Why data under a key is out of reach, as shown: a loss in force, or the silence of the vault where that counts as one. */
export interface KeyUnavailable {
  readonly reason: LossReason | 'KEY_VAULT_UNREACHABLE';
  readonly since: Instant;
}

/** The refusal of everything that needs a lost key (CMK-105, CMK-110). Also for I/O under way. */
export const keyLost = (use: KeyUse, loss: LossFacts, cause?: unknown): Rejection => {
  const since = new Date(loss.since).toISOString();
  return new Rejection(
    statusOf(loss.reason),
    loss.reason,
    `${use.resource || use.set} needs key version ${use.keyVersion} of ${use.set}, which cannot be used since ${since}: ${loss.reason}`,
    { ...namesOf(use), ...refusalMetadata({ ...loss, traceparent: undefined }) },
    { cause },
  );
};

/** The vault gave no definite answer: cured by time, and no decision of the key's owner. */
export const vaultUnreachable = (use: KeyUse, cause: unknown): Rejection => {
  const isThrottled = cause instanceof Rejection && cause.reason === 'THROTTLED';
  return new Rejection(
    'UNAVAILABLE',
    isThrottled ? 'THROTTLED' : 'KEY_VAULT_UNREACHABLE',
    `the vault of key version ${use.keyVersion} did not say whether it may be used: try again`,
    namesOf(use),
    { cause },
  );
};

const namesOf = ({ set, keyVersion, resource }: KeyUse): Record<string, string> => ({
  disk_encryption_set: set,
  key_version: keyVersion,
  ...(resource === '' ? {} : { disk: resource }),
});
