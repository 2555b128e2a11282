import type { EventStore } from '@interlock/event-store';
import { systemRandom as random } from '@interlock/runtime';
import type { BlockStore } from './storage/block-store.ts';
import { memoryVolumeFiles, type VolumeFiles, type VolumePart } from './storage/volume-files.ts';

/** What a test decides about the volumes of a host. */
export interface VolumesInMemoryOptions {
  /** Awaited before each file is opened. */
  readonly beforeOpen?: (part: VolumePart) => Promise<void>;
  /** Maximum size of a file in bytes, whatever the size of its disk, because copies take time for holes too. */
  readonly partBytesMax?: number;
  /** Awaited before each write to a file. */
  readonly beforeWrite?: (part: VolumePart) => Promise<void>;
  /** Whether a flush of a file fails and discards the data that it was to make durable. */
  readonly flushFails?: (part: VolumePart) => boolean;
}

/** Volumes in memory. @returns the files for the test, and as the host opens them */
export const volumesInMemory = (
  options: VolumesInMemoryOptions,
): { readonly files: ReturnType<typeof memoryVolumeFiles>; readonly watched: VolumeFiles } => {
  const files = memoryVolumeFiles(random, options.partBytesMax);
  if (options.flushFails) files.failFlushes(options.flushFails);
  const writtenLater = (file: BlockStore, part: VolumePart): BlockStore => ({
    ...file,
    async write(offset, bytes) {
      await options.beforeWrite?.(part);
      return file.write(offset, bytes);
    },
  });
  const watched: VolumeFiles = {
    ...files,
    async open(volumeId, part) {
      await options.beforeOpen?.(part);
      const file = await files.open(volumeId, part);
      return file && writtenLater(file, part);
    },
    create: async (volumeId, part, sizeBytes) => writtenLater(await files.create(volumeId, part, sizeBytes), part),
  };
  return { files, watched };
};

/** A store that does not respond while it is cut off. */
export const cuttable = (store: EventStore, link: { readonly isCut: boolean }): EventStore =>
  new Proxy(store, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) =>
        link.isCut ? Promise.reject(new Error('cut off from the store')) : Reflect.apply(value, target, args);
    },
  });
