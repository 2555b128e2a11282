import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a process was made from. */
export interface Build {
  /** `version` of the root's package.json. */
  readonly version: string;
  /** Commit the sources are of, in full; `unknown` where neither a file nor git says. */
  readonly revision: string;
}

/** The root of the sources these lines are in: a clone, or `/app` of an image. */
const sources = join(import.meta.dirname, '../../..');

/**
 * Reads what the sources in `root` are. An image has a file `revision` there, which its build wrote; a clone has git. The git
 * folder is named, because a copy without one may lie in a clone of something else.
 */
export const readBuild = (root = sources): Build => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return { version, revision: revisionIn(root) };
};

const revisionIn = (root: string): string => {
  const file = join(root, 'revision');
  if (existsSync(file)) return readFileSync(file, 'utf8').trim() || 'unknown';
  const git = join(root, '.git');
  if (!existsSync(git)) return 'unknown';
  try {
    const output = execFileSync('git', ['--git-dir', git, 'rev-parse', 'HEAD'], { encoding: 'utf8', stdio: 'pipe' });
    return output.trim();
  } catch {
    // No git on this machine, no commit yet, or a clone of another user: what runs does not depend on it.
    return 'unknown';
  }
};

/** One line for `--version`. */
export const versionLine = (name: string, { version, revision }: Build): string =>
  `${name} ${version} (revision ${revision})`;
