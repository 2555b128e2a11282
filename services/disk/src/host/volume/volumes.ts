import { Rejection } from '@interlock/event-store';
import { keyedMutex, type Random } from '@interlock/runtime';
import {
  headerOver,
  headerSize,
  mayHavePrevious,
  type OpenHeader,
  restoreHeader,
  stampHostEpoch,
} from '../header/disk-header.ts';
import type { DiskHeader } from '../header/disk-header-format.ts';
import type { PlatformKey } from '../keys/platform-key.ts';
import { hostReplaced } from '../owner/ownership.ts';
import { DirtyPieces } from '../pieces/dirty-pieces.ts';
import type { OpenVolume } from '../pieces/open-volume.ts';
import { WriteGate } from '../pieces/write-gate.ts';
import { type BlockStore, copySectors } from '../storage/block-store.ts';
import { sectorSize } from '../storage/sector.ts';
import type { VolumeFiles } from '../storage/volume-files.ts';
import { layerKeyLength, withInfrastructureLayer } from './infrastructure-layer.ts';
import {
  expectStored,
  type FollowedVolume,
  readStored,
  readWhole,
  receiveStored,
  type StoredPiece,
  type StoredRange,
} from './stored-volume.ts';

/** The purpose that the key of a lower layer is sealed for. Part of the format of volumes. */
const layerPurpose = 'interlock infrastructure layer in units of 512 bytes';
const layerSize = sectorSize;

interface Shared {
  readonly raw: BlockStore;
  readonly store: BlockStore;
  readonly gate: WriteGate;
  uses: number;
}

interface VolumesParts {
  readonly files: VolumeFiles;
  readonly platformKey: PlatformKey;
  /** The epoch under which this host owns the volumes. It is in the header of each volume opened since. */
  readonly hostEpoch: number;
  readonly random: Pick<Random, 'bytes'>;
  /** Called with a volume whose previous header slot may have to be erased. */
  readonly onPreviousLeft?: (volumeId: string) => void;
}

/** The volumes of this host. They know nothing of DEKs. */
export class Volumes {
  readonly hostEpoch: number;
  readonly #parts: VolumesParts;
  readonly #turns = keyedMutex();
  readonly #headerTurns = keyedMutex();
  readonly #opened = new Map<string, Shared>();
  /** Headers that stay open. */
  readonly #kept = new Map<string, { keepers: number; header: OpenHeader | undefined }>();

  constructor(parts: VolumesParts) {
    this.#parts = parts;
    this.hostEpoch = parts.hostEpoch;
  }

  /** Makes a volume, with a platform key for the lower layer if it has one. A repeat opens what is there. */
  async create(volumeId: string, sizeBytes: number, isLayered: boolean): Promise<void> {
    const { files } = this.#parts;
    await (await files.create(volumeId, 'data', sizeBytes)).close();
    await (await files.create(volumeId, 'header', headerSize)).close();
    if (isLayered) await this.#createLayer(volumeId);
  }

  /**
   * @param isLayered whether it was made with a lower layer; the volume itself does not store it
   * @throws Rejection DATA_LOSS VOLUME_MISSING, HEADER_CORRUPT, LAYER_CORRUPT; ABORTED DISK_BUSY; FAILED_PRECONDITION DISK_HOST_REPLACED
   */
  async open(volumeId: string, isLayered: boolean): Promise<OpenVolume> {
    const shared = await this.#use(volumeId, isLayered);
    let isOpen = true;
    return {
      store: shared.store,
      gate: shared.gate,
      close: async () => {
        if (!isOpen) return;
        isOpen = false;
        await this.#release(volumeId, shared);
      },
    };
  }

