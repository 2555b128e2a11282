import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import type { Find, Scanner } from './scanner.ts';

/** The finds in the memory of a process. */
export interface MemorySearch {
  /** Readable bytes that were searched. */
  readonly bytes: number;
  readonly finds: readonly Find[];
}

const blockBytes = 4 * 1024 * 1024;

/**
 * Searches the memory of a process that this user may trace: all readable memory that belongs to it alone (files that it has
 * mapped to read are on disk anyway). The process may run; data that moves from a later to an earlier place is then missed.
 * @throws Error if the system forbids it
 */
export const searchMemory = (pid: number, scanner: Scanner): MemorySearch => {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const finds = new Map<string, Find>();
  let bytes = 0;
  try {
    for (const { from, to } of ownRegions(readFileSync(`/proc/${pid}/maps`, 'utf8'))) {
      const block = Buffer.alloc(Math.min(blockBytes, to - from) + scanner.overlap);
      for (let at = from; at < to; at += blockBytes) {
        const wanted = Math.min(block.length, to - at);
        const read = readHowFar(memory, block, wanted, at);
        bytes += Math.min(read, blockBytes);
        for (const find of scanner.scan(block.subarray(0, read))) {
          finds.set(`${find.name}\0${find.form}`, { ...find, at: at + find.at });
        }
      }
    }
  } finally {
    closeSync(memory);
  }
  return { bytes, finds: [...finds.values()] };
};

/** Regions that are readable and writable, or were; without those of the kernel. */
const ownRegions = (maps: string): readonly { readonly from: number; readonly to: number }[] =>
  maps.split('\n').flatMap((line) => {
    const [, from = '', to = '', access = '', name = ''] =
      /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$/.exec(line) ?? [];
    const isOwn = access.startsWith('rw') && !name.startsWith('[v');
    return isOwn ? [{ from: Number.parseInt(from, 16), to: Number.parseInt(to, 16) }] : [];
  });

/** If a page was unmapped after the list was read, the block ends there. */
const readHowFar = (memory: number, block: Buffer, length: number, at: number): number => {
  try {
    return readSync(memory, block, 0, length, at);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'EIO' || error.code === 'EFAULT')) return 0;
    throw error;
  }
};
