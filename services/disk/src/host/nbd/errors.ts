import { Rejection } from '@interlock/event-store/rejection';
import { type Errno, errno } from './wire.ts';

/** Reasons after which the connection ends: another open of the disk, or another host, has replaced it. */
const replaced: ReadonlySet<string> = new Set(['ATTACH_EPOCH_OUTDATED', 'DISK_HOST_REPLACED']);

/** Error numbers of refusals that are not EIO. A lost key is never ENOSPC: hypervisors pause on that alone. */
const numbers: Readonly<Record<string, Errno>> = {
  ACCESS_IS_READ_ONLY: errno.EPERM,
  BEYOND_END_OF_DISK: errno.EINVAL,
  OUT_OF_RANGE: errno.EINVAL,
  OFFSET_INVALID: errno.EINVAL,
  STORAGE_FULL: errno.ENOSPC,
  SIZE_NOT_STORABLE: errno.ENOSPC,
};

/** Whether the connection must end after this refusal. */
export const endsConnection = (error: unknown): boolean => error instanceof Rejection && replaced.has(error.reason);

/** The error number that a client receives. */
export const errnoOf = (error: unknown): Errno => {
  if (!(error instanceof Rejection)) return errno.EIO;
  return endsConnection(error) ? errno.ESHUTDOWN : (numbers[error.reason] ?? errno.EIO);
};

/** Reports a defect to the log of the service. */
export type LogError = (message: string, fields: { readonly [field: string]: string }) => void;
