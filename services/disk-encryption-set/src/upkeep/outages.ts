import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';

/**
 * Whether a failed call says nothing about what was asked, so that it is worth asking again: nobody answered, or the
 * one who did was busy, or did not take our own token.
 */
export const isOutage = (error: unknown): boolean =>
  error instanceof RpcFailure ||
  (error instanceof Rejection && (error.retryable() || error.code === 'UNAUTHENTICATED'));
