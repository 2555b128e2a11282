import { Rejection } from '@interlock/event-store';
import type { CallOutcome } from '@interlock/lab/judge/findings';
import type { Refusal } from '@interlock/lab/judge/invariants/io';
import { RpcFailure } from '@interlock/rpc';

/** The refusal in an error; undefined if a service did not decide it. */
export const refusalOf = (error: unknown): Refusal | undefined => {
  if (!(error instanceof Rejection)) return undefined;
  const { reason, message, metadata } = error;
  return { reason, message, set: metadata.disk_encryption_set, keyVersion: metadata.key_version };
};

/** The outcome of an error for the caller. @throws an error that no service sent: a mistake of the simulation itself */
export const outcomeOf = (error: unknown): CallOutcome => {
  if (error instanceof Rejection) return { kind: 'refused', code: error.code, reason: error.reason };
  if (error instanceof RpcFailure) return { kind: 'unknown', code: error.code };
  throw error;
};
