import { Rejection } from '@interlock/event-store';
import type { SectorCipher } from '../cipher/xts.ts';
import type { ThreadGate } from '../keys/thread-gate.ts';
import { writtenRuns } from '../storage/block-store.ts';
import { pieceSize, sectorSize } from '../storage/sector.ts';
import { cut, type Range, sectorsAround } from './cutting.ts';
import type { OpenVolume } from './open-volume.ts';
import { createRangeLock, type RangeUse } from './range-lock.ts';
import { createScratch, type Scratch } from './scratch.ts';
import { openSectors } from './sealing.ts';

/**
 * Checks whether this read or write may continue; throws what its caller receives. It may wait: I/O is paused while the vault is
 * unreachable.
 */
export type AccessCheck = () => void | Promise<void>;

/** How a read is cut, so that a sender of small messages, or of messages with a prefix, needs no copy. */
export interface Parts {
  /** Most bytes of a part: whole sectors, at most a piece. */
  readonly bytesMax: number;
  /** Allocates a part of so many bytes, to be filled. */
  allocate(length: number): Uint8Array;
  /** As `BlockStore.readOnce`. */
  readonly isOnce?: boolean;
}

const wholePieces: Parts = { bytesMax: pieceSize, allocate: (length) => Buffer.allocUnsafeSlow(length) };

/** How often a piece is repeated whose key was dropped, or whose file was closed, during the work. */
const droppedMax = 3;
/** Reasons that may be over once the check passes. */
const regained: ReadonlySet<string> = new Set(['DEK_DROPPED', 'DISK_HOST_LEASE_OVER']);

/**
 * A disk as a guest sees it: bytes at offsets, encrypted sector by sector on their way to the store. Rules CMK-08, CMK-09.
 *
 * Access is checked before each piece of at most 1 MiB. A read is checked again before each part is handed over; the caller of a
 * write checks again before it acknowledges: meanwhile a key can be lost, or the process paused for any time (G1).
 *
 * Sectors never written read as zeros. Such a hole is recognized by its ciphertext: all zeros. AES maps a written sector to
 * zeros for one content in 2^32768. So there is no map of written sectors that would have to survive crashes.
 *
 * A write is atomic per sector for readers. It is complete when its ciphertext is with the store. Torn writes: after a crash a
 * sector written since the last flush may hold its old content, the new content, or 512-byte parts of each (if the old one was a
 * hole: noise in the old parts). Bytes of other sectors are never touched, but a write of a part of a sector puts that whole
 * sector at this risk.
 *
 * A class, like everything that exists once per open disk (see `FileBlockStore`).
 */
export class EncryptedDisk {
  readonly #volume: OpenVolume;
  readonly #scratch: Scratch;
  readonly #lock = createRangeLock();
  /** Writes that have passed the gate; created by the first write. */
  #writes: Set<Promise<void>> | undefined;
  #cipher: SectorCipher | undefined;
  #threadGate: ThreadGate | undefined;
  /** Resolves when another thread has finished what it did under an earlier key. */
  #threadIdle: Promise<void> | undefined;

  /**
   * The disk owns volume and cipher from now on; without a cipher it waits for `giveKey`.
   * @param scratch may be shared by all disks of a process
   */
  constructor(volume: OpenVolume, cipher?: SectorCipher, scratch: Scratch = createScratch()) {
    this.#volume = volume;
    this.#cipher = cipher;
    this.#scratch = scratch;
  }

  size(): number {
    return this.#volume.store.size();
  }

