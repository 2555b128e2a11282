import { fstatSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { isSpaceError } from './space-error.ts';

/** Writes lines of a log. */
export interface LogLines {
  /**
   * Writes one line, given without its line end. A line for which storage has no space is lost and counted: the log must not end
   * the process.
   * @param lossLine the line that reports how many were lost, written before the next line that has space
   */
  write(line: string, lossLine: (count: number) => string): void;
}

/** @param write writes bytes at the end of a file, at least one. @returns how many */
export const logLines = (write: (bytes: Uint8Array) => number): LogLines => {
  let lost = 0;
  let isCut = false;
  /** @returns whether all of it was written */
  const put = (text: string): boolean => {
    let left = Buffer.from(`${isCut ? '\n' : ''}${text}\n`);
    const { length } = left;
    try {
      while (left.length > 0) left = left.subarray(write(left));
      isCut = false;
      return true;
    } catch (error) {
      if (!isSpaceError(error)) throw error;
      isCut ||= left.length < length;
      return false;
    }
  };
  return {
    write(line, lossLine) {
      if (lost > 0 && put(lossLine(lost))) lost = 0;
      if (lost > 0 || !put(line)) lost += 1;
    },
  };
};

/** Whether standard error is a file (of a launcher or a user), and not a terminal or a pipe. */
const isFile = (): boolean => {
  try {
    const stat = fstatSync(2);
    return !stat.isFIFO() && !stat.isSocket() && !isatty(2);
  } catch {
    // It is closed: then nothing can be written, however it is tried.
    return false;
  }
};

/** The standard error of this process. A line is written before `write` returns, so that it is not lost with the process. */
export const standardError = (): LogLines =>
  isFile() ? logLines((bytes) => writeSync(2, bytes)) : { write: (line) => void process.stderr.write(`${line}\n`) };
