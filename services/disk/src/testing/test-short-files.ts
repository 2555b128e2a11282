import type { BlockStore } from '../host/storage/block-store.ts';
import { pieceSize } from '../host/storage/sector.ts';
import type { VolumeFiles } from '../host/storage/volume-files.ts';

/** Files of at most two pieces, whatever the size of a disk, because copies take time for holes too. */
export const shortened = (files: VolumeFiles): VolumeFiles => {
  const short = (store: BlockStore): BlockStore => {
    const grow = store.grow.bind(store);
    return Object.assign(store, { grow: (size: number) => grow(shortSize(size)) });
  };
  return {
    ...files,
    async open(volumeId, part) {
      const store = await files.open(volumeId, part);
      return store && short(store);
    },
    create: async (volumeId, part, size) => short(await files.create(volumeId, part, shortSize(size))),
  };
};

const shortSize = (size: number): number => Math.min(size, 2 * pieceSize);
