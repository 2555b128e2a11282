import { Rejection } from '@interlock/event-store';
import { RETRY_AFTER_MS, RpcFailure } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';

/** A question to a vault that got no answer, or was not asked. */
export interface Silence {
  readonly at: Instant;
  /** A status or reason, never a text from outside. */
  readonly why: string;
}

/**
 * Whether the vault, or who says who asks it, gave no answer. Anything else kept the question from being asked: the store of
 * this host is away, its lease of the volumes over, the header of the disk damaged.
 */
export const isSilence = (error: unknown): boolean =>
  error instanceof Rejection && (error.reason === 'KEY_VAULT_UNREACHABLE' || error.reason === 'THROTTLED');

/** How long the vault asked to be left alone; never so long that a lease could not be renewed in time. */
export const askedWaitMs = (error: unknown, ttlMs: number): number => {
  const cause = error instanceof Rejection ? error.cause : undefined;
  const asked = cause instanceof Rejection ? Number(cause.metadata[RETRY_AFTER_MS] ?? 0) : 0;
  return Number.isFinite(asked) ? Math.min(asked, ttlMs / 6) : 0;
};

/** In one word why there was no answer. */
export const whyOf = (error: unknown): string => {
  const cause = error instanceof Rejection && error.cause !== undefined ? error.cause : error;
  if (cause instanceof RpcFailure) return cause.code;
  return cause instanceof Rejection ? cause.reason : 'INTERNAL';
};
