import { pieceSize } from '../storage/sector.ts';

/** Which pieces of a volume were written since they were read: one bit for each piece, so 128 KiB for a disk of 1 TiB. */
export class DirtyPieces {
  readonly #bits: Uint8Array;
  readonly #sizeBytes: number;
  #count = 0;

  /** @param sizeBytes of the volume; writes beyond it are not followed */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
    this.#bits = new Uint8Array(Math.ceil(sizeBytes / pieceSize / 8));
  }

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Call it when the write has ended: a piece that was read during the write is read again. Both in bytes. */
  mark(offset: number, length: number): void {
    if (length === 0) return;
    const end = Math.min(offset + length, this.#sizeBytes);
    for (let piece = Math.floor(offset / pieceSize); piece * pieceSize < end; piece += 1) {
      if (this.#has(piece)) continue;
      this.#bits[piece >> 3] = (this.#bits[piece >> 3] ?? 0) | (1 << (piece & 7));
      this.#count += 1;
    }
  }

  /** Each in order, as a range in bytes. It is clean when it is yielded: read it after that. */
  *take(): Generator<{ readonly from: number; readonly to: number }> {
    for (const [at, bits] of this.#bits.entries()) {
      if (bits === 0) continue;
      for (let piece = at * 8; piece < at * 8 + 8; piece += 1) {
        if (!this.#has(piece)) continue;
        this.#bits[at] = (this.#bits[at] ?? 0) & ~(1 << (piece & 7));
        this.#count -= 1;
        yield { from: piece * pieceSize, to: Math.min((piece + 1) * pieceSize, this.#sizeBytes) };
      }
    }
  }

  #has(piece: number): boolean {
    return ((this.#bits[piece >> 3] ?? 0) & (1 << (piece & 7))) !== 0;
  }
}
