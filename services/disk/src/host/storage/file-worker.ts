import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { parentPort } from 'node:worker_threads';
import { packed } from './packing.ts';
import { readAround } from './unreadable-sectors.ts';

/**
 * A thread that works on small files, one call after another. It is an entry point, like a `main.ts`. Each call opens its file:
 * that costs less than two messages about an open file. Calls of about the same time arrive in one message: a call to the pool
 * of Node would cost ten times as much processor time as the file system needs for it.
 */
export type FileCall =
  /** Opens a file that exists. */
  | { readonly call: 'open'; readonly path: string }
  /** Opens a file. A missing one is created durably with `size` bytes. */
  | { readonly call: 'create'; readonly path: string; readonly size: number }
  /** Reads the whole of a file; sectors that cannot be read hold 0xff (`readAround`). */
  | { readonly call: 'load'; readonly path: string }
  /** Writes it all. `isDurable`: flushes it as well, and compares it with what reads back. */
  | {
      readonly call: 'write';
      readonly path: string;
      readonly offset: number;
      readonly bytes: Uint8Array;
      readonly isDurable: boolean;
    }
  | { readonly call: 'flush'; readonly path: string }
  | { readonly call: 'close'; readonly fd: number };

/** One message. */
export interface FileCalls {
  readonly calls: readonly FileCall[];
  /** The data of their writes. The thread owns it from here on. */
  readonly written: ArrayBuffer;
}

/** An open file: the descriptor is the process's, so every thread may use it. */
export interface OpenedFile {
  readonly fd: number;
  /** Bytes. */
  readonly size: number;
}

/** The result of each call. */
export interface FileAnswers {
  /** Undefined: there is no such file. */
  readonly open: OpenedFile | undefined;
  readonly create: OpenedFile;
  /** Undefined: there is no such file. */
  readonly load: Uint8Array | undefined;
  /** Whether what was written durably reads back as it is; undefined otherwise. */
  readonly write: boolean | undefined;
  readonly flush: undefined;
  readonly close: undefined;
}

/** The response to one call, or its failure as far as it can be sent between threads. */
export type FileOutcome =
  | { readonly answer: FileAnswers[FileCall['call']] }
  | { readonly failure: { readonly message: string; readonly code: string | undefined } };

const perform = (asked: FileCall): FileAnswers[FileCall['call']] => {
  switch (asked.call) {
    case 'open':
      return opened(asked.path);
    case 'create':
      return created(asked.path, asked.size);
    case 'load':
      return loaded(asked.path);
    case 'write':
      return opening(asked.path, constants.O_RDWR, (fd) => write(fd, asked));
    case 'flush':
      return opening(asked.path, constants.O_RDWR, (fd) => fdatasyncSync(fd) ?? undefined);
    case 'close':
      return closeSync(asked.fd) ?? undefined;
  }
};

/** @param open receives the size of the file @returns undefined if the file does not exist */
const existing = <Result>(path: string, open: (size: number) => Result): Result | undefined => {
  // Most volumes have no key of a lower layer: an error with its stack for each of them costs ten times as much as this check.
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) return undefined;
  try {
    return open(found.size);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
};

const opened = (path: string): OpenedFile | undefined =>
  existing(path, (size) => ({ fd: openSync(path, constants.O_RDWR), size }));

const loaded = (path: string): Uint8Array | undefined =>
  existing(path, (size) =>
    opening(path, constants.O_RDONLY, (fd) => readAround(size, (offset, length) => read(fd, offset, length))),
  );

/** Opens a file for as long as `work` takes. */
const opening = <Result>(path: string, flags: number, work: (fd: number) => Result): Result => {
  const fd = openSync(path, flags);
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
};

/** @returns whether it reads back as it was written, if it is to be durable */
const write = (
  fd: number,
  { offset, bytes, isDurable }: FileCall & { readonly call: 'write' },
): boolean | undefined => {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
  if (!isDurable) return undefined;
  fdatasyncSync(fd);
  return Buffer.compare(read(fd, offset, bytes.length), bytes) === 0;
};

/** The size and the name of a new file must survive a crash that its first flushed sectors survive. */
const created = (path: string, size: number): OpenedFile => {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    const existing = fstatSync(fd).size;
    if (existing > 0) return { fd, size: existing };
    ftruncateSync(fd, size);
    fsyncSync(fd);
    const folder = openSync(dirname(path), constants.O_RDONLY);
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
    return { fd, size };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
};

/**
 * Memory that the files of one message are read into. The next message reuses it. Fresh memory for each file would be garbage
 * outside of the heap: thousands of files leave ten MiB and more before the garbage collector of a thread runs.
 */
let scratch = Buffer.allocUnsafeSlow(256 * 1024);
let scratchUsed = 0;

/** Takes a part of it, with arbitrary content. It belongs to the caller until the response to the message. */
const taken = (length: number): Uint8Array => {
  if (scratchUsed + length > scratch.length) {
    // Parts that were taken before keep the old memory.
    scratch = Buffer.allocUnsafeSlow(Math.max(scratch.length * 2, length));
    scratchUsed = 0;
  }
  scratchUsed += length;
  return scratch.subarray(scratchUsed - length, scratchUsed);
};

/** @returns fewer bytes at the end of the file */
const read = (fd: number, offset: number, length: number): Uint8Array => {
  const bytes = taken(length);
  for (let done = 0; done < length; ) {
    const count = readSync(fd, bytes, done, length - done, offset + done);
    if (count === 0) return bytes.subarray(0, done);
    done += count;
  }
  return bytes;
};

const attempt = (asked: FileCall): FileOutcome => {
  try {
    return { answer: perform(asked) };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
    return { failure: { message: error instanceof Error ? error.message : String(error), code } };
  }
};

const port = parentPort;
if (!port) throw new Error('file-worker.ts runs only as a worker thread');
port.on('message', ({ calls, written }: FileCalls) => {
  scratchUsed = 0;
  const outcomes = calls.map(attempt);
  // Freed here, because the garbage collector of a thread seldom runs.
  written.transfer(0);
  const read = packed(outcomes.flatMap((outcome) => bytesIn(outcome) ?? []));
  let next = 0;
  const moved = outcomes.map((outcome) => (bytesIn(outcome) ? { answer: read.views[next++] } : outcome));
  port.postMessage(moved, [read.buffer]);
});

const bytesIn = (outcome: FileOutcome): Uint8Array | undefined =>
  'answer' in outcome && outcome.answer instanceof Uint8Array ? outcome.answer : undefined;
