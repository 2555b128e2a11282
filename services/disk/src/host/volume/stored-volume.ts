import { createHash } from 'node:crypto';
import { headerSize } from '../header/disk-header.ts';
import type { DirtyPieces } from '../pieces/dirty-pieces.ts';
import { type BlockStore, writtenRuns } from '../storage/block-store.ts';
import { pieceSize, sectorSize } from '../storage/sector.ts';
import type { VolumeFiles } from '../storage/volume-files.ts';

/** A range of the sectors of a volume, in bytes. */
export interface StoredRange {
  readonly from: number;
  readonly to: number;
}

/** Bytes of a volume as they are stored: ciphertext, or a sealed key. */
export interface StoredPiece {
  readonly part: 'data' | 'layer';
  readonly offset: number;
  readonly data: Uint8Array;
}

/** Size of the part with the sealed key of a lower layer, in bytes. */
const layerSize = sectorSize;

/** Reads a range as it is stored; sectors of zeros are left out. What is written meanwhile may be read in part. */
export async function* readStored(raw: BlockStore, { from, to }: StoredRange): AsyncGenerator<StoredPiece> {
  const read = (at: number): Promise<Uint8Array> | undefined => {
    if (at >= to) return undefined;
    // Fresh memory: a message that is being sent refers to it.
    const piece = Buffer.allocUnsafeSlow(Math.min(pieceSize, to - at));
    const reading = raw.readOnce(at, piece).then(() => piece);
    // It fails where it is awaited, unless the reader has left.
    reading.catch(() => undefined);
    return reading;
  };
  let reading = read(from);
  for (let at = from; reading !== undefined; at += pieceSize) {
    const piece = await reading;
    // The next piece is read while this one is sent.
    reading = read(at + pieceSize);
    for (const [start, end] of writtenRuns(piece))
      yield { part: 'data', offset: at + start, data: piece.subarray(start, end) };
  }
}

/** A volume whose writes are followed. */
export interface FollowedVolume {
  /** What was written since it was taken last. */
  readonly dirty: DirtyPieces;
  /** Reads ranges as they are stored, zeros included: what is there already is replaced. */
  read(ranges: Iterable<StoredRange>): AsyncIterable<StoredPiece>;
  /** Resolves when no copy of the volume is made. */
  copied(): Promise<void>;
  /** Whether a copy of it is made now: `withoutWrites` would wait for its end. */
  isCopying(): boolean;
  /** Runs `work` while nothing writes to the volume. */
  withoutWrites<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Ends that. */
  end(): Promise<void>;
}

/** Reads ranges of at most one piece each as they are stored, zeros included. */
export async function* readWhole(raw: BlockStore, ranges: Iterable<StoredRange>): AsyncGenerator<StoredPiece> {
  for (const { from, to } of ranges) {
    // Fresh memory: a message that is being sent refers to it.
    const data = Buffer.allocUnsafeSlow(to - from);
    await raw.read(from, data);
    yield { part: 'data', offset: from, data };
  }
}

/** Makes the empty parts of a volume that will arrive under a new id. A repeat leaves them as they are. */
export const expectStored = async (
  files: VolumeFiles,
  volumeId: string,
  { sizeBytes, isLayered }: { readonly sizeBytes: number; readonly isLayered: boolean },
): Promise<void> => {
  await (await files.create(volumeId, 'data', sizeBytes)).close();
  await (await files.create(volumeId, 'header', headerSize)).close();
  if (isLayered) await (await files.create(volumeId, 'layer', layerSize)).close();
};

/**
 * Writes pieces of a volume that is expected, and makes them durable. A repeat replaces them.
 * @returns SHA-256 of all bytes in their order; undefined if the volume was removed
 * @throws Rejection OUT_OF_RANGE; RESOURCE_EXHAUSTED STORAGE_FULL; ABORTED DISK_BUSY; whatever `pieces` throws
 */
export const receiveStored = async (
  files: VolumeFiles,
  volumeId: string,
  pieces: AsyncIterable<StoredPiece>,
): Promise<Buffer | undefined> => {
  const digest = createHash('sha256');
  const parts = new Map<StoredPiece['part'], BlockStore>();
  let writing = Promise.resolve();
  try {
    const data = await files.open(volumeId, 'data');
    if (data === undefined) return undefined;
    parts.set('data', data);
    for await (const { part, offset, data: bytes } of pieces) {
      const into = parts.get(part) ?? (await files.open(volumeId, part));
      if (into === undefined) return undefined;
      parts.set(part, into);
      digest.update(bytes);
      // A piece is written while the next one arrives.
      await writing;
      writing = into.write(offset, bytes);
      writing.catch(() => undefined);
    }
    await writing;
    for (const part of parts.values()) await part.flush();
  } finally {
    for (const part of parts.values()) await part.close();
  }
  return digest.digest();
};
