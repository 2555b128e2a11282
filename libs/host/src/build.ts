import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Version and commit of a process. */
export interface Build {
  /** `version` of the root's package.json. */
  readonly version: string;
  /** Full id of the commit; `unknown` without a revision file and without git. */
  readonly revision: string;
}

/** Root of these sources: a clone, or `/app` of an image. */
const sources = join(import.meta.dirname, '../../..');

/**
 * Reads the version of the sources in `root`. An image has a file `revision` from its build; a clone has git. The git folder is
 * passed explicitly, because a copy without one may be inside the clone of something else.
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
    // No git on this machine, no commit yet, or a clone of another user: the process runs without it.
    return 'unknown';
  }
};

/** One line for `--version`. */
export const versionLine = (name: string, { version, revision }: Build): string =>
  `${name} ${version} (revision ${revision})`;
