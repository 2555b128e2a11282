import type { SeededRandom, VirtualClock } from '@interlock/runtime';
import { type BlockStore, storageRefusal, writesDurably } from '../../../services/disk/src/host/storage/block-store.ts';
import { sectorSize } from '../../../services/disk/src/host/storage/sector.ts';
import type {
  MemoryVolumeFiles,
  VolumeFiles,
  VolumePart,
} from '../../../services/disk/src/host/volume/volume-files.ts';
import type { CopyPace } from '../faults/copy-pace.ts';
import type { VolumeFaults } from '../faults/fault-rates.ts';
import type { Gate } from '../faults/gate.ts';
import type { StorageRecord } from '../faults/storage-record.ts';

/**
 * Storage as one process of the disk service sees it: slow at times, full or failing at times, slow for some copies, and of no use
 * once the process is gone.
 */
export const processVolumes = (
  inner: VolumeFiles & Pick<MemoryVolumeFiles, 'failFlushes'>,
  link: {
    readonly clock: VirtualClock;
    readonly random: SeededRandom;
    readonly faults: VolumeFaults;
    readonly gate: Gate;
    readonly copies: Pick<CopyPace, 'step'>;
    readonly record: Pick<StorageRecord, 'note'>;
  },
): VolumeFiles => {
  const { clock, random, faults, gate, copies, record } = link;
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

  /** What storage answers a step with that it does not do; undefined where it does it. `flush`, `remove`: needs no room. */
  const refusal = (step: 'make' | 'write' | 'grow' | 'flush' | 'remove', volumeId: string): Error | undefined => {
    const needsRoom = step !== 'flush' && step !== 'remove';
    if (needsRoom && random.chance(faults.full)) {
      record.note('full', volumeId);
      return storageRefusal(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
    }
    if (!random.chance(faults.fail)) return undefined;
    record.note('failed', volumeId);
    return Object.assign(new Error('input/output error'), { code: 'EIO' });
  };
  const write = async (store: BlockStore, volumeId: string, offset: number, bytes: Uint8Array): Promise<void> => {
    const refused = refusal('write', volumeId);
    if (!refused) return store.write(offset, bytes);
    const written = sectorSize * random.int(bytes.length / sectorSize);
    if (written > 0) await store.write(offset, bytes.subarray(0, written));
    throw refused;
  };
  const flush = async (store: BlockStore, volumeId: string, part: VolumePart): Promise<void> => {
    const refused = refusal('flush', volumeId);
    if (!refused) return store.flush();
    if (part === 'data') record.note('flush', volumeId);
    // Whether it fails is decided as it is asked for.
    inner.failFlushes(() => true);
    const failed = store.flush();
    inner.failFlushes(() => false);
    await failed;
    throw refused;
  };

  const storeOver = (store: BlockStore, volumeId: string, part: VolumePart): BlockStore => {
    const copied = part === 'data' ? volumeId : '';
    const steps: Pick<BlockStore, 'read' | 'write' | 'flush'> = {
      read: (offset, into) => slowly(() => store.read(offset, into)),
      write: (offset, bytes) => paced(copied, () => write(store, volumeId, offset, bytes)),
      flush: () => paced(copied, () => flush(store, volumeId, part)),
    };
    // Each step may be the last one of the process.
    const inSteps = writesDurably(steps);
    return {
      ...steps,
      size: () => store.size(),
      async writeDurably(offset, bytes) {
        try {
          return await inSteps(offset, bytes);
        } catch (error) {
          if (part === 'header') record.note('header', volumeId);
          throw error;
        }
      },
      grow: (size) =>
        slowly(async () => {
          const refused = refusal('grow', volumeId);
          if (refused) throw refused;
          await store.grow(size);
        }),
      allocatedBytes: () => gate.through(store.allocatedBytes()),
      copyTo: (target, check) => slowly(() => store.copyTo(target, check)),
      close: () => gate.through(store.close()),
    };
  };
  return {
    open: async (volumeId, part) => {
      // What was under way when the process was killed must not open what its successor needs: nobody would close it.
      if (gate.isCondemned()) return gone();
      const store = await gate.through(inner.open(volumeId, part));
      return store && storeOver(store, volumeId, part);
    },
    create: async (volumeId, part, sizeBytes) => {
      if (gate.isCondemned()) return gone();
      const refused = refusal('make', volumeId);
      // It may be there all the same, by its name alone or whole.
      if (refused && random.chance(0.5)) throw refused;
      const store = await gate.through(inner.create(volumeId, part, sizeBytes));
      if (!refused) return storeOver(store, volumeId, part);
      await gate.through(store.close());
      throw refused;
    },
    remove: (volumeId) =>
      slowly(async () => {
        const refused = refusal('remove', volumeId);
        if (refused) throw refused;
        await inner.remove(volumeId);
      }),
    allocatedBytes: (volumeId) => gate.through(inner.allocatedBytes(volumeId)),
  };
};

/** What a process that is gone waits for. */
const gone = (): Promise<never> => new Promise(() => undefined);
