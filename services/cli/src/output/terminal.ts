import {
  closeSync,
  createReadStream,
  fchmodSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { readUserFile, UserFileError, visible } from '@interlock/runtime';
import { isSpaceError } from '@interlock/runtime/space-error';
import { OutputProblem, UsageError } from '../problems.ts';
import { beforeEnd, endWith, isEnding, readerGone } from '../session/endings.ts';

/** Standard streams and files of the process. */
export interface Terminal {
  /** Characters per line, where standard output is a terminal. */
  readonly width?: number | undefined;
  /** The size now, where standard output is a terminal: users resize it. */
  readonly size?: () => { readonly columns: number; readonly rows: number } | undefined;
  /** Whether standard output is a terminal: bytes are not written there. */
  readonly isOutTerminal?: boolean;
  /** Asks a yes/no question; only the replies `y` and `yes` confirm. Only where a user can answer. */
  readonly confirm?: ((question: string) => Promise<boolean>) | undefined;
  /** Writes lines of the response to standard output, with what a terminal would obey as escapes. @throws OutputProblem */
  out(text: string): void;
  /** Writes lines to standard error, in the same way. */
  err(text: string): void;
  /** Writes a screen, which has sequences for the terminal in it. Texts in it are visible already. @throws OutputProblem */
  screen(text: string): void;
  /** Writes bytes of the response; resolves when more can be taken. @throws OutputProblem */
  outBytes(bytes: Uint8Array): Promise<void>;
  /** Reads standard input or a file in pieces: it may be larger than memory. @throws UsageError for an unreadable file */
  in(path?: string): AsyncIterable<Uint8Array>;
  /** Reads a whole regular file of at most 64 MiB; `-` is standard input. @throws UsageError when it is unreadable */
  readFile(path: string): Uint8Array;
  /**
   * Writes a file that only its owner can read, in pieces. It replaces an existing file once it is complete.
   * @throws OutputProblem, or the error of the pieces; an existing file then stays as it was
   */
  writeFile(path: string, pieces: AsyncIterable<Uint8Array>): Promise<void>;
  /** Creates a file that only its owner can read. @throws OutputProblem, also when the file exists */
  newFile(path: string): NewFile;
}

/** A created file without content. Exactly one of its methods is called. */
export interface NewFile {
  readonly path: string;
  /** @throws OutputProblem */
  write(content: Uint8Array): void;
  /** Removes the file. */
  discard(): void;
}

/** The terminal of this process. Lines are written synchronously: none is lost at the end of the process. */
export function openTerminal(): Terminal {
  // outBytes reports other errors; a reader that is gone ends the process.
  process.stdout.on('error', (error: WriteError) => error.code === 'EPIPE' && endWithReader());
  return {
    isOutTerminal: process.stdout.isTTY === true,
    confirm: process.stdin.isTTY && process.stderr.isTTY ? confirm : undefined,
    width: process.stdout.isTTY ? process.stdout.columns : undefined,
    size: () => (process.stdout.isTTY ? { columns: process.stdout.columns, rows: process.stdout.rows } : undefined),
    out: (text) => writeAll(1, `${visible(text)}\n`),
    err: (text) => writeAll(2, `${visible(text)}\n`),
    screen: (text) => writeAll(1, `${text}\n`),
    outBytes: async (bytes) => {
      // The reader is gone and the process exits after its cleanups.
      if (isEnding()) await never();
      await new Promise<void>((resolve, reject) => {
        process.stdout.write(bytes, (error) => {
          if (error === undefined || error === null) resolve();
          else if (isReaderGone(error)) endWithReader();
          else reject(outNotWritten(error));
        });
      });
    },
    in: (path = '-') => (path === '-' ? process.stdin : piecesOf(path)),
    readFile: (path) => {
      try {
        return readUserFile(path === '-' ? 0 : path);
      } catch (error) {
        throw unreadable(path, error);
      }
    },
    writeFile,
    newFile,
  };
}

async function confirm(question: string): Promise<boolean> {
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
  try {
    const answer = await Promise.race([lines.question(`${question} [y/N] `), closed]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
}

async function* piecesOf(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

const unreadable = (path: string, error: unknown): UsageError =>
  error instanceof UserFileError
    ? new UsageError(error.message, { cause: error })
    : new UsageError(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });

async function writeFile(path: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  // A pipe or a terminal (/dev/stdout) is written directly; a folder is refused.
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() ?? true;
  const draft = isFile ? `${path}.part` : path;
  const file = opened(draft, 'w', path);
  const cancel = beforeEnd(() => isFile && unlinkSync(draft));
  try {
    // A killed command may have left a draft with other permissions.
    if (isFile) fchmodSync(file, 0o600);
    for await (const piece of pieces) writtenTo(path, file, piece);
    if (isFile) renameSync(draft, path);
  } catch (error) {
    if (isFile) unlinkSync(draft);
    throw error;
  } finally {
    cancel();
    closeSync(file);
  }
}

function newFile(path: string): NewFile {
  const there = statSync(path, { throwIfNoEntry: false });
  // A pipe or a terminal (/dev/stdout) has no content to protect.
  const isFile = there === undefined || there.isFile() || there.isDirectory();
  const file = opened(path, isFile ? 'wx' : 'w');
  // An empty file would make the repeated command fail.
  const cancel = beforeEnd(() => isFile && unlinkSync(path));
  return {
    path,
    write: (content) => {
      cancel();
      try {
        writtenTo(path, file, content);
      } finally {
        closeSync(file);
      }
    },
    discard: () => {
      cancel();
      closeSync(file);
      if (isFile) unlinkSync(path);
    },
  };
}

/** @param named path for the error */
function opened(path: string, flags: 'w' | 'wx', named = path): number {
  try {
    return openSync(path, flags, 0o600);
  } catch (error) {
    throw outputProblem(named, error);
  }
}

function writtenTo(path: string, file: number, content: Uint8Array): void {
  try {
    writeFileSync(file, content);
  } catch (error) {
    throw outputProblem(path, error);
  }
}

function outputProblem(path: string, error: unknown): unknown {
  if (!(error instanceof Error && 'code' in error)) return error;
  const { code, message } = error;
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
    return new OutputProblem(`${path} is a folder`, 'name a file in it', error);
  if (code === 'EEXIST')
    return new OutputProblem(`${path} exists and is kept`, 'name another file, or move this one first', error);
  if (code === 'ENOENT')
    return new OutputProblem(`the folder of ${path} does not exist`, `mkdir -p ${dirname(path)}`, error);
  if (isSpaceError(error))
    return new OutputProblem(`no space left for ${path}`, 'free some space, or name a file elsewhere', error);
  return new OutputProblem(`${path} cannot be written: ${message}`, 'name a file that you may write', error);
}

type WriteError = Error & { readonly code?: unknown };

/** While the process exits, writes fail in other ways too. */
const isReaderGone = (error: WriteError): boolean => error.code === 'EPIPE' || isEnding();

const endWithReader = (): void => void endWith(readerGone);

const never = (): Promise<never> => new Promise(() => undefined);

const outNotWritten = (error: Error): OutputProblem =>
  new OutputProblem(
    `standard output cannot be written: ${error.message}`,
    'free space at the destination, or redirect to another one',
    error,
  );

/** Wait for a slow reader whose pipe is full, in milliseconds. */
const fullMs = 5;

function writeAll(file: number, text: string): void {
  let left: Uint8Array = Buffer.from(text);
  while (left.length > 0) {
    try {
      left = left.subarray(writeSync(file, left));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      if (error.code !== 'EAGAIN') {
        if (!isReaderGone(error)) throw outNotWritten(error);
        endWithReader();
        return;
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, fullMs);
    }
  }
}
