import { existsSync, readFileSync } from 'node:fs';
import { openRotatingFile } from './rotating-file.ts';

/** One read, write, flush or check of a guest and its outcome: evidence for tests and operators. */
export interface JournalEntry {
  readonly disk: string;
  /** `verify`: a read of what an earlier run of this machine wrote. `adopt`: from here on the disk is this machine's. */
  readonly op: 'write' | 'read' | 'verify' | 'flush' | 'adopt';
  /** In bytes, like `length`; 0 for `flush` and `adopt`. */
  readonly offset: number;
  readonly length: number;
  /** Number of the write, or of the newest write a read expects; rises by one on each disk. A write that is repeated keeps its number. */
  readonly seq: number;
  /** Milliseconds since the Unix epoch. */
  readonly invokedAt: number;
  readonly completedAt: number;
  /** Milliseconds of the monotonic clock of this host, the same for all its processes. */
  readonly invokedMonotonicMs: number;
  readonly completedMonotonicMs: number;
  readonly ok: boolean;
  /** The reason of a failure: of the disk service, a status, or CONTENT_MISMATCH. */
  readonly reason?: string;
}

export interface Journal {
  /**
   * Hands the entry to the operating system before it returns, so that it survives a kill of the guest. Without space for it, the
   * entry waits in memory.
   */
  append(entry: JournalEntry): void;
  /** Stores what waits. @returns whether every entry is stored */
  isStored(): boolean;
  close(): void;
}

/** A journal of this size begins a new file; one older file is kept, so twice as much is the bound. */
const fileBytesMax = 16 * 1024 * 1024;

/** Opens a journal and continues an existing one. */
export const openJournal = (
  path: string,
  bytesMax = fileBytesMax,
  options: Parameters<typeof openRotatingFile>[2] = {},
): Journal => {
  const file = openRotatingFile(path, bytesMax, options);
  return {
    append: (entry) => file.append(Buffer.from(`${JSON.stringify(entry)}\n`)),
    isStored: () => file.flush(),
    close: () => file.close(),
  };
};

/** Every entry that is left, oldest first. A line cut by the end of a machine is skipped. */
export const readJournal = (path: string): readonly JournalEntry[] =>
  [`${path}.1`, path]
    .filter((file) => existsSync(file))
    .flatMap((file) => readFileSync(file, 'utf8').split('\n'))
    .flatMap((line) => entryOf(line) ?? []);

/** The entry of a line; `undefined` for a truncated line. */
export const entryOf = (line: string): JournalEntry | undefined => {
  if (!line.endsWith('}')) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    // Two runs wrote one line: the first was killed within it.
    return undefined;
  }
};
