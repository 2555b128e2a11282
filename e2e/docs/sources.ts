import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Files that git knows or would add and that match a pattern, as sorted paths from the root. */
export const filesLike = (pattern: RegExp): readonly string[] =>
  execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
    .split('\0')
    // A file that was just deleted is listed until that is committed.
    .filter((file) => pattern.test(file) && existsSync(join(root, file)))
    .sort();

/** Absolute path of a file. @param file path from the root */
export const pathOf = (file: string): string => join(root, file);

/** Text of a file. @param file path from the root */
export const textOf = (file: string): string => readFileSync(pathOf(file), 'utf8');
