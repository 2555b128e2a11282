import { sectorSize } from './sector.ts';

/** What stands in the place of a sector that cannot be read: nothing that is written begins so, so it is taken for damaged. */
const unreadable = 0xff;

/**
 * Reads a small file whole; where that fails because the storage cannot read some of it (EIO), each sector by itself: one that
 * cannot be read does not take the others with it.
 * @param read some of it; fewer bytes where the file ends
 * @throws what `read` throws for another reason, and where not one sector can be read
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
