import { Rejection } from '@interlock/event-store';
import type { Random } from '@interlock/runtime';
import { createTurns } from '../../disk/turns.ts';
import { headerOver, headerSize, isLeftIn, type OpenHeader, stampHostEpoch } from '../header/disk-header.ts';
import type { PlatformKey } from '../keys/platform-key.ts';
import { hostReplaced } from '../ownership.ts';
import type { BlockStore } from '../storage/block-store.ts';
import { sectorSize } from '../storage/sector.ts';
import { layerKeyLength, withInfrastructureLayer } from './infrastructure-layer.ts';
import { SharedStore } from './shared-store.ts';
import type { VolumeFiles } from './volume-files.ts';
import { createWriteGate, type WriteGate } from './write-gate.ts';

/** The sectors of a volume, shared by all of this process who have it open. */
export interface OpenVolume {
  /** Sectors as they are above the infrastructure layer: ciphertext under the DEK. Its `close` gives this use back. */
  readonly store: BlockStore;
  readonly gate: WriteGate;
}

/** The volumes of this host. They know nothing of DEKs. */
export interface Volumes {
  /** The epoch under which this host owns them. It stands in the header of each that was opened since. */
  readonly hostEpoch: number;
  /** Makes a volume, with a key of the platform for the lower layer if it has one. Repeating it opens what is there. */
  create(volumeId: string, sizeBytes: number, isLayered: boolean): Promise<void>;
  /**
   * @param isLayered whether it was made with a lower layer: without that its sectors would be taken for what they are not
   * @throws Rejection DATA_LOSS VOLUME_MISSING, HEADER_CORRUPT, LAYER_CORRUPT; ABORTED DISK_BUSY; FAILED_PRECONDITION DISK_HOST_REPLACED
   */
  open(volumeId: string, isLayered: boolean): Promise<OpenVolume>;
  /** Runs `work` on the header alone, one after another. @throws Rejection DATA_LOSS VOLUME_MISSING; ABORTED DISK_BUSY */
  withHeader<Result>(volumeId: string, work: (header: OpenHeader) => Promise<Result>): Promise<Result>;
  /**
   * Has the header stay open from its next use on, so that whoever needs it again and again opens and reads it once. Others may
   * use it meanwhile as ever. @returns gives it free
   */
  keepHeader(volumeId: string): () => Promise<void>;
  /**
   * Makes `to` hold the same sectors and the same lower layer as `from`, but no header. Writers of `from` wait.
   * @param check called before each piece; what it throws ends the copy
   */
  copy(from: string, to: string, isLayered: boolean, check: () => void | Promise<void>): Promise<void>;
  /** Ends every use of a volume and removes it. Repeating it does nothing. */
  remove(volumeId: string): Promise<void>;
  /** Bytes of storage the volume's data takes up; 0 for one that is not there. */
  allocatedBytes(volumeId: string): Promise<number>;
  /** Gives every volume free. */
  close(): Promise<void>;
}

/** The purpose that the key of a lower layer is sealed for. Part of the format of volumes. */
const layerPurpose = 'interlock infrastructure layer in units of 512 bytes';
const layerSize = sectorSize;

interface Shared extends OpenVolume {
  readonly raw: BlockStore;
  uses: number;
}

