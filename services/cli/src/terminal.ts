import { closeSync, fchmodSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import type { Terminal } from './session.ts';
import { UsageError } from './usage-error.ts';

/** The process's own streams and files. Lines are written at once, so that nothing is lost when the process ends. */
export function openTerminal(): Terminal {
  process.stdout.on('error', endWithReader);
  return {
    out: (text) => writeAll(1, `${text}\n`),
    err: (text) => writeAll(2, `${text}\n`),
    outBytes: async (bytes) => {
      if (process.stdout.write(bytes)) return;
      await new Promise((resolve) => process.stdout.once('drain', resolve));
    },
    in: () => process.stdin,
    readFile: (path) => {
      try {
        return readFileSync(path === '-' ? 0 : path);
      } catch (error) {
        throw new UsageError(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      }
    },
    writeFile: (path, content) => {
      const file = openSync(path, 'w', 0o600);
      try {
        // Also where the file was there before, with other rights.
        fchmodSync(file, 0o600);
        writeFileSync(file, content);
      } finally {
        closeSync(file);
      }
    },
  };
}

/** As whatever is told SIGPIPE ends: whoever read has enough (`interlock … | head -1`). */
const readerGone = 141;

function endWithReader(error: Error & { readonly code?: unknown }): void {
  if (error.code !== 'EPIPE') throw error;
  process.exit(readerGone);
}

/** How long to wait for a reader that is slower than this process, in milliseconds: its pipe is full. */
const fullMs = 5;

function writeAll(file: number, text: string): void {
  let left: Uint8Array = Buffer.from(text);
  while (left.length > 0) {
    try {
      left = left.subarray(writeSync(file, left));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      if (error.code !== 'EAGAIN') endWithReader(error);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, fullMs);
    }
  }
}
