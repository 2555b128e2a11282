import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { pieceSize } from './sector.ts';

/** The little of WebAssembly that is used here: its types come only with those of a browser. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
};

/** Reads in progress at once: the pool of Node has as many threads. */
const slots = 4;
/** Bytes of one page of WebAssembly memory. */
const wasmPageSize = 65_536;

/** Memory that begins at a page: the kernel writes into it without the page cache (open(2), O_DIRECT). Buffers of Node do not. */
const free: Uint8Array[] = [];
const waiting: ((slot: Uint8Array) => void)[] = [];
let isAllocated = false;

const take = (): Promise<Uint8Array> => {
  if (!isAllocated) {
    isAllocated = true;
    const { buffer } = new WebAssembly.Memory({ initial: (slots * pieceSize) / wasmPageSize });
    for (let n = 0; n < slots; n += 1) free.push(new Uint8Array(buffer, n * pieceSize, pieceSize));
  }
  const slot = free.pop();
  return slot ? Promise.resolve(slot) : new Promise((resolve) => waiting.push(resolve));
};

const give = (slot: Uint8Array): void => {
  const next = waiting.shift();
  if (next) next(slot);
  else free.push(slot);
};

/**
 * Reads sectors of a file past the page cache. A hole then costs no memory: through the cache, the first read of 1 GiB of holes
 * fills 1 GiB of it. The bytes are ciphertext, so nothing has to be overwritten.
 * @param into whole sectors; `offset` is at a sector
 * @returns the number of bytes read: at most a piece, 0 at the end of the file
 * @throws Error of the file system, with code EINVAL where it has no direct reads
 */
export const readDirectly = async (path: string, into: Uint8Array, offset: number): Promise<number> => {
  const slot = await take();
  let file: FileHandle | undefined;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_DIRECT);
    const { bytesRead } = await file.read(slot, 0, Math.min(into.length, pieceSize), offset);
    into.set(slot.subarray(0, bytesRead));
    return bytesRead;
  } finally {
    give(slot);
    await file?.close();
  }
};
