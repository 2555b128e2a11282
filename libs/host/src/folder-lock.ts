import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Clock } from '@interlock/runtime';

/** How often a lock that another process holds is tried again, in milliseconds. */
const lockAgainMs = 100;

/**
 * Takes the operating system's lock on a folder for the life of this process, so that only one process of a machine has
 * what is in it. The lock ends with the process that holds it, however that ends.
 * @param patienceMs how long to wait for the process that holds the lock
 * @param onWaiting called once if another process holds the lock
 * @returns a function that releases the lock
 * @throws Error with the folder if another process keeps the lock, or if `signal` is aborted meanwhile
 */
export const lockFolder = async (
  folder: string,
  parts: {
    readonly clock: Clock;
    readonly patienceMs: number;
    readonly signal: AbortSignal;
    readonly onWaiting?: () => void;
  },
): Promise<() => void> => {
  const { clock, patienceMs, signal } = parts;
  const endMs = clock.monotonicMs() + patienceMs;
  let { onWaiting } = parts;
  for (;;) {
    if (signal.aborted) throw new Error(`stopped while another process has ${folder}`);
    const unlock = lockFile(join(folder, 'host.lock'));
    if (unlock) return unlock;
    if (clock.monotonicMs() >= endMs)
      throw new Error(`another process has ${folder}; it still did after ${patienceMs} ms`);
    onWaiting?.();
    onWaiting = undefined;
    await clock.sleep(lockAgainMs, signal);
  }
};

/**
 * Node has no call for an exclusive lock of the operating system; SQLite, which is built in, takes one with BEGIN EXCLUSIVE.
 * @returns what releases it; undefined while another process holds it
 */
const lockFile = (path: string): (() => void) | undefined => {
  const database = new DatabaseSync(path);
  try {
    // Nothing is ever written, so the journal needs no file.
    database.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    // SQLITE_BUSY; anything else is a fault of the file system.
    if (cause instanceof Error && 'errcode' in cause && cause.errcode === 5) return undefined;
    throw cause;
  }
  return () => database.close();
};
