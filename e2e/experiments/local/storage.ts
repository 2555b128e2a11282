import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Storage of a disk host that can be filled. */
export interface LimitedStorage {
  fill(): void;
  /** Frees the space that `fill` took. */
  free(): void;
  close(): void;
}

/** Room for the volumes of an estate: data files are sparse, and a guest writes to 256 KiB of a disk. */
const roomMib = 256;
const pieceBytes = 1024 ** 2;
const fillerName = 'experiment-filler';
/** Names the mount in the list of the system. */
const source = 'interlock-experiment';

/**
 * Mounts memory of a limited size as the folder of the volumes.
 * @throws Error if that is not allowed here: it needs root
 */
export const mountStorage = (folder: string): LimitedStorage => {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${roomMib}m,mode=700`, source, folder], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  } catch (error) {
    throw new Error(`fill-storage needs to mount a folder of limited size, as root: ${String(Object(error).stderr)}`, {
      cause: error,
    });
  }
  const filler = join(folder, fillerName);
  return {
    fill: () => {
      const file = openSync(filler, 'w', 0o600);
      try {
        fillUp(file);
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(filler, { force: true }),
    close: () => unmountStorage(folder),
  };
};

/** Unmounts what a run mounted there, also after its runner was killed; does nothing if nothing is mounted. */
export const unmountStorage = (folder: string): void => {
  const isMounted = readFileSync('/proc/mounts', 'utf8').includes(`${source} ${folder} `);
  // Lazily: a process that still has a file open keeps it until the process ends.
  if (isMounted) execFileSync('umount', ['--lazy', folder]);
};

const fillUp = (file: number): void => {
  for (let bytes = pieceBytes; bytes >= 4_096; bytes /= 2) {
    const piece = Buffer.alloc(bytes);
    try {
      for (;;) writeSync(file, piece);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    }
  }
};
