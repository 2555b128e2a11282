import { Rejection } from '@interlock/event-store';
import type { RestError } from './rest-error.ts';
import { restErrorOf } from './translate.ts';

/** Why an operation of a service ended in failure, as the resource shows it. */
export interface ShownFailure {
  /** Reason of a key, or another stable code. */
  readonly code: string;
  readonly message: string;
  /** The set whose key is the cause; empty for another cause. */
  readonly diskEncryptionSet: string;
}

/** The same refusal as for a call that is refused at once. */
export const errorOfFailure = ({ code, message, diskEncryptionSet }: ShownFailure): RestError => {
  const metadata: Readonly<Record<string, string>> =
    diskEncryptionSet === '' ? {} : { disk_encryption_set: diskEncryptionSet };
  const error = restErrorOf(new Rejection('FAILED_PRECONDITION', code, message, metadata), 'management');
  if (error === undefined) throw new Error(`the failure ${code} has no translation`);
  return error;
};
