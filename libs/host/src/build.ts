import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
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
  const written = commitIn(git);
  if (written !== undefined) return written;
  try {
    const output = execFileSync('git', ['--git-dir', git, 'rev-parse', 'HEAD'], { encoding: 'utf8', stdio: 'pipe' });
    return output.trim();
  } catch {
    // No git on this machine, no commit yet, or a clone of another user: the process runs without it.
    return 'unknown';
  }
};

/**
 * The commit that HEAD, or the file of the branch in HEAD, has; undefined if git keeps it elsewhere: in packed references, or for a
 * worktree. Read here because every process reads it when it starts, and git takes 50 ms.
 */
const commitIn = (git: string): string | undefined => {
  const head = lineIn(join(git, 'HEAD'));
  const [, branch] = /^ref: (refs\/heads\/.+)$/.exec(head) ?? [];
  const commit = branch === undefined ? head : lineIn(join(git, branch));
  return /^[0-9a-f]{40,64}$/.test(commit) ? commit : undefined;
};

/** Its text without the end of the line; empty if it is no file. */
const lineIn = (path: string): string =>
  statSync(path, { throwIfNoEntry: false })?.isFile() ? readFileSync(path, 'utf8').trim() : '';

/** One line for `--version`. */
export const versionLine = (name: string, { version, revision }: Build): string =>
  `${name} ${version} (revision ${revision})`;
