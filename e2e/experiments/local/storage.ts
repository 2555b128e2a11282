import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { experimentMount, unmountBelow } from '@interlock/local/data-folder.ts';

/** A file system of limited size that can be filled. */
export interface LimitedStorage {
  /** In pieces, so that other steps are on time meanwhile: on a busy machine it takes seconds. */
  fill(): Promise<void>;
  /** Frees the space that `fill` took. */
  free(): void;
  close(): void;
}

/** Room for the volumes of an estate, in MiB: data files are sparse, and a guest writes to 256 KiB of a disk. */
export const volumesMib = 256;

/** Room for a whole cloud with the settings of `smallCloud`, in MiB: 420 are needed for its start, and volumes and journals come on top. */
export const cloudMib = 640;

/** Settings of a cloud that fits into `cloudMib`. */
export const smallCloud = {
  settings: { NATS_STREAM_BYTES_MAX: String(4 * 1024 ** 2) },
  postgresSettings: { max_wal_size: '64MB' },
} as const;

const pieceBytes = 1024 ** 2;
const fillerName = 'experiment-filler';

/** Why no folder of limited size can be mounted here; undefined if one can. */
export const mountRefusal = (): string | undefined => {
  if (process.getuid?.() !== 0) return 'it needs root';
  const folder = mkdtempSync(join(tmpdir(), 'interlock-mount-'));
  try {
    mountStorage(folder, 1).close();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

/**
 * Mounts memory of a limited size as a folder.
 * @throws Error if that is not allowed here: it needs root
 */
export const mountStorage = (folder: string, roomMib: number): LimitedStorage => {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${roomMib}m,mode=700`, experimentMount, folder], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  } catch (error) {
    throw new Error(`fill-storage needs to mount a folder of limited size, as root: ${String(Object(error).stderr)}`, {
      cause: error,
    });
  }
  const filler = join(folder, fillerName);
  return {
    fill: async () => {
      const file = await open(filler, 'w', 0o600);
      try {
        await fillUp(file);
      } finally {
        await file.close();
      }
    },
    free: () => rmSync(filler, { force: true }),
    close: () => unmountBelow(folder),
  };
};

const fillUp = async (file: FileHandle): Promise<void> => {
  for (let bytes = pieceBytes; bytes >= 4_096; bytes /= 2) {
    const piece = Buffer.alloc(bytes);
    try {
      for (;;) await file.write(piece);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    }
  }
};
