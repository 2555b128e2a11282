import { closeSync, fchmodSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import type { Terminal } from './session.ts';
import { UsageError } from './usage-error.ts';

/** The process's own streams and files. Lines are written at once, so that nothing is lost when the process ends. */
export function openTerminal(): Terminal {
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

function writeAll(file: number, text: string): void {
  writeFileSync(file, text);
}
