import type { Random } from '@interlock/runtime';
import {
  type BlockStore,
  checkGrowth,
  checkSectors,
  copySectors,
  diskBusy,
  isZeroSector,
  storeClosed,
  writesDurably,
} from './block-store.ts';
import { sectorSize } from './sector.ts';

/** Bytes that real storage writes all or none of: where a torn sector may be cut. */
const atomicUnit = 512;

/** The content of a platter, to start another one from. Sectors are replaced, never changed. */
export interface PlatterImage {
  readonly size: number;
  readonly sectors: ReadonlyMap<number, Uint8Array>;
}

/** What a memory store leaves behind: it outlives `close` and `crash`, as a file does. */
export interface Platter {
  /** Opens the store. @throws Rejection ABORTED DISK_BUSY while it is open. */
  open(): BlockStore;
  /**
   * Cuts the power: the open store is closed, every sector written since the last flush is kept or lost by chance, and
   * the last one written is torn. So it loses more than any file would. What a failed flush has given up is lost.
   */
  crash(): void;
  /** Content of a sector as it is now, without opening the store; undefined for a hole. For judges outside of the service. */
  peek(sector: number): Uint8Array | undefined;
  /** Puts other content in the place of a sector, durably, also while the store is open: storage that returns what it should not. */
  poke(sector: number, content: Uint8Array | undefined): void;
  /** Everything on it now, as if it were flushed. */
  image(): PlatterImage;
}

/**
 * A disk in memory for tests and the simulation.
 * @param sectors what lies on it at first
 * @param flushFails asked at each flush. One that fails does as Linux does: what it was to keep reads as it was written, and no
 *   later flush keeps it
 */
export function createPlatter(
  name: string,
  initialSize: number,
  random: Random,
  sectors: PlatterImage['sectors'] = new Map(),
  flushFails: () => boolean = () => false,
): Platter {
  checkGrowth(initialSize, 0);
  /** Current content, and for sectors not flushed what storage still holds (undefined: nothing). */
  const current = new Map(sectors);
  const unflushed = new Map<number, Uint8Array | undefined>();
  /** The same of what failed flushes have given up. */
  const givenUp = new Map<number, Uint8Array | undefined>();
  let size = initialSize;
  let flushedSize = initialSize;
  let opened = 0;
  let holder = 0;

  const put = (sector: number, content: Uint8Array | undefined) => {
    if (content) current.set(sector, content);
    else current.delete(sector);
  };

  const open = (): BlockStore => {
    if (holder !== 0) throw diskBusy(name);
    opened += 1;
    const mine = opened;
    holder = mine;
    const checkOpen = () => {
      if (holder !== mine) throw storeClosed();
    };
    const store: BlockStore = {
      size: () => size,
      async read(offset, into) {
        checkOpen();
        checkSectors(offset, into.length, size);
        for (let at = 0; at < into.length; at += sectorSize) {
          const content = current.get((offset + at) / sectorSize);
          if (content) into.set(content, at);
          else into.fill(0, at, at + sectorSize);
        }
      },
      async write(offset, bytes) {
        checkOpen();
        checkSectors(offset, bytes.length, size);
        for (let at = 0; at < bytes.length; at += sectorSize) {
          const sector = (offset + at) / sectorSize;
          const isKept = !unflushed.has(sector) && !givenUp.has(sector);
          const old = isKept ? current.get(sector) : (unflushed.get(sector) ?? givenUp.get(sector));
          // Deleted first: the order of the map is the order of the writes.
          unflushed.delete(sector);
          givenUp.delete(sector);
          unflushed.set(sector, old);
          const content = Uint8Array.from(bytes.subarray(at, at + sectorSize));
          put(sector, isZeroSector(content) ? undefined : content);
        }
      },
      async flush() {
        checkOpen();
        if (flushFails()) {
          for (const [sector, old] of unflushed) givenUp.set(sector, old);
          unflushed.clear();
          throw Object.assign(new Error(`the storage of ${name} fails`), { code: 'EIO' });
        }
        unflushed.clear();
        flushedSize = size;
      },
      writeDurably: (offset, bytes) => writesDurably(store)(offset, bytes),
      async grow(newSize) {
        checkOpen();
        checkGrowth(newSize, size);
        size = newSize;
      },
      async allocatedBytes() {
        checkOpen();
        return current.size * sectorSize;
      },
      async copyTo(target, check) {
        checkOpen();
        checkSectors(0, size, target.size());
        await copySectors(store, target, check);
        await target.flush();
      },
      async close() {
        if (holder === mine) holder = 0;
      },
    };
    return store;
  };

  return {
    open,
    peek: (sector) => current.get(sector),
    poke(sector, content) {
      unflushed.delete(sector);
      givenUp.delete(sector);
      put(sector, content);
    },
    image: () => ({ size, sectors: new Map(current) }),
    crash() {
      holder = 0;
      const last = [...unflushed.keys()].at(-1);
      for (const [sector, old] of unflushed) {
        if (sector === last) put(sector, torn(current.get(sector), old, random));
        else if (random.fraction() < 0.5) put(sector, old);
      }
      for (const [sector, old] of givenUp) put(sector, old);
      unflushed.clear();
      givenUp.clear();
      size = flushedSize;
      for (const sector of current.keys()) if (sector * sectorSize >= size) current.delete(sector);
    },
  };
}

/** The first part of the new content and the rest of the old, cut somewhere inside. */
function torn(written: Uint8Array | undefined, old: Uint8Array | undefined, random: Random): Uint8Array | undefined {
  const cut = atomicUnit * (1 + Math.floor(random.fraction() * (sectorSize / atomicUnit - 1)));
  const content = new Uint8Array(sectorSize);
  if (written) content.set(written.subarray(0, cut));
  if (old) content.set(old.subarray(cut), cut);
  return isZeroSector(content) ? undefined : content;
}
