import { readdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Random } from '@interlock/runtime';
import { type BlockStore, checkGrowth, diskBusy } from './block-store.ts';
import { largeFileStore, smallFileStore } from './file-block-store.ts';
import { openFileThreads } from './file-threads.ts';
import { createPlatter, type Platter, type PlatterImage } from './memory-block-store.ts';

/** The parts a volume consists of: its sectors, its header, and for a disk encrypted twice the key of the lower layer. */
export type VolumePart = 'data' | 'header' | 'layer';

const parts: readonly VolumePart[] = ['data', 'header', 'layer'];

/** Where the parts of volumes are stored. The name of a volume is a UUID. */
export interface VolumeFiles {
  /** Opens a part that exists; undefined for one that does not. @throws Rejection ABORTED DISK_BUSY */
  open(volumeId: string, part: VolumePart): Promise<BlockStore | undefined>;
  /** Creates a part and opens it; one left by an earlier attempt is opened as it is. */
  create(volumeId: string, part: VolumePart, sizeBytes: number): Promise<BlockStore>;
  /** Removes every part that exists. */
  remove(volumeId: string): Promise<void>;
  /** Bytes of storage the data takes up; 0 if it does not exist. */
  allocatedBytes(volumeId: string): Promise<number>;
}

/** Volumes in a folder, and the threads that work on them. */
export interface FolderVolumeFiles extends VolumeFiles {
  /** The file of a volume's sectors, for the data thread of NBD. */
  pathOfData(volumeId: string): string;
  /** Ends the threads. Call it when every part is closed. */
  close(): Promise<void>;
}

/**
 * Parts as sparse files `<volume>.<part>` in a folder that exists and that no other process serves: the folder is locked once
 * (`lockFolder`), not each file. Within the process a part is open once.
 */
export const folderVolumeFiles = (folder: string): FolderVolumeFiles => {
  const threads = openFileThreads();
  const inUse = new Set<string>();
  const root = resolve(folder);
  const pathOf = (volumeId: string, part: VolumePart): string => `${root}/${volumeId}.${part}`;

  const onClosed = (path: string): void => void inUse.delete(path);

  /** @param open opens the file; undefined if it does not exist */
  const alone = async (
    path: string,
    open: (file: Parameters<typeof smallFileStore>[0]) => Promise<BlockStore | undefined>,
  ): Promise<BlockStore | undefined> => {
    if (inUse.has(path)) throw diskBusy(path);
    inUse.add(path);
    let store: BlockStore | undefined;
    try {
      store = await open({ path, threads, onClosed });
    } finally {
      if (!store) onClosed(path);
    }
    return store;
  };

  return {
    open: (volumeId, part) =>
      alone(pathOf(volumeId, part), async (file) => {
        if (part === 'data') {
          const opened = await threads.open(file.path);
          return opened && largeFileStore({ ...file, ...opened });
        }
        const content = await threads.load(file.path);
        return content && smallFileStore(file, content.length, content);
      }),
    async create(volumeId, part, sizeBytes) {
      checkGrowth(sizeBytes, 0);
      const made = await alone(pathOf(volumeId, part), async (file) => {
        const opened = await threads.create(file.path, sizeBytes);
        if (part === 'data') return largeFileStore({ ...file, ...opened });
        await threads.close(opened.fd);
        return smallFileStore(file, opened.size, undefined);
      });
      if (made) return made;
      throw new Error(`the ${part} of volume ${volumeId} was made and is not there`);
    },
    async remove(volumeId) {
      for (const part of parts) await rm(pathOf(volumeId, part), { force: true });
    },
    async allocatedBytes(volumeId) {
      try {
        // The unit of `blocks` is 512 bytes whatever the file system's own is (POSIX).
        return (await stat(pathOf(volumeId, 'data'))).blocks * 512;
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0;
        throw error;
      }
    },
    pathOfData: (volumeId) => pathOf(volumeId, 'data'),
    close: () => threads.stop(),
  };
};

