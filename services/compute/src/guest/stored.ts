import { renameSync, writeFileSync } from 'node:fs';
import type { Clock } from '@interlock/runtime';
import { isSpaceError } from '@interlock/runtime/space-error';

/** Time between two attempts to store a file, in milliseconds. */
const retryMs = 200;

/** Puts a file in place as a whole, for its owner only. @returns false if storage has no space: an earlier file stays */
export const stored = (path: string, text: string): boolean => {
  try {
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
    return true;
  } catch (error) {
    if (isSpaceError(error)) return false;
    throw error;
  }
};

/** The same, and waits until storage has space. */
export const storeWhenPossible = async (path: string, text: string, clock: Pick<Clock, 'sleep'>): Promise<void> => {
  while (!stored(path, text)) await clock.sleep(retryMs);
};
