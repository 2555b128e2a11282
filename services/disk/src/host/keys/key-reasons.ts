import type { KeyAccessReason } from '@interlock/contracts/interlock/access/v1/access.ts';
import { Rejection, type RejectionCode } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** Why a key cannot be used, where somebody decided so; an outage and throttling are no such decision. */
export type LossReason = Exclude<
  KeyAccessReason,
  'KEY_ACCESS_REASON_UNSPECIFIED' | 'KEY_VAULT_UNREACHABLE' | 'THROTTLED' | 'UNRECOGNIZED'
>;

const lossReasons: readonly LossReason[] = [
  'KEY_DISABLED',
  'KEY_NOT_YET_VALID',
  'KEY_EXPIRED',
  'KEY_DELETED',
  'KEY_PURGED',
  'KEY_VERSION_NOT_FOUND',
  'VAULT_DELETED',
  'ACCESS_DENIED',
  'IDENTITY_DELETED',
];

/** Whether a refusal for that reason is about who asked, and may hold for nobody else; the others are about the key. */
export const isAboutAsker = (reason: LossReason): boolean =>
  reason === 'ACCESS_DENIED' || reason === 'IDENTITY_DELETED';

/** The vault's words for things that are gone or withheld, in the words of the one enumeration. */
const synonyms: Readonly<Record<string, LossReason>> = {
  KEY_NOT_FOUND: 'KEY_VERSION_NOT_FOUND',
  VAULT_NOT_FOUND: 'VAULT_DELETED',
  // An operation that was taken from a version after the check said yes is met by the wrap or unwrap itself (KV-88): to a
  // set that is access its key's owner has taken, as the check says it.
  KEY_OPERATION_NOT_ALLOWED: 'ACCESS_DENIED',
};

/** The reason with that name; undefined for anything else. */
export const lossReasonNamed = (name: string): LossReason | undefined =>
  lossReasons.find((reason) => reason === name) ?? synonyms[name];

/**
 * The reason of a definite refusal by the vault, or of identity for a deleted one; undefined for everything that says
 * nothing about the key: no answer, throttled, a token that was not accepted.
 */
export const definiteReason = (error: unknown): LossReason | undefined =>
  error instanceof Rejection && !error.retryable() && error.code !== 'UNAUTHENTICATED'
    ? lossReasonNamed(error.reason)
    : undefined;

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
    codeOf(loss.reason),
    loss.reason,
    `${use.resource || use.set} needs key version ${use.keyVersion} of ${use.set}, which cannot be used since ${since}: ${loss.reason}`,
    {
      ...namesOf(use),
      since,
      ...(loss.traceId === '' ? {} : { trace_id: loss.traceId }),
      ...(loss.accessEpoch === undefined ? {} : { access_epoch: String(loss.accessEpoch) }),
    },
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

const codeOf = (reason: LossReason): RejectionCode =>
  reason === 'ACCESS_DENIED' ? 'PERMISSION_DENIED' : 'FAILED_PRECONDITION';
