import { statfs } from 'node:fs/promises';
import type { Clock, Logger, Scope } from '@interlock/runtime';

/** With less than this, in bytes, a folder counts as full: a file system may refuse what takes its last blocks. */
const fullBytes = 2 ** 20;

/** How often the space is read, in milliseconds. */
const lookMs = 5_000;

/** Free bytes of the file system of a folder. */
const freeBytesOf = async (folder: string): Promise<number> => {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
};

/** Logs when no space is left in a folder, and when there is space again, until the process stops. */
export const watchFolderSpace = async (
  parts: {
    readonly folder: string;
    readonly clock: Pick<Clock, 'sleep'>;
    readonly log: Logger;
    readonly scope: Pick<Scope, 'signal'>;
  },
  freeBytes: (folder: string) => Promise<number> = freeBytesOf,
): Promise<void> => {
  const { folder, clock, log, scope } = parts;
  let wasFull = false;
  try {
    while (!scope.signal.aborted) {
      const free = await freeBytes(folder);
      const isFull = free < fullBytes;
      const facts = { folder, freeBytes: free };
      if (isFull && !wasFull) log.error('no space left in a folder: free some, or enlarge its volume', facts);
      if (!isFull && wasFull) log.info('a folder has space again', facts);
      wasFull = isFull;
      await clock.sleep(lookMs, scope.signal);
    }
  } catch (error) {
    log.warn('the space of a folder cannot be read and is no longer reported', { folder, error });
  }
};
