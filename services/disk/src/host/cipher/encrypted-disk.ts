import { Rejection } from '@interlock/event-store';
import { type BlockStore, writtenRuns } from '../storage/block-store.ts';
import { createRangeLock } from '../storage/range-lock.ts';
import { createScratch, type Scratch } from '../storage/scratch.ts';
import { pieceSize, sectorSize } from '../storage/sector.ts';
import type { SectorCipher } from './xts.ts';

/**
 * Decides whether this read or write may still go on; throws what the caller is to be told. It may wait (I/O is paused
 * while the vault cannot be reached).
 */
export type AccessCheck = () => void | Promise<void>;

/**
 * A disk as a guest sees it: bytes at offsets, encrypted sector by sector on their way to the store. Rules CMK-08, 09.
 *
 * Access is checked before each piece of at most 1 MiB is touched, and again when it is done, before it, or a part of it, is
 * answered or the next one is begun: a key can be lost, and a process be stopped for any time, while the store and the cipher work (G1).
 *
 * Sectors never written hold zeros. Such a hole is known by its ciphertext: all zeros. A written sector can look like one
 * only if AES maps it there, which happens to one content in 2^32768 of each sector. So no map of written sectors is
 * needed that would itself have to survive crashes.
 *
 * A write is atomic per sector for readers, and done once its ciphertext is with the store. Torn writes: after a crash a
 * sector written since the last flush may hold its old content, the new, or 512-byte parts of each (where the old one
 * was a hole: noise in the old parts); bytes of other sectors are never touched, but a write of a part of a sector puts
 * that whole sector at this risk.
 */
export interface EncryptedDisk {
  size(): number;
  /**
   * The bytes from `offset` on, in order, in parts that belong to the receiver. A part is decrypted when it is asked for.
   * @param parts how the bytes are cut; by default into pieces
   * @throws Rejection OUT_OF_RANGE, DEK_DROPPED, and what `check` throws.
   */
  read(offset: number, length: number, check: AccessCheck, parts?: Parts): AsyncGenerator<Uint8Array>;
  /**
   * Writes `bytes` at `offset`; they are not changed. When it throws, any of its pieces may be written.
   * @throws Rejection OUT_OF_RANGE, DEK_DROPPED, and what `check` throws.
   */
  write(offset: number, bytes: Uint8Array, check: AccessCheck): Promise<void>;
  /** Makes every finished write durable. Needs no key and works after a loss. */
  flush(): Promise<void>;
  /** Makes the disk larger; what is added reads as zeros. Needs no key. */
  grow(size: number): Promise<void>;
  /** Access ended: destroys the cipher. Reads and writes under way fail with DEK_DROPPED at their next piece. */
  dropKey(): void;
  /** Access returned: `cipher` takes the place of a dropped one, which is destroyed if it is still there. */
  giveKey(cipher: SectorCipher): void;
  /** Waits for nothing: drops the key and gives the store free. */
  close(): Promise<void>;
}

/** How a read is cut: a door that sends smaller messages, or puts something in front of each, needs no copy for it. */
export interface Parts {
  /** Most bytes of one, whole sectors and at most a piece. */
  readonly bytesMax: number;
  /** Makes a part of so many bytes; they are then filled. */
  allocate(length: number): Uint8Array;
}

const wholePieces: Parts = { bytesMax: pieceSize, allocate: (length) => Buffer.allocUnsafeSlow(length) };

/** Times a piece is begun again whose key was dropped under it, or whose volume was let go of. */
const droppedMax = 3;
/** What may be back once the check lets it pass. */
const regained: ReadonlySet<string> = new Set(['DEK_DROPPED', 'DISK_HOST_LEASE_OVER']);

/**
 * Puts a cipher over a store. The disk owns both from now on; without a cipher it waits for `giveKey`.
 * @param scratch may be shared by all disks of a process
 */
export const createEncryptedDisk = (
  store: BlockStore,
  initialCipher?: SectorCipher,
  scratch: Scratch = createScratch(),
): EncryptedDisk => new DiskOverStore(store, initialCipher, scratch);

/** A class: there is one for each open disk, and a function for each thing it does would take ten times as much memory. */
class DiskOverStore implements EncryptedDisk {
  readonly #store: BlockStore;
  readonly #scratch: Scratch;
  readonly #lock = createRangeLock();
  #cipher: SectorCipher | undefined;

  constructor(store: BlockStore, cipher: SectorCipher | undefined, scratch: Scratch) {
    this.#store = store;
    this.#cipher = cipher;
    this.#scratch = scratch;
  }

  size(): number {
    return this.#store.size();
  }

