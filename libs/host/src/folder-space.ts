import { statfs } from 'node:fs/promises';
import type { Clock, Logger, Scope } from '@interlock/runtime';

/** With less than this, in bytes, a folder counts as full: a file system may refuse what takes its last blocks. */
const fullBytes = 2 ** 20;

/** How often the space is read, in milliseconds. */
const lookMs = 5_000;

/** The file system of a folder. */
export interface FolderSpace {
  readonly capacityBytes: number;
  /** What a process without privileges can still write. */
  readonly freeBytes: number;
}

const spaceOf = async (folder: string): Promise<FolderSpace> => {
  const { blocks, bavail, bsize } = await statfs(folder);
  return { capacityBytes: blocks * bsize, freeBytes: bavail * bsize };
};

/** Logs when no space is left in a folder, and when there is space again, until the process stops. */
export const watchFolderSpace = async (
  parts: {
    readonly folder: string;
    readonly clock: Pick<Clock, 'sleep'>;
    readonly log: Logger;
    readonly scope: Pick<Scope, 'signal'>;
    /** Called with each reading. */
    readonly onRead?: (space: FolderSpace) => void;
  },
  readSpace: (folder: string) => Promise<FolderSpace> = spaceOf,
): Promise<void> => {
  const { folder, clock, log, scope, onRead } = parts;
  let wasFull = false;
  try {
    while (!scope.signal.aborted) {
      const space = await readSpace(folder);
      onRead?.(space);
      const { freeBytes } = space;
      const isFull = freeBytes < fullBytes;
      const facts = { folder, freeBytes };
      if (isFull && !wasFull) log.error('no space left in a folder: free some, or enlarge its volume', facts);
      if (!isFull && wasFull) log.info('a folder has space again', facts);
      wasFull = isFull;
      await clock.sleep(lookMs, scope.signal);
    }
  } catch (error) {
    log.warn('the space of a folder cannot be read and is no longer reported', { folder, error });
  }
};
