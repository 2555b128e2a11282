/** Codes of the system for a full file system and a full quota, and Postgres's SQLSTATE disk_full. */
const fullCodes: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', '53100']);

/** Whether an error, or one of its causes, says that there is no space left, on this machine or in a Postgres server. */
export const isSpaceError = (error: unknown): error is Error =>
  error instanceof Error &&
  (('code' in error && fullCodes.has(error.code)) ||
    (error instanceof AggregateError && error.errors.some(isSpaceError)) ||
    isSpaceError(error.cause));
