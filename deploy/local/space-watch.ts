import { copyFileSync, readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { isSpaceError } from '@interlock/runtime';
import { fullness, onePerDevice } from './disk-space.ts';

/** Largest size of a log in bytes; one earlier part of the same size is kept beside it. */
export const logBytesMax = 8 * 2 ** 20;

/** How often folders and logs are looked at, in milliseconds. */
const lookMs = 2_000;

/** Follows the space of folders. */
export interface SpaceWatch {
  stop(): void;
}

/**
 * Looks every two seconds whether folders have space, reports each change, and keeps the logs below their limit. The reports go to the
 * user of the launcher, because logs in a full folder take no line.
 * @param parts `folders`: one report for each file system
 */
export const watchSpace = (parts: {
  readonly folders: readonly string[];
  readonly logs: string;
  readonly say: (line: string) => void;
}): SpaceWatch => {
  const report = spaceReports(parts.say);
  const look = (): void => {
    for (const folder of onePerDevice(parts.folders)) report(folder, fullness(folder));
    boundLogs(parts.logs);
  };
  const timer = setInterval(() => {
    try {
      look();
    } catch (error) {
      clearInterval(timer);
      parts.say(`The space in ${parts.folders.join(' and ')} is no longer watched: ${error}`);
    }
  }, lookMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
};

/** Reports when a folder becomes full, and when it has space again. @returns receives the state of a folder (`fullness`) at each look */
export const spaceReports = (say: (line: string) => void): ((folder: string, full: string | undefined) => void) => {
  const reported = new Set<string>();
  return (folder, full) => {
    if (full !== undefined && !reported.has(folder)) {
      reported.add(folder);
      say(
        `${full}: nothing more is stored, and logs lose lines. Free some space: what ended is started again then, and the rest continues.`,
      );
    } else if (full === undefined && reported.delete(folder)) {
      say(`${folder} has space again.`);
    }
  };
};

/**
 * Moves the content of each log above its limit to `<name>.log.1`, in place of an earlier one. The processes hold the files open and
 * append, so a file is copied and emptied; lines written between the two are lost.
 */
export const boundLogs = (folder: string, bytesMax = logBytesMax): void => {
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    if (!name.endsWith('.log') || (statSync(file, { throwIfNoEntry: false })?.size ?? 0) <= bytesMax) continue;
    try {
      copyFileSync(file, `${file}.1`);
    } catch (error) {
      // Without space for a copy the log stays as it is until the next look.
      if (isSpaceError(error)) continue;
      throw error;
    }
    truncateSync(file);
  }
};
