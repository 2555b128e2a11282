import { Rejection } from '@interlock/event-store';
import { RETRY_AFTER_MS, RpcFailure } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';

/** A call to a vault that had no reply, or could not be sent. */
export interface UnansweredCall {
  readonly at: Instant;
  /** A status or reason, never a text from outside. */
  readonly why: string;
}

/**
 * Whether the vault, or identity for its token, did not reply. After any other failure the call was not sent: the store of this
 * host is unreachable, its lock of the volumes lost, or the header of the disk damaged.
 */
export const isUnanswered = (error: unknown): boolean =>
  error instanceof Rejection && (error.reason === 'KEY_VAULT_UNREACHABLE' || error.reason === 'THROTTLED');

/** The wait that the vault requested, in milliseconds; never so long that a lease could not be renewed in time. */
export const requestedWaitMs = (error: unknown, ttlMs: number): number => {
  const cause = error instanceof Rejection ? error.cause : undefined;
  const asked = cause instanceof Rejection ? Number(cause.metadata[RETRY_AFTER_MS] ?? 0) : 0;
  return Number.isFinite(asked) ? Math.min(asked, ttlMs / 6) : 0;
};

/** Why there was no reply: a status or a reason. */
export const whyOf = (error: unknown): string => {
  const cause = error instanceof Rejection && error.cause !== undefined ? error.cause : error;
  if (cause instanceof RpcFailure) return cause.code;
  return cause instanceof Rejection ? cause.reason : 'INTERNAL';
};
