import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';

/** Whether a failed call decides nothing and can be retried: no response, a busy service, or a refused token of ours. */
export const isOutage = (error: unknown): boolean =>
  error instanceof RpcFailure ||
  (error instanceof Rejection && (error.retryable() || error.code === 'UNAUTHENTICATED'));