/** Opens the volumes of a host. */
export const openVolumes = (parts: {
  readonly files: VolumeFiles;
  readonly platformKey: PlatformKey;
  readonly hostEpoch: number;
  readonly random: Pick<Random, 'bytes'>;
  /** Told of a volume in whose header something may be left that was to be erased. */
  readonly onLeft?: (volumeId: string) => void;
}): Volumes => {
  const { files, platformKey, hostEpoch, random, onLeft } = parts;
  const turns = createTurns();
  const headerTurns = createTurns();
  const opened = new Map<string, Shared>();
  /** Headers that stay open. */
  const kept = new Map<string, { keepers: number; header: OpenHeader | undefined }>();

  const openHeader = async (volumeId: string): Promise<OpenHeader> => {
    const store = await files.open(volumeId, 'header');
    if (!store) throw missing(volumeId);
    return headerOver(store, platformKey.slotMac(volumeId));
  };

  const inHeaderTurn = <Result>(volumeId: string, work: () => Promise<Result>): Promise<Result> =>
    headerTurns(volumeId, work);

  const withHeader: Volumes['withHeader'] = (volumeId, work) =>
    inHeaderTurn(volumeId, async () => {
      const keeping = kept.get(volumeId);
      const header = keeping?.header ?? (await openHeader(volumeId));
      if (keeping) keeping.header = header;
      try {
        return await work(header);
      } catch (error) {
        if (isLeftIn(header)) onLeft?.(volumeId);
        throw error;
      } finally {
        if (!keeping) await header.store.close();
      }
    });

  const keepHeader: Volumes['keepHeader'] = (volumeId) => {
    const keeping = kept.get(volumeId) ?? { keepers: 0, header: undefined };
    keeping.keepers += 1;
    kept.set(volumeId, keeping);
    // In its turn: whoever waits for the header finds it open, and never one that is about to be closed.
    return () =>
      inHeaderTurn(volumeId, async () => {
        keeping.keepers -= 1;
        if (keeping.keepers > 0) return;
        kept.delete(volumeId);
        await keeping.header?.store.close();
      });
  };

  const openData = async (volumeId: string, isLayered: boolean): Promise<Shared> => {
    const raw = await files.open(volumeId, 'data');
    if (!raw) throw missing(volumeId);
    try {
      await withHeader(volumeId, (header) =>
        stampHostEpoch(header, hostEpoch, () => hostReplaced({ volume: volumeId }, hostEpoch)),
      );
      const layerKey = isLayered ? await layerKeyOf(volumeId) : undefined;
      const store = layerKey ? withInfrastructureLayer(raw, layerKey) : raw;
      layerKey?.fill(0);
      return { raw, store, gate: createWriteGate(), uses: 0 };
    } catch (error) {
      await raw.close();
      throw error;
    }
  };

  const layerKeyOf = async (volumeId: string): Promise<Uint8Array> => {
    const store = await files.open(volumeId, 'layer');
    if (!store) throw layerCorrupt(volumeId, 'its key is gone');
    try {
      const sector = Buffer.alloc(layerSize);
      await store.read(0, sector);
      const sealed = sector.subarray(2, 2 + sector.readUInt16BE(0));
      const key = platformKey.unseal(layerPurpose, sealed);
      if (key?.length === layerKeyLength) return key;
    } finally {
      await store.close();
    }
    throw layerCorrupt(volumeId, 'its key was changed, or is under another master key');
  };

  const createLayer = async (volumeId: string): Promise<void> => {
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
  };

  /** In the turn of `from`: whoever opens that volume reads its layer there, and a part is open once. */
  const copyLayer = (from: string, to: string, check: () => void | Promise<void>): Promise<void> =>
    turns(from, async () => {
      const layer = await files.open(from, 'layer');
      if (!layer) throw layerCorrupt(from, 'its key is gone');
      try {
        const copied = await files.create(to, 'layer', layerSize);
        await layer.copyTo(copied, check).finally(() => copied.close());
      } finally {
        await layer.close();
      }
    });

  const giveBack = (volumeId: string, shared: Shared): Promise<void> =>
    turns(volumeId, async () => {
      shared.uses -= 1;
      if (shared.uses > 0 || opened.get(volumeId) !== shared) return;
      opened.delete(volumeId);
      await shared.raw.close();
    });

  const open = (volumeId: string, isLayered: boolean): Promise<{ readonly shared: Shared; readonly use: BlockStore }> =>
    turns(volumeId, async () => {
      const shared = opened.get(volumeId) ?? (await openData(volumeId, isLayered));
      opened.set(volumeId, shared);
      shared.uses += 1;
      return { shared, use: new SharedStore(shared.store, () => giveBack(volumeId, shared)) };
    });

  return {
    hostEpoch,
    async create(volumeId, sizeBytes, isLayered) {
      await (await files.create(volumeId, 'data', sizeBytes)).close();
      await (await files.create(volumeId, 'header', headerSize)).close();
      if (isLayered) await createLayer(volumeId);
    },
    async open(volumeId, isLayered) {
      const { shared, use } = await open(volumeId, isLayered);
      return { store: use, gate: shared.gate };
    },
    withHeader,
    keepHeader,
    async copy(from, to, isLayered, check) {
      const source = await open(from, isLayered);
      try {
        const target = await files.create(to, 'data', source.shared.raw.size());
        await source.shared.gate.still(() => source.shared.raw.copyTo(target, check)).finally(() => target.close());
      } finally {
        await source.use.close();
      }
      await (await files.create(to, 'header', headerSize)).close();
      if (isLayered) await copyLayer(from, to, check);
    },
    remove: (volumeId) =>
      turns(volumeId, async () => {
        const shared = opened.get(volumeId);
        opened.delete(volumeId);
        await shared?.raw.close();
        await files.remove(volumeId);
      }),
    allocatedBytes: (volumeId) => files.allocatedBytes(volumeId),
    async close() {
      const all = [...opened.values()];
      opened.clear();
      for (const { raw } of all) await raw.close();
    },
  };
};

const layerCorrupt = (volumeId: string, why: string): Rejection =>
  new Rejection('DATA_LOSS', 'LAYER_CORRUPT', `the lower layer of this disk cannot be opened: ${why}`, {
    volume: volumeId,
  });

const missing = (volumeId: string): Rejection =>
  new Rejection('DATA_LOSS', 'VOLUME_MISSING', 'the data of this disk is not on this host', { volume: volumeId });