  /** Runs `work` on the header alone, one after another. @throws Rejection DATA_LOSS VOLUME_MISSING; ABORTED DISK_BUSY */
  withHeader<Result>(volumeId: string, work: (header: OpenHeader) => Promise<Result>): Promise<Result> {
    return this.#headerTurns(volumeId, async () => {
      const keeping = this.#kept.get(volumeId);
      const header = keeping?.header ?? (await this.#openHeader(volumeId));
      if (keeping) keeping.header = header;
      try {
        return await work(header);
      } catch (error) {
        if (mayHavePrevious(header)) this.#parts.onPreviousLeft?.(volumeId);
        throw error;
      } finally {
        if (!keeping) await header.store.close();
      }
    });
  }

  /** Keeps the header open from its next use on, so that a process of several steps reads it once. @returns ends that */
  keepHeader(volumeId: string): () => Promise<void> {
    const keeping = this.#kept.get(volumeId) ?? { keepers: 0, header: undefined };
    keeping.keepers += 1;
    this.#kept.set(volumeId, keeping);
    // In the header's turn: the next user finds it open, and never about to be closed.
    return () =>
      this.#headerTurns(volumeId, async () => {
        keeping.keepers -= 1;
        if (keeping.keepers > 0) return;
        this.#kept.delete(volumeId);
        await keeping.header?.store.close();
      });
  }

  /**
   * Makes `to` with the same sectors and the same lower layer as `from`, but without a header. Writes to `from` wait.
   * @param check called before each piece; what it throws ends the copy
   */
  async copy(from: string, to: string, isLayered: boolean, check: () => void | Promise<void>): Promise<void> {
    const { files } = this.#parts;
    const source = await this.#use(from, isLayered);
    try {
      const target = await files.create(to, 'data', source.raw.size());
      await source.gate.withoutWrites(() => copySectors(source.raw, target, check)).finally(() => target.close());
    } finally {
      await this.#release(from, source);
    }
    await (await files.create(to, 'header', headerSize)).close();
    if (isLayered) await this.#copyLayer(from, to, check);
  }

  /** Size of the data of a volume in bytes. @throws Rejection DATA_LOSS VOLUME_MISSING, LAYER_CORRUPT */
  async storedBytes(volumeId: string, isLayered: boolean): Promise<number> {
    const shared = await this.#use(volumeId, isLayered);
    const sizeBytes = shared.raw.size();
    await this.#release(volumeId, shared);
    return sizeBytes;
  }

  /**
   * As the function `readStored`, also while the volume is open; the sealed key of its lower layer comes with its first sectors.
   * @throws Rejection DATA_LOSS VOLUME_MISSING, LAYER_CORRUPT
   */
  async *readStored(volumeId: string, isLayered: boolean, range: StoredRange): AsyncGenerator<StoredPiece> {
    if (isLayered && range.from === 0) yield { part: 'layer', offset: 0, data: await this.#storedLayer(volumeId) };
    const shared = await this.#use(volumeId, isLayered);
    try {
      yield* readStored(shared.raw, range);
    } finally {
      await this.#release(volumeId, shared);
    }
  }

  /**
   * Follows the writes to a volume, whether it is open or will be opened meanwhile. Call `end` in any case.
   * @throws Rejection DATA_LOSS VOLUME_MISSING, LAYER_CORRUPT
   */
  async follow(volumeId: string, isLayered: boolean): Promise<FollowedVolume> {
    const shared = await this.#use(volumeId, isLayered);
    const dirty = new DirtyPieces(shared.raw.size());
    const stop = await shared.gate.follow(({ offset, length }) => dirty.mark(offset, length));
    return {
      dirty,
      read: (ranges) => readWhole(shared.raw, ranges),
      copied: () => shared.gate.copied(),
      isCopying: () => shared.gate.isCopying,
      withoutWrites: (work) => shared.gate.withoutWrites(work),
      end: () => {
        stop();
        return this.#release(volumeId, shared);
      },
    };
  }

  /** As `expectStored`. */
  expect(volumeId: string, shape: Parameters<typeof expectStored>[2]): Promise<void> {
    return expectStored(this.#parts.files, volumeId, shape);
  }

  /** As `receiveStored`. @throws Rejection DATA_LOSS VOLUME_MISSING if it was removed meanwhile */
  async receive(volumeId: string, pieces: AsyncIterable<StoredPiece>): Promise<Buffer> {
    const digest = await receiveStored(this.#parts.files, volumeId, pieces);
    if (digest === undefined) throw missing(volumeId);
    return digest;
  }

  /** Writes the header of a volume that has arrived, with the epoch of this host. A repeat replaces it. */
  seal(volumeId: string, header: DiskHeader): Promise<void> {
    const { hostEpoch } = this;
    return this.withHeader(volumeId, (open) => restoreHeader(open, { ...header, hostEpoch }));
  }

  /** Ends every use of a volume and removes it. A repeat does nothing. */
  remove(volumeId: string): Promise<void> {
    return this.#turns(volumeId, async () => {
      const shared = this.#opened.get(volumeId);
      this.#opened.delete(volumeId);
      await shared?.raw.close();
      await this.#parts.files.remove(volumeId);
    });
  }

  /** Bytes of storage that the volume's data takes; 0 if it does not exist. */
  allocatedBytes(volumeId: string): Promise<number> {
    return this.#parts.files.allocatedBytes(volumeId);
  }

  /** Closes every volume. */
  async close(): Promise<void> {
    const all = [...this.#opened.values()];
    this.#opened.clear();
    for (const { raw } of all) await raw.close();
  }

  #use(volumeId: string, isLayered: boolean): Promise<Shared> {
    return this.#turns(volumeId, async () => {
      const shared = this.#opened.get(volumeId) ?? (await this.#openData(volumeId, isLayered));
      this.#opened.set(volumeId, shared);
      shared.uses += 1;
      return shared;
    });
  }

  #release(volumeId: string, shared: Shared): Promise<void> {
    return this.#turns(volumeId, async () => {
      shared.uses -= 1;
      if (shared.uses > 0 || this.#opened.get(volumeId) !== shared) return;
      this.#opened.delete(volumeId);
      await shared.raw.close();
    });
  }

  async #openHeader(volumeId: string): Promise<OpenHeader> {
    const { files, platformKey } = this.#parts;
    const store = await files.open(volumeId, 'header');
    if (!store) throw missing(volumeId);
    return headerOver(store, platformKey.slotMac(volumeId));
  }

  async #openData(volumeId: string, isLayered: boolean): Promise<Shared> {
    const { hostEpoch } = this;
    const raw = await this.#parts.files.open(volumeId, 'data');
    if (!raw) throw missing(volumeId);
    try {
      await this.withHeader(volumeId, (header) =>
        stampHostEpoch(header, hostEpoch, () => hostReplaced({ volume: volumeId }, hostEpoch)),
      );
      const layerKey = isLayered ? await this.#layerKeyOf(volumeId) : undefined;
      const store = layerKey ? withInfrastructureLayer(raw, layerKey) : raw;
      layerKey?.fill(0);
      return { raw, store, gate: new WriteGate(), uses: 0 };
    } catch (error) {
      await raw.close();
      throw error;
    }
  }

  async #layerKeyOf(volumeId: string): Promise<Uint8Array> {
    const { files, platformKey } = this.#parts;
    const store = await files.open(volumeId, 'layer');
    if (!store) throw layerCorrupt(volumeId, 'its key is missing');
    try {
      const sector = Buffer.alloc(layerSize);
      await store.read(0, sector);
      const key = platformKey.unseal(layerPurpose, sector.subarray(2, 2 + sector.readUInt16BE(0)));
      if (key?.length === layerKeyLength) return key;
    } finally {
      await store.close();
    }
    throw layerCorrupt(volumeId, 'its key was changed, or is under another master key');
  }

  async #createLayer(volumeId: string): Promise<void> {
    const { files, platformKey, random } = this.#parts;
    const store = await files.create(volumeId, 'layer', layerSize);
    const key = random.bytes(layerKeyLength);
    try {
      const sector = Buffer.alloc(layerSize);
      const sealed = platformKey.seal(layerPurpose, key);
      sector.writeUInt16BE(sealed.length);
      sector.set(sealed, 2);
      await store.write(0, sector);
      await store.flush();
    } finally {
      key.fill(0);
      await store.close();
    }
  }

  /** In the turn of the volume, as `#copyLayer`. */
  #storedLayer(volumeId: string): Promise<Buffer> {
    return this.#turns(volumeId, async () => {
      const layer = await this.#parts.files.open(volumeId, 'layer');
      if (!layer) throw layerCorrupt(volumeId, 'its key is missing');
      const sector = Buffer.alloc(layerSize);
      await layer.read(0, sector).finally(() => layer.close());
      return sector;
    });
  }

  /** In the turn of `from`: an open of that volume reads its layer there, and a part is open once. */
  #copyLayer(from: string, to: string, check: () => void | Promise<void>): Promise<void> {
    const { files } = this.#parts;
    return this.#turns(from, async () => {
      const layer = await files.open(from, 'layer');
      if (!layer) throw layerCorrupt(from, 'its key is missing');
      try {
        const copied = await files.create(to, 'layer', layerSize);
        await copySectors(layer, copied, check).finally(() => copied.close());
      } finally {
        await layer.close();
      }
    });
  }
}

const layerCorrupt = (volumeId: string, why: string): Rejection =>
  new Rejection('DATA_LOSS', 'LAYER_CORRUPT', `the lower layer of this disk cannot be opened: ${why}`, {
    volume: volumeId,
  });

const missing = (volumeId: string): Rejection =>
  new Rejection('DATA_LOSS', 'VOLUME_MISSING', 'the data of this disk is not on this host', { volume: volumeId });
