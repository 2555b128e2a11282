import { pieceSize } from '../storage/sector.ts';

/** Reused buffers for ciphertext: a fresh one for each piece would keep the garbage collector busy. */
export interface Scratch {
  /** A buffer of `length` bytes, at most `pieceSize`, with arbitrary content. It belongs to the caller until `give`. */
  take(length: number): Uint8Array;
  /** Gives a taken buffer back. It must not be used afterwards, not by the operating system either. */
  give(buffer: Uint8Array): void;
}

/** Below this length a new buffer costs less than one of a whole piece that is mostly unused. */
const shortLength = 65_536;

/** Most idle buffers. */
const idleMax = 32;

/** Creates a scratch without buffers. */
export const createScratch = (): Scratch => {
  const idle: ArrayBufferLike[] = [];
  return {
    take: (length) =>
      length <= shortLength
        ? Buffer.allocUnsafeSlow(length)
        : new Uint8Array(idle.pop() ?? Buffer.allocUnsafeSlow(pieceSize).buffer, 0, length),
    give({ buffer }) {
      if (buffer.byteLength === pieceSize && idle.length < idleMax) idle.push(buffer);
    },
  };
};