  /**
   * The bytes from `offset` on, in order, in parts that belong to the receiver. A part is decrypted when it is requested.
   * @param parts how the bytes are cut; by default into pieces
   * @throws Rejection OUT_OF_RANGE, DEK_DROPPED, and what `check` throws
   */
  async *read(
    offset: number,
    length: number,
    check: AccessCheck,
    { bytesMax, allocate, isOnce }: Parts = wholePieces,
  ): AsyncGenerator<Uint8Array> {
    checkRange(offset, length, this.size());
    for (const [from, to] of cut(offset, offset + length, pieceSize)) {
      const [first, end] = sectorsAround(from, to);
      const start = first * sectorSize;
      const sealed = this.#scratch.take((end - first) * sectorSize);
      try {
        await repeatedIfDropped(() => this.#loadSealed(first, end, sealed, check, isOnce), check);
        for (const part of cut(from, to, bytesMax)) {
          yield await repeatedIfDropped(async () => {
            const bytes = this.#openPart(sealed, start, part, allocate);
            await check();
            return bytes;
          }, check);
        }
      } finally {
        this.#scratch.give(sealed);
      }
    }
  }

  /**
   * Writes `bytes` at `offset`; they are not changed. If it throws, any of its pieces may be written. The caller checks access
   * again before it acknowledges the write.
   * @throws Rejection OUT_OF_RANGE, DEK_DROPPED, and what `check` throws
   */
  async write(offset: number, bytes: Uint8Array, check: AccessCheck): Promise<void> {
    checkRange(offset, bytes.length, this.size());
    // A paused write waits here and not behind the gate: a copy of the disk waits for the writes behind the gate.
    await check();
    const range = { offset, length: bytes.length };
    await this.#volume.gate.write(range, () => this.#noted(this.#writePieces(offset, bytes, check)));
  }

  /**
   * Makes the whole sectors of a range read as zeros, as if they had never been written; partial sectors stay. Sectors that are holes
   * already are not written.
   * @throws as `write`
   */
  async discard(offset: number, length: number, check: AccessCheck): Promise<void> {
    checkRange(offset, length, this.size());
    const [first, end] = [
      Math.ceil(offset / sectorSize) * sectorSize,
      Math.floor((offset + length) / sectorSize) * sectorSize,
    ];
    await check();
    for (const piece of cut(first, end, pieceSize)) {
      const range = { offset: piece[0], length: piece[1] - piece[0] };
      await repeatedIfDropped(
        () => this.#volume.gate.write(range, () => this.#noted(this.#discardPiece(piece, check))),
        check,
      );
    }
  }

  /** Which parts of a range hold data, in order and without gaps: whole sectors, except at its ends. @throws as `read` */
  async extents(
    offset: number,
    length: number,
    check: AccessCheck,
  ): Promise<readonly { readonly length: number; readonly isHole: boolean }[]> {
    checkRange(offset, length, this.size());
    const found: { length: number; isHole: boolean }[] = [];
    const add = (bytes: number, isHole: boolean): void => {
      const last = found.at(-1);
      if (last?.isHole === isHole) last.length += bytes;
      else if (bytes > 0) found.push({ length: bytes, isHole });
    };
    for (const [from, to] of cut(offset, offset + length, pieceSize)) {
      const start = Math.floor(from / sectorSize) * sectorSize;
      const sealed = this.#scratch.take(Math.ceil(to / sectorSize) * sectorSize - start);
      try {
        await check();
        // Copying tools ask for extents in order not to read holes.
        await this.#volume.store.readOnce(start, sealed);
        let at = from;
        for (const [dataFrom, dataTo] of writtenRuns(sealed)) {
          add(Math.max(0, start + dataFrom - at), true);
          at = Math.max(at, start + dataFrom);
          add(Math.min(to, start + dataTo) - at, false);
          at = Math.min(to, start + dataTo);
        }
        add(to - at, true);
      } finally {
        this.#scratch.give(sealed);
      }
    }
    return found;
  }

  /** Makes every completed write durable. Needs no key and works after a loss. */
  flush(): Promise<void> {
    return this.#volume.store.flush();
  }

  /** Makes the disk larger; the new part reads as zeros. Needs no key. */
  grow(size: number): Promise<void> {
    return this.#volume.store.grow(size);
  }

  /** Runs `work` while no write to the volume is in progress. */
  withoutWrites<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.#volume.gate.withoutWrites(work);
  }

