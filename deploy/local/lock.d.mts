/** The holder of a lock file. `startedAt` distinguishes two processes that had the same id one after the other. */
export interface Holder {
  readonly pid: number;
  readonly startedAt: string;
}

/** A lock that was taken, or the process that holds it. */
export type LockAttempt =
  | { readonly taken: true; release(): void }
  | { readonly taken: false; readonly holder: Holder };

/** Tries once. A lock whose process has ended counts as free, and so does one in a copy of the folder in which it was taken. @throws the file system's error if `file` cannot be written */
export function tryLock(file: string): LockAttempt;

/** When process `pid` was started, as an opaque text; undefined if the process does not exist. */
export function processStart(pid: number): string | undefined;