  async *read(
    offset: number,
    length: number,
    check: AccessCheck,
    parts: Parts = wholePieces,
  ): AsyncGenerator<Uint8Array> {
    checkRange(offset, length, this.#store.size());
    for (const piece of ranges(offset, offset + length, pieceSize)) yield* this.#readPiece(piece, check, parts);
  }

  async write(offset: number, bytes: Uint8Array, check: AccessCheck): Promise<void> {
    checkRange(offset, bytes.length, this.#store.size());
    for (const piece of ranges(offset, offset + bytes.length, pieceSize)) {
      const part = bytes.subarray(piece[0] - offset, piece[1] - offset);
      await checkedPiece(() => this.#writePiece(piece, part, check), check);
    }
  }

  flush(): Promise<void> {
    return this.#store.flush();
  }

  grow(size: number): Promise<void> {
    return this.#store.grow(size);
  }

  dropKey(): void {
    this.#cipher?.destroy();
    this.#cipher = undefined;
  }

  giveKey(next: SectorCipher): void {
    this.dropKey();
    this.#cipher = next;
  }

  async close(): Promise<void> {
    this.dropKey();
    await this.#store.close();
  }

  /** @throws Rejection DEK_DROPPED */
  #currentCipher(): SectorCipher {
    if (this.#cipher) return this.#cipher;
    throw new Rejection('FAILED_PRECONDITION', 'DEK_DROPPED', 'the key of this disk was dropped; it must be unwrapped');
  }

  /** Decrypts whole sectors; `source` and `target` may be the same. Holes stay zeros. */
  #decrypt(from: number, source: Uint8Array, target: Uint8Array): void {
    const sectors = this.#currentCipher();
    let done = 0;
    for (const [start, end] of writtenRuns(source)) {
      if (target !== source) target.fill(0, done, start);
      sectors.decrypt((from + start) / sectorSize, source.subarray(start, end), target.subarray(start, end));
      done = end;
    }
    if (target !== source) target.fill(0, done);
  }

  /** Reads and decrypts whole sectors. */
  async #load(from: number, into: Uint8Array): Promise<void> {
    await this.#store.read(from, into);
    this.#decrypt(from, into, into);
  }

  /** Decrypts the part [from, to) of the sectors in `sealed`, which begin at `start`. */
  #openPart(sealed: Uint8Array, start: number, [from, to]: Range, allocate: Parts['allocate']): Uint8Array {
    const part = allocate(to - from);
    const [first, end] = sectorsAround(from, to);
    const source = sealed.subarray(first * sectorSize - start, end * sectorSize - start);
    if (source.length === part.length) this.#decrypt(from, source, part);
    else {
      const sectors = new Uint8Array(source.length);
      this.#decrypt(first * sectorSize, source, sectors);
      part.set(sectors.subarray(from - first * sectorSize, to - first * sectorSize));
    }
    return part;
  }

  async *#readPiece([from, to]: Range, check: AccessCheck, { bytesMax, allocate }: Parts): AsyncGenerator<Uint8Array> {
    const [first, end] = sectorsAround(from, to);
    const start = first * sectorSize;
    const sealed = this.#scratch.take((end - first) * sectorSize);
    const load = () =>
      this.#lock.hold(first, end, 'read', async () => {
        await check();
        this.#currentCipher();
        await this.#store.read(start, sealed);
      });
    try {
      await checkedPiece(load, check);
      for (const part of ranges(from, to, bytesMax)) {
        yield await checkedPiece(() => this.#openPart(sealed, start, part, allocate), check);
      }
    } finally {
      this.#scratch.give(sealed);
    }
  }

  #writePiece([from, to]: Range, bytes: Uint8Array, check: AccessCheck): Promise<void> {
    const [first, end] = sectorsAround(from, to);
    return this.#lock.hold(first, end, 'write', async () => {
      await check();
      this.#currentCipher();
      const start = first * sectorSize;
      const sealed = this.#scratch.take((end - first) * sectorSize);
      try {
        let plain = bytes;
        if (sealed.length !== bytes.length) {
          // Read-modify-write: only the sectors at the edges keep bytes of their own.
          plain = sealed;
          const lastAt = sealed.length - sectorSize;
          if (from !== start) await this.#load(start, sealed.subarray(0, sectorSize));
          const isLastLoaded = from !== start && lastAt === 0;
          if (to !== start + sealed.length && !isLastLoaded) await this.#load(start + lastAt, sealed.subarray(lastAt));
          sealed.set(bytes, from - start);
        }
        this.#currentCipher().encrypt(first, plain, sealed);
        await this.#store.write(start, sealed);
      } finally {
        this.#scratch.give(sealed);
      }
    });
  }
}

/**
 * Does one piece and checks once more. Where the key was dropped, or the volume let go of, while the store worked, the check
 * decides: it throws why, or waits until that is back, and the piece is begun again.
 */
const checkedPiece = async <Result>(piece: () => Promise<Result> | Result, check: AccessCheck): Promise<Result> => {
  for (let dropped = 0; ; dropped += 1) {
    try {
      const result = await piece();
      await check();
      return result;
    } catch (error) {
      const isDropped = error instanceof Rejection && regained.has(error.reason);
      if (!isDropped || dropped === droppedMax) throw error;
      await check();
    }
  }
};

const sectorsAround = (from: number, to: number): [first: number, end: number] => [
  Math.floor(from / sectorSize),
  Math.ceil(to / sectorSize),
];

/** Bytes [from, to). */
type Range = readonly [from: number, to: number];

/** Cuts a range where the disk has multiples of `size`, so that only its two ends can be unaligned. */
function* ranges(start: number, end: number, size: number): Generator<Range> {
  for (let from = start; from < end; ) {
    const to = Math.min(end, (Math.floor(from / size) + 1) * size);
    yield [from, to];
    from = to;
  }
}

/** @throws Rejection OUT_OF_RANGE unless the range lies within the disk. */
function checkRange(offset: number, length: number, size: number): void {
  const areWhole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (areWhole && offset >= 0 && length >= 0 && offset + length <= size) return;
  throw new Rejection(
    'OUT_OF_RANGE',
    'OUT_OF_RANGE',
    `offset ${offset} and length ${length} reach outside the disk of ${size} bytes`,
    { offset: String(offset), length: String(length), size: String(size) },
  );
}
