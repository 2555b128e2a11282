import { Rejection, type RejectionCode } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import type { AuditEntry } from './entry.ts';

/** How a request ended, as its entry shows it. */
export type Outcome = Pick<AuditEntry, 'httpStatusCode' | 'result' | 'reason'>;

export const success: Outcome = { httpStatusCode: 200, result: 'success', reason: '' };

/** HTTP status of each code, as in the audit log of the public cloud (KV-80…KV-96). */
const statusOf: Readonly<Record<RejectionCode, number>> = {
  INVALID_ARGUMENT: 400,
  OUT_OF_RANGE: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  FAILED_PRECONDITION: 409,
  ABORTED: 409,
  RESOURCE_EXHAUSTED: 429,
  UNAVAILABLE: 503,
  UNIMPLEMENTED: 501,
  DATA_LOSS: 500,
};

/** Failed preconditions that the public cloud reports as forbidden (KV-87…KV-89, KV-94). */
const forbidden: ReadonlySet<string> = new Set([
  'KEY_DISABLED',
  'KEY_NOT_YET_VALID',
  'KEY_EXPIRED',
  'KEY_OPERATION_NOT_ALLOWED',
  'PURGE_PROTECTED',
]);

/** The outcome of a request that failed with this error. */
export const outcomeOf = (error: unknown): Outcome => {
  if (error instanceof Rejection) {
    const isFault = error.code === 'UNAVAILABLE' || error.code === 'DATA_LOSS';
    const httpStatusCode = forbidden.has(error.reason) ? 403 : statusOf[error.code];
    return { httpStatusCode, result: isFault ? 'failed' : 'refused', reason: error.reason };
  }
  if (error instanceof RpcFailure) {
    return { httpStatusCode: 503, result: 'failed', reason: 'DEPENDENCY_UNAVAILABLE' };
  }
  return { httpStatusCode: 500, result: 'failed', reason: 'INTERNAL' };
};
