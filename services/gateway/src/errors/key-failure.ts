import { Rejection } from '@interlock/event-store';
import type { RestError } from './rest-error.ts';
import { restErrorOf } from './translate.ts';

/** Why an operation of a service ended in failure, as the resource shows it. */
export interface ShownFailure {
  /** Reason of a key, or another stable code. */
  readonly code: string;
  readonly message: string;
  /** The set whose key is in the way; empty if the cause is another one. */
  readonly diskEncryptionSet: string;
}

/** The same refusal as a call that had been refused at once would get. */
export const errorOfFailure = ({ code, message, diskEncryptionSet }: ShownFailure): RestError => {
  const metadata: Readonly<Record<string, string>> =
    diskEncryptionSet === '' ? {} : { disk_encryption_set: diskEncryptionSet };
  const error = restErrorOf(new Rejection('FAILED_PRECONDITION', code, message, metadata), 'management');
  if (error === undefined) throw new Error(`the failure ${code} has no translation`);
  return error;
};
