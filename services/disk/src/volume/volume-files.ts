import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '@interlock/runtime';
import type { BlockStore } from '../block-store.ts';
import { openFileBlockStore } from '../file-block-store.ts';
import { createPlatter, type Platter, type PlatterImage } from '../memory-block-store.ts';

/** The parts a volume consists of: its sectors, its header, and for a disk encrypted twice the key of the lower layer. */
export type VolumePart = 'data' | 'header' | 'layer';

const parts: readonly VolumePart[] = ['data', 'header', 'layer'];

/** Where the parts of volumes lie. A volume is named by a UUID. */
export interface VolumeFiles {
  /** Opens a part that exists; undefined for one that does not. @throws Rejection ABORTED DISK_BUSY */
  open(volumeId: string, part: VolumePart): Promise<BlockStore | undefined>;
  /** Makes a part and opens it; one left by an earlier attempt is opened as it is. */
  create(volumeId: string, part: VolumePart, sizeBytes: number): Promise<BlockStore>;
  /** Removes every part, whether there or not. */
  remove(volumeId: string): Promise<void>;
  /** Bytes of storage the data takes up; 0 when it is not there. */
  allocatedBytes(volumeId: string): Promise<number>;
}

/** Parts as sparse files `<volume>.<part>` in a folder that exists. */
export const folderVolumeFiles = (folder: string): VolumeFiles => {
  const pathOf = (volumeId: string, part: VolumePart): string => join(folder, `${volumeId}.${part}`);
  const statOf = async (path: string) => {
    try {
      return await stat(path);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  };
  return {
    async open(volumeId, part) {
      const path = pathOf(volumeId, part);
      const found = await statOf(path);
      return found && openFileBlockStore(path, found.size);
    },
    create: (volumeId, part, sizeBytes) => openFileBlockStore(pathOf(volumeId, part), sizeBytes),
    async remove(volumeId) {
      for (const path of parts.map((part) => pathOf(volumeId, part))) {
        await rm(path, { force: true });
        await rm(`${path}.lock`, { force: true });
      }
    },
    async allocatedBytes(volumeId) {
      // The unit of `blocks` is 512 bytes whatever the file system's own is (POSIX).
      return ((await statOf(pathOf(volumeId, 'data')))?.blocks ?? 0) * 512;
    },
  };
};

/** Volumes nobody has open, for others to begin with: by the name of the part. */
export type VolumesImage = ReadonlyMap<string, PlatterImage>;

/** Volumes in memory, with what only a verdict from outside may do. */
export interface MemoryVolumeFiles extends VolumeFiles {
  /** Cuts the power of every part. */
  crash(): void;
  volumeIds(): readonly string[];
  /** A sector of a part as it is now, without opening it; undefined for a hole and for a part that is not there. */
  peek(volumeId: string, part: VolumePart, sector: number): Uint8Array | undefined;
  /** Everything that lies on them now. */
  image(): VolumesImage;
}

/**
 * Parts in memory, for tests and the simulation: they outlive the service that opened them.
 * @param partBytesMax what a part is cut off at: copying a whole disk costs time for its holes too
 * @param image what there is at first
 */
export const memoryVolumeFiles = (
  random: Random,
  partBytesMax = Number.POSITIVE_INFINITY,
  image: VolumesImage = new Map(),
): MemoryVolumeFiles => {
  const platters = new Map<string, Platter>(
    [...image].map(([key, { size, sectors }]) => [key, createPlatter(key, size, random, sectors)]),
  );
  return {
    async open(volumeId, part) {
      return platters.get(`${volumeId}.${part}`)?.open();
    },
    async create(volumeId, part, sizeBytes) {
      const key = `${volumeId}.${part}`;
      const platter = platters.get(key) ?? createPlatter(key, Math.min(sizeBytes, partBytesMax), random);
      platters.set(key, platter);
      return platter.open();
    },
    async remove(volumeId) {
      for (const part of parts) platters.delete(`${volumeId}.${part}`);
    },
    async allocatedBytes() {
      return 0;
    },
    volumeIds: () => [...new Set([...platters.keys()].map((key) => key.slice(0, key.indexOf('.'))))].sort(),
    image: () => new Map([...platters].map(([key, platter]) => [key, platter.image()])),
    peek: (volumeId, part, sector) => platters.get(`${volumeId}.${part}`)?.peek(sector),
    crash: () => {
      for (const platter of platters.values()) platter.crash();
    },
  };
};
