import { pieceSize } from './sector.ts';

/** Buffers for ciphertext on its way, used again and again: a fresh one a piece would keep the garbage collector busy. */
export interface Scratch {
  /** A buffer of `length` bytes, at most `pieceSize`, with anything in it. It is the caller's until it is given back. */
  take(length: number): Uint8Array;
  /** Gives a taken buffer back. It must not be used afterwards, by the operating system neither. */
  give(buffer: Uint8Array): void;
}

/** Below this a buffer of its own costs less than one of a whole piece that lies mostly idle. */
const shortLength = 65_536;

/** Most idle buffers. */
const idleMax = 32;

/** Nothing is kept yet. */
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