/** @returns the description of a file that needs the key of the platform; undefined if there is no such file */
export const findSealedByPlatform = async (folder: string): Promise<string | undefined> => {
  const names = await readdir(folder);
  const layer = names.find((name) => name.endsWith('.layer'));
  if (layer !== undefined) return `the key in ${join(folder, layer)}`;
  // Whatever key wraps its DEK: under another master key no header would be authentic.
  const header = names.find((name) => name.endsWith('.header'));
  return header && `the header ${join(folder, header)}`;
};

/** Closed volumes to start from: each part with its content. */
export type VolumesImage = readonly (PlatterImage & { readonly volumeId: string; readonly part: VolumePart })[];

/** Volumes in memory, with operations for tests and the simulation only. */
export interface MemoryVolumeFiles extends VolumeFiles {
  /** Cuts the power of every part. */
  crash(): void;
  /** @param fails whether a flush of a part fails, from now on */
  failFlushes(fails: (part: VolumePart) => boolean): void;
  volumeIds(): readonly string[];
  /** A sector of a part as it is now, without opening it; undefined for a hole and for a missing part. */
  peek(volumeId: string, part: VolumePart, sector: number): Uint8Array | undefined;
  /** Replaces a sector durably, also while the part is open. @throws Error for a part that does not exist */
  poke(volumeId: string, part: VolumePart, sector: number, content: Uint8Array | undefined): void;
  /** Their content now. */
  image(): VolumesImage;
}

/**
 * Parts in memory, for tests and the simulation: they outlive the service that opened them.
 * @param partBytesMax maximum size of a part: copying a whole disk costs time for its holes too
 * @param image the initial content
 */
export const memoryVolumeFiles = (
  random: Random,
  partBytesMax = Number.POSITIVE_INFINITY,
  image: VolumesImage = [],
): MemoryVolumeFiles => {
  /** By volume and by part: the simulation reads every header at every step. */
  const platters = new Map<string, Map<VolumePart, Platter>>();
  const nameOf = (volumeId: string, part: VolumePart): string => `${volumeId}.${part}`;
  const platterOf = (volumeId: string, part: VolumePart): Platter | undefined => platters.get(volumeId)?.get(part);
  const put = (volumeId: string, part: VolumePart, platter: Platter): Platter => {
    const ofVolume = platters.get(volumeId) ?? new Map<VolumePart, Platter>();
    platters.set(volumeId, ofVolume.set(part, platter));
    return platter;
  };
  let flushFails = (_part: VolumePart): boolean => false;
  const platterFor = (volumeId: string, part: VolumePart, size: number, sectors?: PlatterImage['sectors']): Platter =>
    createPlatter(nameOf(volumeId, part), size, random, sectors, () => flushFails(part));
  for (const { volumeId, part, size, sectors } of image) {
    put(volumeId, part, platterFor(volumeId, part, size, sectors));
  }
  return {
    async open(volumeId, part) {
      return platterOf(volumeId, part)?.open();
    },
    async create(volumeId, part, sizeBytes) {
      const size = Math.min(sizeBytes, partBytesMax);
      const platter = platterOf(volumeId, part) ?? put(volumeId, part, platterFor(volumeId, part, size));
      return platter.open();
    },
    async remove(volumeId) {
      platters.delete(volumeId);
    },
    async allocatedBytes() {
      return 0;
    },
    volumeIds: () => [...platters.keys()].sort(),
    image: () =>
      [...platters].flatMap(([volumeId, ofVolume]) =>
        [...ofVolume].map(([part, platter]) => ({ volumeId, part, ...platter.image() })),
      ),
    peek: (volumeId, part, sector) => platterOf(volumeId, part)?.peek(sector),
    poke(volumeId, part, sector, content) {
      const platter = platterOf(volumeId, part);
      if (!platter) throw new Error(`${nameOf(volumeId, part)} is not there`);
      platter.poke(sector, content);
    },
    failFlushes: (fails) => {
      flushFails = fails;
    },
    crash: () => {
      for (const ofVolume of platters.values()) for (const platter of ofVolume.values()) platter.crash();
    },
  };
};
