/**
 * Compares the .proto files of the work tree with those of an earlier commit and fails when a client of the earlier
 * ones could break: `npm run proto:breaking`.
 *
 * The earlier commit is where this branch left `main`. On `main` itself that would compare it with itself, so there it
 * is the last tag before this commit.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** How the comparison ended: `line` says it in one sentence, `details` holds what buf found. */
export interface Comparison {
  readonly compatible: boolean;
  readonly line: string;
  readonly details: string;
}

/**
 * Compares `<repository>/proto` with the same folder at the base commit.
 * @param repository folder of a git clone @param buf path of the buf binary
 * @returns `compatible: false` also when there is no commit to compare with
 */
export function compareWithBase(repository: string, buf: string): Comparison {
  const base = findBase(repository);
  if ('missing' in base) return { compatible: false, line: base.missing, details: '' };
  const files = git(repository, 'ls-tree', '-r', '--name-only', base.commit, '--', 'proto/') ?? '';
  if (!files.split('\n').some((file) => file.endsWith('.proto'))) {
    return { compatible: true, line: `nothing to compare: ${base.name} has no .proto files`, details: '' };
  }
  const folder = mkdtempSync(join(tmpdir(), 'proto-breaking-'));
  try {
    // An archive and not buf's own reading of .git, which does not know linked work trees.
    const archive = join(folder, 'base.tar');
    execFileSync('git', ['archive', '--format=tar', '--output', archive, base.commit, 'proto'], { cwd: repository });
    const run = spawnSync(buf, ['breaking', 'proto', '--against', `${archive}#subdir=proto`], {
      cwd: repository,
      encoding: 'utf8',
    });
    if (run.error) throw run.error;
    const details = `${run.stdout}${run.stderr}`.trim();
    return run.status === 0
      ? { compatible: true, line: `compatible with ${base.name}`, details }
      : { compatible: false, line: `not compatible with ${base.name}`, details };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Base = { readonly commit: string; readonly name: string } | { readonly missing: string };

function findBase(repository: string): Base {
  const head = git(repository, 'rev-parse', '--verify', 'HEAD^{commit}');
  if (!head) return { missing: `nothing to compare with: ${repository} has no commit` };
  const main = ['origin/main', 'main'].find((name) => git(repository, 'rev-parse', '--verify', `${name}^{commit}`));
  const mergeBase = main ? git(repository, 'merge-base', 'HEAD', main) : undefined;
  if (main && mergeBase && mergeBase !== head) {
    return { commit: mergeBase, name: `the merge base with ${main} (${mergeBase.slice(0, 10)})` };
  }
  const tag = git(repository, 'describe', '--tags', '--abbrev=0', 'HEAD^');
  if (tag) return { commit: tag, name: `tag ${tag}` };
  const isShallow = git(repository, 'rev-parse', '--is-shallow-repository') === 'true';
  const cure = isShallow
    ? 'the clone is shallow, so run `git fetch --unshallow --tags origin main` first'
    : main
      ? `this commit is on ${main} and no tag precedes it`
      : 'there is neither a branch main nor a tag before this commit';
  return { missing: `nothing to compare with: ${cure}` };
}

/** Output of a git command without its line end; `undefined` when git says no. Throws when git cannot be run. */
function git(repository: string, ...args: readonly string[]): string | undefined {
  const run = spawnSync('git', args, { cwd: repository, encoding: 'utf8' });
  if (run.error) throw run.error;
  return run.status === 0 ? run.stdout.trim() : undefined;
}

if (import.meta.main) {
  const repository = fileURLToPath(new URL('..', import.meta.url));
  const comparison = compareWithBase(repository, join(repository, 'node_modules/.bin/buf'));
  if (comparison.details) console.log(comparison.details);
  console.log(`proto: ${comparison.line}`);
  process.exitCode = comparison.compatible ? 0 : 1;
}