  /** Access ended: destroys the cipher. Reads and writes in progress fail with DEK_DROPPED at their next piece. */
  dropKey(): void {
    this.#cipher?.destroy();
    this.#cipher = undefined;
    if (this.#threadGate === undefined) return;
    this.#threadGate.revoke();
    this.#volume.gate.detach(this.#threadGate);
    this.#threadIdle = this.#threadGate.idle();
    this.#threadGate = undefined;
  }

  /**
   * Access was restored: replaces the cipher; one that is still there is destroyed.
   * @param threadGate lets another thread use the same DEK
   */
  giveKey(next: SectorCipher, threadGate?: ThreadGate): void {
    this.dropKey();
    this.#cipher = next;
    this.#threadGate = threadGate;
    if (threadGate) this.#volume.gate.attach(threadGate);
  }

  /** How another thread may use the disk; undefined without a key. */
  get threadGate(): ThreadGate | undefined {
    return this.#threadGate;
  }

  /**
   * Drops the key at once, and closes the volume after the writes in progress. A write that still waits at the gate is refused.
   * @param last is done after these writes and before the close
   */
  async close(last?: () => Promise<unknown> | undefined): Promise<void> {
    this.dropKey();
    await Promise.allSettled([...(this.#writes ?? []), this.#threadIdle]);
    try {
      await last?.();
    } finally {
      await this.#volume.close();
    }
  }

  async #noted(writing: Promise<void>): Promise<void> {
    this.#writes ??= new Set();
    this.#writes.add(writing);
    try {
      await writing;
    } finally {
      this.#writes.delete(writing);
    }
  }

  async #writePieces(offset: number, bytes: Uint8Array, check: AccessCheck): Promise<void> {
    for (const piece of cut(offset, offset + bytes.length, pieceSize)) {
      const part = bytes.subarray(piece[0] - offset, piece[1] - offset);
      await repeatedIfDropped(() => this.#writePiece(piece, part, check), check);
    }
  }

  /** @throws Rejection DEK_DROPPED */
  #currentCipher(): SectorCipher {
    if (this.#cipher) return this.#cipher;
    throw new Rejection('FAILED_PRECONDITION', 'DEK_DROPPED', 'the key of this disk was dropped; it must be unwrapped');
  }

  /** As `openSectors`. */
  #decrypt(from: number, source: Uint8Array, target: Uint8Array): void {
    openSectors(this.#currentCipher(), from / sectorSize, source, target);
  }

  /** Reads and decrypts whole sectors. */
  async #load(from: number, into: Uint8Array): Promise<void> {
    await this.#volume.store.read(from, into);
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

  /** Holds sectors [first, end), also against another thread. */
  #hold<Result>(first: number, end: number, use: RangeUse, work: () => Promise<Result>): Promise<Result> {
    const gate = this.#threadGate;
    return this.#lock.hold(first, end, use, gate ? () => gate.whileClosed(work) : work);
  }

  /** Reads sectors [first, end) as they are stored. */
  #loadSealed(
    first: number,
    end: number,
    sealed: Uint8Array,
    check: AccessCheck,
    isOnce: boolean | undefined,
  ): Promise<void> {
    const { store } = this.#volume;
    return this.#hold(first, end, 'read', async () => {
      await check();
      this.#currentCipher();
      await (isOnce ? store.readOnce(first * sectorSize, sealed) : store.read(first * sectorSize, sealed));
    });
  }

  #discardPiece([from, to]: Range, check: AccessCheck): Promise<void> {
    return this.#hold(from / sectorSize, to / sectorSize, 'write', async () => {
      await check();
      this.#currentCipher();
      const sealed = this.#scratch.take(to - from);
      try {
        await this.#volume.store.readOnce(from, sealed);
        const runs = [...writtenRuns(sealed)];
        sealed.fill(0);
        for (const [start, end] of runs) await this.#volume.store.write(from + start, sealed.subarray(start, end));
      } finally {
        this.#scratch.give(sealed);
      }
    });
  }

  #writePiece([from, to]: Range, bytes: Uint8Array, check: AccessCheck): Promise<void> {
    const [first, end] = sectorsAround(from, to);
    return this.#hold(first, end, 'write', async () => {
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
        await this.#volume.store.write(start, sealed);
      } finally {
        this.#scratch.give(sealed);
      }
    });
  }
}

/**
 * Does one piece. If the key was dropped or the file closed during the work, the check decides: it throws why, or waits until
 * both are back, and the piece is repeated.
 */
const repeatedIfDropped = async <Result>(
  piece: () => Promise<Result> | Result,
  check: AccessCheck,
): Promise<Result> => {
  for (let dropped = 0; ; dropped += 1) {
    try {
      return await piece();
    } catch (error) {
      const isDropped = error instanceof Rejection && regained.has(error.reason);
      if (!isDropped || dropped === droppedMax) throw error;
      await check();
    }
  }
};

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
