import { closeSync, fstatSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { isSpaceError } from '@interlock/runtime/space-error';

/**
 * A file that is appended to. At its size limit it becomes `<path>.1`, in place of an earlier one: twice the limit is the bound.
 * Storage may have no space: then bytes wait in memory, in their order.
 */
export interface RotatingFile {
  /** Hands the bytes to the operating system before it returns, or keeps them. They are never divided between two files. */
  append(bytes: Uint8Array): void;
  /** Writes what waits. @returns whether nothing waits any more */
  flush(): boolean;
  close(): void;
}

/** Writes bytes at the end of an open file. @returns how many; fewer when space ends */
type Write = (file: number, bytes: Uint8Array) => number;

/** Most bytes that wait for space. Callers that wait for `flush` stay far below. */
const waitingBytesMax = 2 ** 20;

/**
 * Opens a file, for its owner only, and continues an existing one.
 * @param parts `isLossy`: bytes without space are dropped; `write`: for tests
 */
export const openRotatingFile = (
  path: string,
  bytesMax: number,
  { isLossy = false, write = writeSync }: { readonly isLossy?: boolean; readonly write?: Write } = {},
): RotatingFile => new AppendedFile(path, bytesMax, { isLossy, write });

class AppendedFile implements RotatingFile {
  readonly #path: string;
  readonly #bytesMax: number;
  readonly #isLossy: boolean;
  readonly #write: Write;
  #file: number | undefined;
  #size = 0;
  #waiting: Uint8Array[] = [];
  /** Whether the first waiting bytes are the rest of bytes that are in the file in part. */
  #isCut = false;

  constructor(
    path: string,
    bytesMax: number,
    { isLossy, write }: { readonly isLossy: boolean; readonly write: Write },
  ) {
    this.#path = path;
    this.#bytesMax = bytesMax;
    this.#isLossy = isLossy;
    this.#write = write;
    this.#opened();
    // The last run ended within a line, because storage was full: its rest is lost, and the next line begins on its own.
    if (this.#size > 0 && lastByte(path, this.#size) !== lineFeed) this.#waiting.push(Uint8Array.of(lineFeed));
  }

  append(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    if (this.flush() || !this.#isLossy) {
      const waiting = this.#waiting.reduce((sum, { length }) => sum + length, 0);
      if (waiting > waitingBytesMax)
        throw new Error(`no space left for ${this.#path}, and ${waiting} bytes wait for it`);
    } else this.#waiting = this.#waiting.slice(0, this.#isCut ? 1 : 0);
  }

  flush(): boolean {
    try {
      for (let [bytes] = this.#waiting; bytes !== undefined; [bytes] = this.#waiting) {
        if (!this.#isCut && this.#size > 0 && this.#size + bytes.length > this.#bytesMax) this.#rotate();
        const written = this.#write(this.#opened(), bytes);
        this.#size += written;
        this.#isCut = written < bytes.length;
        if (this.#isCut) this.#waiting[0] = bytes.subarray(written);
        else this.#waiting.shift();
      }
      return true;
    } catch (error) {
      if (isSpaceError(error)) return false;
      throw error;
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #opened(): number {
    if (this.#file === undefined) {
      this.#file = openSync(this.#path, 'a', 0o600);
      this.#size = fstatSync(this.#file).size;
    }
    return this.#file;
  }

  #rotate(): void {
    this.close();
    renameSync(this.#path, `${this.#path}.1`);
  }
}

const lineFeed = 10;

const lastByte = (path: string, size: number): number | undefined => {
  const file = openSync(path, 'r');
  try {
    const byte = new Uint8Array(1);
    readSync(file, byte, 0, 1, size - 1);
    return byte[0];
  } finally {
    closeSync(file);
  }
};
