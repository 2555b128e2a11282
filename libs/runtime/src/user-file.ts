import { closeSync, constants, fstatSync, openSync, readSync, realpathSync, type Stats } from 'node:fs';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';

/** A file that is named by a user, or in a file of a user, and cannot be used. The message names it, and says what is allowed. */
export class UserFileError extends Error {
  override readonly name = 'UserFileError';
}

/** Most bytes of a file that is read as a whole: 64 MiB. A list of 10,000 machines as Azure prints it has 40 MiB. */
export const USER_FILE_BYTES_MAX = 64 * 1_024 * 1_024;

/** Bytes of one read. */
const pieceBytes = 64 * 1_024;

/**
 * Reads a whole file that a user names. Only regular files: a device or a pipe may have no end, or wait forever.
 * @param path a number is an open file, for standard input: that may be a pipe
 * @throws UserFileError for anything but a regular file, and for more bytes than allowed; the error of the file system if it cannot be opened
 */
export function readUserFile(path: string | 0, bytesMax = USER_FILE_BYTES_MAX): Buffer {
  if (path === 0) return wholeOf(0, 'standard input', bytesMax);
  // A pipe without a writer is opened at once, so that it can be refused.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const found = fstatSync(file);
    if (!found.isFile()) throw new UserFileError(`${path} is ${kindOf(found)}; only regular files are read`);
    if (found.size > bytesMax) throw tooLarge(path, bytesMax);
    return wholeOf(file, path, bytesMax);
  } finally {
    closeSync(file);
  }
}

/** Reads to the end: the size that the system reports may be 0 (files of /proc), and a file may grow. */
function wholeOf(file: number, name: string, bytesMax: number): Buffer {
  const pieces: Buffer[] = [];
  for (let bytes = 0; ; ) {
    const piece = Buffer.allocUnsafe(pieceBytes);
    const count = readNext(file, piece);
    if (count === 0) return Buffer.concat(pieces);
    bytes += count;
    if (bytes > bytesMax) throw tooLarge(name, bytesMax);
    pieces.push(piece.subarray(0, count));
  }
}

/** Wait for a slow writer of standard input, in milliseconds. */
const waitMs = 5;

function readNext(file: number, piece: Buffer): number {
  for (;;) {
    try {
      return readSync(file, piece);
    } catch (error) {
      const code = error instanceof Error ? Reflect.get(error, 'code') : undefined;
      if (code === 'EOF') return 0;
      // Standard input that another process has made non-blocking.
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, waitMs);
    }
  }
}

const kindOf = (found: Stats): string => {
  if (found.isDirectory()) return 'a folder';
  if (found.isFIFO()) return 'a pipe (as standard input, -, a command reads it)';
  return found.isSocket() ? 'a socket' : 'a device';
};

const tooLarge = (name: string, bytesMax: number): UserFileError =>
  new UserFileError(`${name} has more than ${bytesMax} bytes, the most that is read`);

/** Whether a path is a folder or below it, by its text alone. */
const isBelow = (folder: string, path: string): boolean => {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
};

/**
 * Whether a file is in a folder, or below it. A link counts as what it leads to.
 * @throws the error of the file system if one of them does not exist
 */
export const isInFolder = (folder: string, path: string): boolean => isBelow(realpathSync(folder), realpathSync(path));

/**
 * The path of a file in a folder, by a name from data that someone else may have written.
 * @param name relative, with `/`: `run-1/traces.jsonl`
 * @throws UserFileError for a name that is empty, absolute, or leads out of the folder
 */
export const pathInFolder = (folder: string, name: string): string => {
  const path = join(folder, name);
  const isPlain = name !== '' && !isAbsolute(name) && !/[\0\\]/.test(name);
  if (!isPlain || resolve(path) === resolve(folder) || !isBelow(resolve(folder), resolve(path)))
    throw new UserFileError(`${JSON.stringify(name)} is no path of a file in ${folder}`);
  return path;
};

/** A text from data as one part of a path: letters, digits, `.`, `_` and `-`; other characters become `-`. */
export const pathPart = (text: string): string => {
  const part = text.replace(/[^\w.-]/g, '-').slice(0, 100);
  return /^\.*$/.test(part) ? '-' : part;
};
