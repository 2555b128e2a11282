import type { SeededRandom, VirtualClock } from '@interlock/runtime';
import { type BlockStore, storageRefusal, writesDurably } from '../../../services/disk/src/host/storage/block-store.ts';
import { sectorSize } from '../../../services/disk/src/host/storage/sector.ts';
import type {
  MemoryVolumeFiles,
  VolumeFiles,
  VolumePart,
} from '../../../services/disk/src/host/storage/volume-files.ts';
import type { CopyPace } from '../faults/copy-pace.ts';
import type { VolumeFaults } from '../faults/fault-rates.ts';
import type { Gate } from '../faults/gate.ts';
import type { StorageRecord } from '../faults/storage-record.ts';

/** The connection between a process and the storage. */
export interface VolumeLink {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly faults: VolumeFaults;
  readonly gate: Gate;
  readonly copies: Pick<CopyPace, 'step'>;
  readonly record: Pick<StorageRecord, 'note'>;
}

/**
 * The storage of one process of the disk service: sometimes slow, full or failing, slow for some copies, and unusable
 * after the process has ended.
 */
export class ProcessVolumes implements VolumeFiles {
  readonly #inner: VolumeFiles & Pick<MemoryVolumeFiles, 'failFlushes'>;
  readonly #link: VolumeLink;

  constructor(inner: VolumeFiles & Pick<MemoryVolumeFiles, 'failFlushes'>, link: VolumeLink) {
    this.#inner = inner;
    this.#link = link;
  }

  async open(volumeId: string, part: VolumePart): Promise<BlockStore | undefined> {
    const { gate } = this.#link;
    // An operation of a killed process must not open what its successor needs, because it would never be closed.
    if (gate.isCondemned()) return never();
    const store = await gate.through(this.#inner.open(volumeId, part));
    return store && this.#storeOver(store, volumeId, part);
  }

  async create(volumeId: string, part: VolumePart, sizeBytes: number): Promise<BlockStore> {
    const { gate, random } = this.#link;
    if (gate.isCondemned()) return never();
    const refused = this.#refusal('make', volumeId);
    // A refused volume may exist all the same, by its name alone or whole.
    if (refused && random.chance(0.5)) throw refused;
    const store = await gate.through(this.#inner.create(volumeId, part, sizeBytes));
    if (!refused) return this.#storeOver(store, volumeId, part);
    await gate.through(store.close());
    throw refused;
  }

  remove(volumeId: string): Promise<void> {
    return this.#slowly(async () => {
      const refused = this.#refusal('remove', volumeId);
      if (refused) throw refused;
      await this.#inner.remove(volumeId);
    });
  }

  allocatedBytes(volumeId: string): ReturnType<VolumeFiles['allocatedBytes']> {
    return this.#link.gate.through(this.#inner.allocatedBytes(volumeId));
  }

  /** Delays before and after: between the check of a lease and the bytes, and between the bytes and the response. */
  #slowly<Result>(work: () => Promise<Result>): Promise<Result> {
    const { clock, random, faults, gate } = this.#link;
    if (!random.chance(faults.delay)) return gate.isOpen() ? work() : gate.through(work());
    const delayed = async (): Promise<Result> => {
      await clock.sleep(random.fraction() * faults.delayMs);
      const result = await work();
      await clock.sleep(random.fraction() * faults.delayMs);
      return result;
    };
    return gate.through(delayed());
  }

  /** Waits for the time of a copy, if the volume belongs to one in progress. */
  #paced<Result>(volumeId: string, work: () => Promise<Result>): Promise<Result> {
    const step = this.#link.copies.step(volumeId);
    return step === undefined ? this.#slowly(work) : this.#link.gate.through(step.then(() => this.#slowly(work)));
  }

  /** The error of a step that storage refuses; undefined if it does the step. `flush` and `remove` need no room. */
  #refusal(step: 'make' | 'write' | 'grow' | 'flush' | 'remove', volumeId: string): Error | undefined {
    const { random, faults, record } = this.#link;
    const needsRoom = step !== 'flush' && step !== 'remove';
    if (needsRoom && random.chance(faults.full)) {
      record.note('full', volumeId);
      return storageRefusal(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
    }
    if (!random.chance(faults.fail)) return undefined;
    record.note('failed', volumeId);
    return Object.assign(new Error('input/output error'), { code: 'EIO' });
  }

  async #write(store: BlockStore, volumeId: string, offset: number, bytes: Uint8Array): Promise<void> {
    const refused = this.#refusal('write', volumeId);
    if (!refused) return store.write(offset, bytes);
    const written = sectorSize * this.#link.random.int(bytes.length / sectorSize);
    if (written > 0) await store.write(offset, bytes.subarray(0, written));
    throw refused;
  }

  async #flush(store: BlockStore, volumeId: string, part: VolumePart): Promise<void> {
    const refused = this.#refusal('flush', volumeId);
    if (!refused) return store.flush();
    if (part === 'data') this.#link.record.note('flush', volumeId);
    // Whether it fails is decided when it is called.
    this.#inner.failFlushes(() => true);
    const failed = store.flush();
    this.#inner.failFlushes(() => false);
    await failed;
    throw refused;
  }

  #storeOver(store: BlockStore, volumeId: string, part: VolumePart): BlockStore {
    const { gate, record } = this.#link;
    const copied = part === 'data' ? volumeId : '';
    const steps: Pick<BlockStore, 'read' | 'write' | 'flush'> = {
      read: (offset, into) => this.#slowly(() => store.read(offset, into)),
      write: (offset, bytes) => this.#paced(copied, () => this.#write(store, volumeId, offset, bytes)),
      flush: () => this.#paced(copied, () => this.#flush(store, volumeId, part)),
    };
    // The process may end after each step.
    const inSteps = writesDurably(steps);
    return {
      ...steps,
      readOnce: steps.read,
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
        this.#slowly(async () => {
          const refused = this.#refusal('grow', volumeId);
          if (refused) throw refused;
          await store.grow(size);
        }),
      allocatedBytes: () => gate.through(store.allocatedBytes()),
      close: () => gate.through(store.close()),
    };
  }
}

/** The result of a call by a process that has ended. */
const never = (): Promise<never> => new Promise(() => undefined);
