import type { VolumeFiles } from '../storage/volume-files.ts';
import { type HeldStore, holdStore } from './held-store.ts';
import type { Ownership } from './ownership.ts';

/** Volume files that only their owner touches. */
export interface HeldFiles {
  readonly files: VolumeFiles;
  /** Releases every open file. Uses that are allowed reopen the files and continue. */
  letGo(): Promise<void>;
}

/** Checks ownership around every operation on the files of volumes. */
export const holdFiles = (files: VolumeFiles, owner: () => Pick<Ownership, 'check'>): HeldFiles => {
  const held = new Set<HeldStore>();
  const check = (): void => owner().check();
  const hold = (first: Parameters<typeof holdStore>[0], ...[volumeId, part]: Parameters<VolumeFiles['open']>) => {
    const reopen = async () => {
      const opened = await files.open(volumeId, part);
      if (opened) return opened;
      throw new Error(`the ${part} of volume ${volumeId} went away while another host could have it`);
    };
    return holdStore(first, reopen, check, held).store;
  };
  return {
    files: {
      async open(volumeId, part) {
        check();
        const opened = await files.open(volumeId, part);
        return opened && hold(opened, volumeId, part);
      },
      async create(volumeId, part, sizeBytes) {
        check();
        return hold(await files.create(volumeId, part, sizeBytes), volumeId, part);
      },
      async remove(volumeId) {
        check();
        await files.remove(volumeId);
      },
      allocatedBytes: (volumeId) => files.allocatedBytes(volumeId),
    },
    letGo: async () => {
      await Promise.all([...held].map((holding) => holding.letGo()));
    },
  };
};
