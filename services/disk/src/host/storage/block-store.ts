import { Rejection } from '@interlock/event-store/rejection';
import { pieceSize, sectorSize } from './sector.ts';

/**
 * The storage of the sectors of one disk, without knowledge of keys. Offsets and lengths are whole sectors of 4 KiB. Sectors
 * never written read as zeros and take no space.
 *
 * After a crash a sector written since the last `flush` may hold its old content, its new content, or a mixture of both
 * (a torn write); a flushed one holds what was written. No order is promised among unflushed writes.
 *
 * Errors: Rejection OUT_OF_RANGE OUT_OF_RANGE, FAILED_PRECONDITION STORE_CLOSED; writing and growing: RESOURCE_EXHAUSTED
 * STORAGE_FULL, FAILED_PRECONDITION SIZE_NOT_STORABLE; opening: ABORTED DISK_BUSY while
 * another holder, in this process or another, has the store open.
 */
export interface BlockStore {
  /** Bytes; grows only. */
  size(): number;
  /** Fills `into` from `offset` on. */
  read(offset: number, into: Uint8Array): Promise<void>;
  /**
   * `read` of what will not be read again soon, as in a copy: it leaves no trace in the cache of the operating system. Writes that a
   * failed flush lost it may read as they are on storage, while `read` still has them.
   */
  readOnce(offset: number, into: Uint8Array): Promise<void>;
  /** Resolves when the bytes are with the store (a later `read` sees them), not when they are durable. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /**
   * Everything written before the call, and the size, is on stable storage when it resolves. If it fails, earlier writes may be
   * lost although they read back, and a later flush may resolve nevertheless (`Flushes`).
   */
  flush(): Promise<void>;
  /**
   * `write`, `flush` of the written bytes and `read` of the same range in one call, for small critical data.
   * @returns whether it reads back as it was written
   */
  writeDurably(offset: number, bytes: Uint8Array): Promise<boolean>;
  /** Makes the store `size` bytes long; what is added reads as zeros. @throws Rejection OUT_OF_RANGE when smaller. */
  grow(size: number): Promise<void>;
  /** Bytes of storage in use. */
  allocatedBytes(): Promise<number>;
  /** Closes the store without a flush. A repeat does nothing. */
  close(): Promise<void>;
}

/** @throws Rejection OUT_OF_RANGE unless the range is whole sectors within `size`. */
export function checkSectors(offset: number, length: number, size: number): void {
  const areSectors = [offset, length].every((value) => Number.isSafeInteger(value) && value % sectorSize === 0);
  if (areSectors && offset >= 0 && offset + length <= size) return;
  throw new Rejection(
    'OUT_OF_RANGE',
    'OUT_OF_RANGE',
    `offset ${offset} and length ${length} must be whole sectors of ${sectorSize} bytes within ${size} bytes`,
    { offset: String(offset), length: String(length), size: String(size) },
  );
}

/** @throws Rejection OUT_OF_RANGE unless `size` is whole sectors and not below `current`. */
export function checkGrowth(size: number, current: number): void {
  if (Number.isSafeInteger(size) && size % sectorSize === 0 && size >= current) return;
  throw new Rejection(
    'OUT_OF_RANGE',
    'OUT_OF_RANGE',
    `size is ${size}; it must be whole sectors of ${sectorSize} bytes and not below ${current}`,
    { size: String(size), current: String(current) },
  );
}

/** `writeDurably` step by step, for stores that gain nothing from one call. */
export const writesDurably =
  (store: Pick<BlockStore, 'write' | 'flush' | 'read'>): BlockStore['writeDurably'] =>
  async (offset, bytes) => {
    await store.write(offset, bytes);
    await store.flush();
    const back = new Uint8Array(bytes.length);
    await store.read(offset, back);
    return Buffer.compare(back, bytes) === 0;
  };

/** A closed store refuses everything. */
export const storeClosed = (): Rejection =>
  new Rejection('FAILED_PRECONDITION', 'STORE_CLOSED', 'this store of a disk was closed; open it again');

/** The Rejection for storage that is full or cannot store that size; any other failure unchanged. */
export const storageRefusal = <Failure>(error: Failure): Failure | Rejection => {
  switch (error instanceof Error && 'code' in error ? error.code : undefined) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new Rejection(
        'RESOURCE_EXHAUSTED',
        'STORAGE_FULL',
        'the storage of this disk host is full',
        {},
        { cause: error },
      );
    case 'EFBIG':
      return new Rejection(
        'FAILED_PRECONDITION',
        'SIZE_NOT_STORABLE',
        'the file system of this disk host has no room for a file of that size, whatever is written to it',
        {},
        { cause: error },
      );
    default:
      return error;
  }
};

/** The store is open elsewhere. @param name of the store, for the message */
export const diskBusy = (name: string): Rejection =>
  new Rejection('ABORTED', 'DISK_BUSY', `${name} is open elsewhere; two hosts must never write one disk`, {
    disk: name,
  });

/** A sector never written. It must not be changed. */
export const zeroSector: Uint8Array = new Uint8Array(sectorSize);

/** Whether all bytes of one sector are zero. */
export function isZeroSector(bytes: Uint8Array): boolean {
  // Nearly every written sector differs at once; the comparison of the whole is for the rest.
  return bytes[0] === 0 && bytes[1] === 0 && Buffer.compare(bytes, zeroSector) === 0;
}

/** The runs of sectors in `bytes` that are not all zero, as offsets [from, to). */
export function* writtenRuns(bytes: Uint8Array): Generator<readonly [from: number, to: number]> {
  let from = -1;
  for (let at = 0; at <= bytes.length; at += sectorSize) {
    const isHole = at === bytes.length || isZeroSector(bytes.subarray(at, at + sectorSize));
    if (!isHole && from < 0) from = at;
    if (isHole && from >= 0) {
      yield [from, at];
      from = -1;
    }
  }
}

/**
 * Copies every sector as it is (for a disk: ciphertext) to a fresh store at least as large, and flushes it. Holes stay holes. It
 * goes through memory: Node's reflink call removes a target that the file system cannot share blocks with, open or not. The
 * caller keeps writers away meanwhile.
 * @param check called before each piece; what it throws ends the copy
 */
export async function copySectors(
  source: BlockStore,
  target: BlockStore,
  check: () => void | Promise<void>,
): Promise<void> {
  checkSectors(0, source.size(), target.size());
  const buffer = Buffer.allocUnsafeSlow(Math.min(pieceSize, source.size()));
  for (let offset = 0; offset < source.size(); offset += pieceSize) {
    const piece = buffer.subarray(0, Math.min(pieceSize, source.size() - offset));
    await check();
    await source.readOnce(offset, piece);
    for (const [from, to] of writtenRuns(piece)) await target.write(offset + from, piece.subarray(from, to));
  }
  await target.flush();
}
