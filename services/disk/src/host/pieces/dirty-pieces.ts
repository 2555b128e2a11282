import { pieceSize } from '../storage/sector.ts';

/**
 * Bytes of a piece whose writes are followed. Smaller than a message: a guest with small writes all over its disk makes as many pieces
 * dirty as it writes, and each is sent again.
 */
export const followedSize = 64 * 1024;

/** Which pieces of a volume were written since they were read: one bit for each piece, so 2 MiB for a disk of 1 TiB. */
export class DirtyPieces {
  readonly #bits: Uint8Array;
  readonly #sizeBytes: number;
  #count = 0;

  /** @param sizeBytes of the volume; writes beyond it are not followed */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
    this.#bits = new Uint8Array(Math.ceil(sizeBytes / followedSize / 8));
  }

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#count * followedSize;
  }

  /** Call it when the write has ended: a piece that was read during the write is read again. Both in bytes. */
  mark(offset: number, length: number): void {
    if (length === 0) return;
    const end = Math.min(offset + length, this.#sizeBytes);
    for (let piece = Math.floor(offset / followedSize); piece * followedSize < end; piece += 1) {
      if (this.#has(piece)) continue;
      this.#bits[piece >> 3] = (this.#bits[piece >> 3] ?? 0) | (1 << (piece & 7));
      this.#count += 1;
    }
  }

  /**
   * Ranges of them in order, in bytes; neighbours are one range of at most `pieceSize`. A range is clean when it is yielded: read it
   * after that.
   */
  *take(): Generator<{ readonly from: number; readonly to: number }> {
    const pieces = this.#bits.length * 8;
    for (let first = this.#next(0); first < pieces; ) {
      let end = first;
      for (; this.#has(end) && (end - first) * followedSize < pieceSize; end += 1) {
        this.#bits[end >> 3] = (this.#bits[end >> 3] ?? 0) & ~(1 << (end & 7));
        this.#count -= 1;
      }
      yield { from: first * followedSize, to: Math.min(end * followedSize, this.#sizeBytes) };
      first = this.#next(end);
    }
  }

  /** The first dirty piece from that one on; beyond the last one if all others are clean. */
  #next(from: number): number {
    let piece = from;
    // Eight clean ones at once.
    while (piece >> 3 < this.#bits.length && !this.#has(piece)) {
      piece = this.#bits[piece >> 3] === 0 ? (piece | 7) + 1 : piece + 1;
    }
    return piece;
  }

  #has(piece: number): boolean {
    return ((this.#bits[piece >> 3] ?? 0) & (1 << (piece & 7))) !== 0;
  }
}
