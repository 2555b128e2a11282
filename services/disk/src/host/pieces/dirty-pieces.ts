import { pieceSize } from '../storage/sector.ts';

/** Bytes of the smallest piece: a guest with small writes all over its disk makes as many pieces dirty as it writes. */
const smallestSize = 64 * 1024;
/** Most bits of a volume, while its pieces are smaller than a message of a move: 2 MiB of memory. */
const bitsMax = 2 ** 24;

/**
 * Which pieces of a volume were written since they were read. A piece has 64 KiB up to 1 TiB; those of larger disks are larger, at most
 * `pieceSize`, so that the bits of one volume take 2 MiB up to 16 TiB, and 8 MiB for the largest disk, of 64 TiB.
 */
export class DirtyPieces {
  readonly #bits: Uint8Array;
  readonly #sizeBytes: number;
  readonly #pieceBytes: number;
  #count = 0;

  /** @param sizeBytes of the volume; writes beyond it are not followed */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
    let pieceBytes = smallestSize;
    while (pieceBytes < pieceSize && sizeBytes > pieceBytes * bitsMax) pieceBytes *= 2;
    this.#pieceBytes = pieceBytes;
    this.#bits = new Uint8Array(Math.ceil(sizeBytes / pieceBytes / 8));
  }

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#count * this.#pieceBytes;
  }

  /** Call it when the write has ended: a piece that was read during the write is read again. Both in bytes. */
  mark(offset: number, length: number): void {
    if (length === 0) return;
    const end = Math.min(offset + length, this.#sizeBytes);
    for (let piece = Math.floor(offset / this.#pieceBytes); piece * this.#pieceBytes < end; piece += 1) {
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
      for (; this.#has(end) && (end - first) * this.#pieceBytes < pieceSize; end += 1) {
        this.#bits[end >> 3] = (this.#bits[end >> 3] ?? 0) & ~(1 << (end & 7));
        this.#count -= 1;
      }
      yield { from: first * this.#pieceBytes, to: Math.min(end * this.#pieceBytes, this.#sizeBytes) };
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
