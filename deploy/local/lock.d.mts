/** Who holds a lock file: `startedAt` tells two processes apart that were given the same id one after the other. */
export interface Holder {
  readonly pid: number;
  readonly startedAt: string;
}

/** A taken lock, or the process that has it. */
export type LockAttempt =
  | { readonly taken: true; release(): void }
  | { readonly taken: false; readonly holder: Holder };

/** Tries once. A lock whose process has ended counts as free. @throws the file system's error when `file` cannot be written. */
export function tryLock(file: string): LockAttempt;

/** When process `pid` was started, in an opaque text; undefined when there is no such process. */
export function processStart(pid: number): string | undefined;
