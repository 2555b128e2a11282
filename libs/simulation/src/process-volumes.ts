import type { SeededRandom, VirtualClock } from '@interlock/runtime';
import { type BlockStore, writesDurably } from '../../../services/disk/src/block-store.ts';
import type { VolumeFiles } from '../../../services/disk/src/volume/volume-files.ts';
import type { CopyPace } from './copy-pace.ts';
import type { VolumeFaults } from './fault-rates.ts';
import type { Gate } from './gate.ts';

/** Storage as one process of the disk service sees it: slow at times, slow for some copies, and of no use once the process is gone. */
export const processVolumes = (
  inner: VolumeFiles,
  link: {
    readonly clock: VirtualClock;
    readonly random: SeededRandom;
    readonly faults: VolumeFaults;
    readonly gate: Gate;
    readonly copies: Pick<CopyPace, 'step'>;
  },
): VolumeFiles => {
  const { clock, random, faults, gate, copies } = link;
  /** Late before and late after: between the check of a lease and the bytes, and between the bytes and their answer. */
  const slowly = <Result>(work: () => Promise<Result>): Promise<Result> => {
    if (!random.chance(faults.delay)) return gate.isOpen() ? work() : gate.through(work());
    const delayed = async (): Promise<Result> => {
      await clock.sleep(random.fraction() * faults.delayMs);
      const result = await work();
      await clock.sleep(random.fraction() * faults.delayMs);
      return result;
    };
    return gate.through(delayed());
  };
  /** As long as a copy takes, where it is one that is made. */
  const paced = <Result>(volumeId: string, work: () => Promise<Result>): Promise<Result> => {
    const step = copies.step(volumeId);
    return step === undefined ? slowly(work) : gate.through(step.then(() => slowly(work)));
  };
  const storeOver = (store: BlockStore, volumeId: string): BlockStore => {
    const steps: Pick<BlockStore, 'read' | 'write' | 'flush'> = {
      read: (offset, into) => slowly(() => store.read(offset, into)),
      write: (offset, bytes) => paced(volumeId, () => store.write(offset, bytes)),
      flush: () => paced(volumeId, () => store.flush()),
    };
    return {
      ...steps,
      size: () => store.size(),
      // Each step may be the last one of the process.
      writeDurably: writesDurably(steps),
      grow: (size) => slowly(() => store.grow(size)),
      allocatedBytes: () => gate.through(store.allocatedBytes()),
      copyTo: (target, check) => slowly(() => store.copyTo(target, check)),
      close: () => gate.through(store.close()),
    };
  };
  return {
    open: async (volumeId, part) => {
      const store = await gate.through(inner.open(volumeId, part));
      if (!store) return undefined;
      return storeOver(store, part === 'data' ? volumeId : '');
    },
    create: async (volumeId, part, sizeBytes) => {
      const store = await gate.through(inner.create(volumeId, part, sizeBytes));
      return storeOver(store, part === 'data' ? volumeId : '');
    },
    remove: (volumeId) => slowly(() => inner.remove(volumeId)),
    allocatedBytes: (volumeId) => gate.through(inner.allocatedBytes(volumeId)),
  };
};
