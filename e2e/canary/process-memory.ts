import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import type { Find, Scanner } from './scanner.ts';

/** The finds in the memory of a process. */
export interface MemorySearch {
  /** Readable bytes that were searched. */
  readonly bytes: number;
  readonly finds: readonly Find[];
}

const blockBytes = 4 * 1024 * 1024;
const pageBytes = 4_096;
/** Bytes of an entry of `/proc/<pid>/pagemap`, one for each page. Its highest two bits: present, swapped out (proc_pid_pagemap(5)). */
const entryBytes = 8;
const usedBits = 0xc0;

/**
 * Searches the memory of a process that this user may trace: all readable memory that belongs to it alone (files that it has
 * mapped to read are on disk anyway) and that it has used. The process may run; data that moves from a later to an earlier place
 * is then missed.
 * @throws Error if the system forbids it
 */
export const searchMemory = (pid: number, scanner: Scanner): MemorySearch => {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const pages = openSync(`/proc/${pid}/pagemap`, 'r');
  const finds = new Map<string, Find>();
  const block = Buffer.alloc(blockBytes + scanner.overlap);
  let bytes = 0;
  try {
    for (const region of ownRegions(readFileSync(`/proc/${pid}/maps`, 'utf8'))) {
      for (const { from, to } of usedRanges(pages, region)) {
        for (let at = from; at < to; at += blockBytes) {
          const read = readHowFar(memory, block, Math.min(block.length, to - at), at);
          bytes += Math.min(read, blockBytes);
          for (const find of scanner.scan(block.subarray(0, read))) {
            finds.set(`${find.name}\0${find.form}`, { ...find, at: at + find.at });
          }
        }
      }
    }
  } finally {
    closeSync(memory);
    closeSync(pages);
  }
  return { bytes, finds: [...finds.values()] };
};

/** Part of the memory of a process, by addresses. */
interface Range {
  readonly from: number;
  readonly to: number;
}

/**
 * The ranges of pages of a region that the process has used. Most of what Node reserves is unused, and to read an unused page costs
 * more than to search a used one.
 */
function* usedRanges(pages: number, { from, to }: Range): Generator<Range> {
  const entries = Buffer.alloc(((to - from) / pageBytes) * entryBytes);
  const read = readHowFar(pages, entries, entries.length, (from / pageBytes) * entryBytes);
  let start: number | undefined;
  for (let entry = 0; entry < read; entry += entryBytes) {
    const isUsed = ((entries[entry + entryBytes - 1] ?? 0) & usedBits) !== 0;
    const at = from + (entry / entryBytes) * pageBytes;
    if (isUsed) start ??= at;
    if (isUsed || start === undefined) continue;
    yield { from: start, to: at };
    start = undefined;
  }
  if (start !== undefined) yield { from: start, to };
}

/** Regions that are readable and writable, or were; without those of the kernel. */
const ownRegions = (maps: string): readonly Range[] =>
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
