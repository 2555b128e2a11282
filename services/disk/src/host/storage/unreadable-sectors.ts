import { sectorSize } from './sector.ts';

/** The bytes of an unreadable sector. No written sector starts with them, so it counts as damaged. */
const unreadable = 0xff;

/**
 * Reads a small file at once. If the storage cannot read a part of it (EIO), reads each sector by itself, so that an unreadable
 * sector does not affect the others.
 * @param read reads a part; fewer bytes at the end of the file
 * @throws what `read` throws for another reason, or if no sector is readable
 */
export const readAround = (size: number, read: (offset: number, length: number) => Uint8Array): Uint8Array => {
  try {
    return read(0, size);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    const bytes = new Uint8Array(size).fill(unreadable);
    let readable = 0;
    for (let at = 0; at < size; at += sectorSize) {
      try {
        bytes.set(read(at, Math.min(sectorSize, size - at)), at);
        readable += 1;
      } catch (failure) {
        if (!isUnreadable(failure)) throw failure;
      }
    }
    if (readable === 0) throw error;
    return bytes;
  }
};

const isUnreadable = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'EIO';
