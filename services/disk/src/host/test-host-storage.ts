import { category, type EventStore } from '@interlock/event-store';
import { systemRandom as random } from '@interlock/runtime';
import { type Disk, disks as diskStreams } from '../disk/state.ts';
import { openStoredHeaders } from '../disk/stored-headers.ts';
import { type Snapshot, snapshots as snapshotStreams } from '../snapshot/decider.ts';
import { type DiskHeader, readUnverifiedSlot } from './header/disk-header-format.ts';
import type { BlockStore } from './storage/block-store.ts';
import { sectorSize } from './storage/sector.ts';
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

/** A store that does not respond while it is cut off. @param failure what its calls end with then */
export const cuttable = (
  store: EventStore,
  link: { readonly isCut: boolean },
  failure: () => Error = () => new Error('cut off from the store'),
): EventStore =>
  new Proxy(store, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property);
      // A wait for events never fails.
      if (typeof value !== 'function' || property === 'waitForEvents') return value;
      return (...args: unknown[]) => (link.isCut ? Promise.reject(failure()) : Reflect.apply(value, target, args));
    },
  });

/** Two header slots. */
export type HeaderOnStorage = readonly [Uint8Array | undefined, Uint8Array | undefined];

/** What is stored of disks and snapshots: their events, and the headers on the volumes. */
export interface StoredDisks {
  stateOf(name: string): Promise<Disk>;
  snapshotStateOf(name: string): Promise<Snapshot>;
  volumeIds(): readonly string[];
  /** Volumes that a disk or snapshot refers to. */
  volumesInUse(): Promise<readonly string[]>;
  /** The key version of every wrap in the header of a disk or snapshot, in both slots. */
  wrapsAtRest(name: string): Promise<readonly string[]>;
  /** Both header slots of a disk or snapshot as stored; undefined for an empty one. */
  headerOf(name: string): Promise<HeaderOnStorage>;
  /** Writes both header slots of a disk or snapshot, as a restore of its volume or an attacker with storage access does. */
  putHeader(name: string, slots: HeaderOnStorage): Promise<void>;
  /** The header of a volume as the store keeps it. */
  storedHeader(volumeId: string): Promise<DiskHeader | undefined>;
}

/** Reads the store and the volumes of a host without the host. */
export const storedDisks = (store: EventStore, files: ReturnType<typeof memoryVolumeFiles>): StoredDisks => {
  const ofDisks = category(store, diskStreams);
  const ofSnapshots = category(store, snapshotStreams);
  const volumeOf = async (name: string): Promise<string | undefined> => {
    const { state } = await (name.includes('/snapshots/') ? ofSnapshots.load(name) : ofDisks.load(name));
    return 'volume' in state ? state.volume.volumeId : undefined;
  };
  return {
    stateOf: async (name) => (await ofDisks.load(name)).state,
    snapshotStateOf: async (name) => (await ofSnapshots.load(name)).state,
    volumeIds: files.volumeIds,
    async volumesInUse() {
      const all = [...(await ofDisks.listAll({})), ...(await ofSnapshots.listAll({}))];
      return all.flatMap(({ state }) => ('volume' in state ? [state.volume.volumeId] : [])).sort();
    },
    async wrapsAtRest(name) {
      const volumeId = await volumeOf(name);
      if (volumeId === undefined) return [];
      return [0, 1].flatMap((slot) => {
        const header = readUnverifiedSlot(files.peek(volumeId, 'header', slot) ?? new Uint8Array(sectorSize));
        return header?.wrap.keyVersion ?? [];
      });
    },
    async headerOf(name) {
      const volumeId = (await volumeOf(name)) ?? '';
      return [files.peek(volumeId, 'header', 0), files.peek(volumeId, 'header', 1)];
    },
    async putHeader(name, slots) {
      const volumeId = (await volumeOf(name)) ?? '';
      for (const [slot, bytes] of slots.entries()) files.poke(volumeId, 'header', slot, bytes);
    },
    storedHeader: openStoredHeaders(store).get,
  };
};
