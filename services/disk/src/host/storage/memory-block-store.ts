import type { Random } from '@interlock/runtime';
import {
  type BlockStore,
  checkGrowth,
  checkSectors,
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

/** The content of a memory store. It survives `close` and `crash`, as a file does. */
export interface Platter {
  /** Opens the store. @throws Rejection ABORTED DISK_BUSY while it is open. */
  open(): BlockStore;
  /**
   * Cuts the power: the open store is closed, every sector written since the last flush is kept or lost at random, and the
   * last one written is torn. So it loses more than any file would. Data that a failed flush discarded is lost.
   */
  crash(): void;
  /** Content of a sector as it is now, without opening the store; undefined for a hole. For checks from outside of the service. */
  peek(sector: number): Uint8Array | undefined;
  /** Replaces a sector durably, also while the store is open, as storage does that returns wrong content. */
  poke(sector: number, content: Uint8Array | undefined): void;
  /** Everything on it now, as if it were flushed. */
  image(): PlatterImage;
}

/**
 * A disk in memory for tests and the simulation.
 * @param sectors its initial content
 * @param flushFails whether a flush fails. A failed flush behaves as on Linux: its data still reads back, but no later flush
 *   makes it durable
 */
export function createPlatter(
  name: string,
  initialSize: number,
  random: Random,
  sectors: PlatterImage['sectors'] = new Map(),
  flushFails: () => boolean = () => false,
): Platter {
  checkGrowth(initialSize, 0);
  const surface = new Surface(initialSize, sectors);
  let holder: BlockStore | undefined;
  const held: Held = {
    isHeldBy: (store) => holder === store,
    release(store) {
      if (holder === store) holder = undefined;
    },
    flush() {
      const isFailing = flushFails();
      surface.flush(isFailing);
      if (isFailing) throw Object.assign(new Error(`the storage of ${name} fails`), { code: 'EIO' });
    },
  };
  return {
    open() {
      if (holder !== undefined) throw diskBusy(name);
      holder = openStore(surface, held);
      return holder;
    },
    peek: (sector) => surface.current.get(sector),
    poke: (sector, content) => surface.poke(sector, content),
    image: () => ({ size: surface.size, sectors: new Map(surface.current) }),
    crash() {
      holder = undefined;
      surface.crash(random);
    },
  };
}

/** What the storage holds, and what it loses in a crash. */
class Surface {
  /** Content as it reads now; holes are absent. */
  readonly current: Map<number, Uint8Array>;
  /** The durable content of unflushed sectors (undefined: none), in the order of their writes. */
  readonly #unflushed = new Map<number, Uint8Array | undefined>();
  /** The same for sectors that failed flushes discarded. */
  readonly #givenUp = new Map<number, Uint8Array | undefined>();
  size: number;
  #flushedSize: number;

  constructor(size: number, sectors: PlatterImage['sectors']) {
    this.current = new Map(sectors);
    this.size = size;
    this.#flushedSize = size;
  }

  write(sector: number, content: Uint8Array): void {
    const isKept = !this.#unflushed.has(sector) && !this.#givenUp.has(sector);
    const old = isKept ? this.current.get(sector) : (this.#unflushed.get(sector) ?? this.#givenUp.get(sector));
    // Deleted first: the order of the map is the order of the writes.
    this.#unflushed.delete(sector);
    this.#givenUp.delete(sector);
    this.#unflushed.set(sector, old);
    this.#put(sector, isZeroSector(content) ? undefined : content);
  }

  poke(sector: number, content: Uint8Array | undefined): void {
    this.#unflushed.delete(sector);
    this.#givenUp.delete(sector);
    this.#put(sector, content);
  }

  flush(isFailing: boolean): void {
    if (isFailing) for (const [sector, old] of this.#unflushed) this.#givenUp.set(sector, old);
    else this.#flushedSize = this.size;
    this.#unflushed.clear();
  }

  crash(random: Random): void {
    const last = [...this.#unflushed.keys()].at(-1);
    for (const [sector, old] of this.#unflushed) {
      if (sector === last) this.#put(sector, torn(this.current.get(sector), old, random));
      else if (random.fraction() < 0.5) this.#put(sector, old);
    }
    for (const [sector, old] of this.#givenUp) this.#put(sector, old);
    this.#unflushed.clear();
    this.#givenUp.clear();
    this.size = this.#flushedSize;
    for (const sector of this.current.keys()) if (sector * sectorSize >= this.size) this.current.delete(sector);
  }

  #put(sector: number, content: Uint8Array | undefined): void {
    if (content) this.current.set(sector, content);
    else this.current.delete(sector);
  }
}

/** How an open store uses its platter. */
interface Held {
  isHeldBy(store: BlockStore): boolean;
  release(store: BlockStore): void;
  /** @throws Error with code EIO if it fails */
  flush(): void;
}

const openStore = (surface: Surface, held: Held): BlockStore => {
  const checkOpen = (): void => {
    if (!held.isHeldBy(store)) throw storeClosed();
  };
  const checkRange = (offset: number, length: number): void => {
    checkOpen();
    checkSectors(offset, length, surface.size);
  };
  const store: BlockStore = {
    size: () => surface.size,
    async read(offset, into) {
      checkRange(offset, into.length);
      for (let at = 0; at < into.length; at += sectorSize) {
        const content = surface.current.get((offset + at) / sectorSize);
        if (content) into.set(content, at);
        else into.fill(0, at, at + sectorSize);
      }
    },
    readOnce: (offset, into) => store.read(offset, into),
    async write(offset, bytes) {
      checkRange(offset, bytes.length);
      for (let at = 0; at < bytes.length; at += sectorSize) {
        surface.write((offset + at) / sectorSize, Uint8Array.from(bytes.subarray(at, at + sectorSize)));
      }
    },
    async flush() {
      checkOpen();
      held.flush();
    },
    writeDurably: (offset, bytes) => writesDurably(store)(offset, bytes),
    async grow(newSize) {
      checkOpen();
      checkGrowth(newSize, surface.size);
      surface.size = newSize;
    },
    async allocatedBytes() {
      checkOpen();
      return surface.current.size * sectorSize;
    },
    async close() {
      held.release(store);
    },
  };
  return store;
};

/** The first part of the new content and the rest of the old, cut somewhere inside. */
function torn(written: Uint8Array | undefined, old: Uint8Array | undefined, random: Random): Uint8Array | undefined {
  const cut = atomicUnit * (1 + Math.floor(random.fraction() * (sectorSize / atomicUnit - 1)));
  const content = new Uint8Array(sectorSize);
  if (written) content.set(written.subarray(0, cut));
  if (old) content.set(old.subarray(cut), cut);
  return isZeroSector(content) ? undefined : content;
}
