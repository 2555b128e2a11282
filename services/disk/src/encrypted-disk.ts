import { Rejection } from '@interlock/event-store';
import { type BlockStore, writtenRuns } from './block-store.ts';
import { createRangeLock } from './range-lock.ts';
import { pieceSize, sectorSize } from './sector.ts';
import type { SectorCipher } from './xts.ts';

/**
 * Decides whether this read or write may still go on; throws what the caller is to be told. It may wait (I/O is paused
 * while the vault cannot be reached).
 */
export type AccessCheck = () => void | Promise<void>;

/**
 * A disk as a guest sees it: bytes at offsets, encrypted sector by sector on their way to the store. Rules CMK-08, 09.
 *
 * Access is checked before each piece of at most 1 MiB is touched, and again when it is done, before it is answered or the
 * next one is begun: a key can be lost, and a process be stopped for any time, while the store and the cipher work (G1).
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
   * The bytes from `offset` on, in order, in pieces of at most 1 MiB that belong to the receiver.
   * @throws Rejection OUT_OF_RANGE, DEK_DROPPED, and what `check` throws.
   */
  read(offset: number, length: number, check: AccessCheck): AsyncGenerator<Uint8Array>;
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

/** Times a piece is begun again whose key was dropped under it. */
const droppedMax = 3;

/** Puts a cipher over a store. The disk owns both from now on; without a cipher it waits for `giveKey`. */
export function createEncryptedDisk(store: BlockStore, initialCipher?: SectorCipher): EncryptedDisk {
  const lock = createRangeLock();
  let cipher = initialCipher;

  const currentCipher = (): SectorCipher => {
    if (cipher) return cipher;
    throw new Rejection('FAILED_PRECONDITION', 'DEK_DROPPED', 'the key of this disk was dropped; it must be unwrapped');
  };
  const dropKey = () => {
    cipher?.destroy();
    cipher = undefined;
  };

  /** Reads and decrypts whole sectors. Holes stay zeros. */
  const load = async (from: number, into: Uint8Array) => {
    await store.read(from, into);
    const sectors = currentCipher();
    for (const [start, end] of writtenRuns(into)) {
      const run = into.subarray(start, end);
      sectors.decrypt((from + start) / sectorSize, run, run);
    }
  };

  /**
   * Does one piece and checks once more. Where the key was dropped while the store worked, the check decides: it throws why,
   * or waits until the key is back, and the piece is begun again.
   */
  const checkedPiece = async <Result>(piece: () => Promise<Result>, check: AccessCheck): Promise<Result> => {
    for (let dropped = 0; ; dropped += 1) {
      try {
        const result = await piece();
        await check();
        return result;
      } catch (error) {
        const isDropped = error instanceof Rejection && error.reason === 'DEK_DROPPED';
        if (!isDropped || dropped === droppedMax) throw error;
        await check();
      }
    }
  };

  const readPiece = (from: number, to: number, check: AccessCheck) => {
    const [first, end] = sectorsAround(from, to);
    return lock.hold(first, end, 'read', async () => {
      await check();
      currentCipher();
      const sectors = Buffer.allocUnsafeSlow((end - first) * sectorSize);
      await load(first * sectorSize, sectors);
      return sectors.subarray(from - first * sectorSize, to - first * sectorSize);
    });
  };

  const writePiece = (from: number, bytes: Uint8Array, check: AccessCheck) => {
    const to = from + bytes.length;
    const [first, end] = sectorsAround(from, to);
    return lock.hold(first, end, 'write', async () => {
      await check();
      currentCipher();
      const start = first * sectorSize;
      const sealed = Buffer.allocUnsafeSlow((end - first) * sectorSize);
      let plain = bytes;
      if (sealed.length !== bytes.length) {
        // Read-modify-write: only the sectors at the edges keep bytes of their own.
        plain = sealed;
        const lastAt = sealed.length - sectorSize;
        if (from !== start) await load(start, sealed.subarray(0, sectorSize));
        const isLastLoaded = from !== start && lastAt === 0;
        if (to !== start + sealed.length && !isLastLoaded) await load(start + lastAt, sealed.subarray(lastAt));
        sealed.set(bytes, from - start);
      }
      currentCipher().encrypt(first, plain, sealed);
      await store.write(start, sealed);
    });
  };

  return {
    size: () => store.size(),
    async *read(offset, length, check) {
      checkRange(offset, length, store.size());
      for (const [from, to] of pieces(offset, length)) {
        yield await checkedPiece(() => readPiece(from, to, check), check);
      }
    },
    async write(offset, bytes, check) {
      checkRange(offset, bytes.length, store.size());
      for (const [from, to] of pieces(offset, bytes.length)) {
        await checkedPiece(() => writePiece(from, bytes.subarray(from - offset, to - offset), check), check);
      }
    },
    flush: () => store.flush(),
    grow: (size) => store.grow(size),
    dropKey,
    giveKey(next) {
      dropKey();
      cipher = next;
    },
    async close() {
      dropKey();
      await store.close();
    },
  };
}

const sectorsAround = (from: number, to: number): [first: number, end: number] => [
  Math.floor(from / sectorSize),
  Math.ceil(to / sectorSize),
];

/** Cuts a range where the disk has multiples of the piece size, so that only its two ends can be unaligned. */
function* pieces(offset: number, length: number): Generator<readonly [from: number, to: number]> {
  const end = offset + length;
  for (let from = offset; from < end; ) {
    const to = Math.min(end, (Math.floor(from / pieceSize) + 1) * pieceSize);
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
