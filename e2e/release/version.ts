import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';

/** A file that states a version of this project. */
export interface StatedVersion {
  /** Path from the root of the repository. */
  readonly file: string;
  readonly version: string;
}

/** Semantic Versioning 2.0.0, without build metadata: image tags allow no `+`. */
const semver = /^\d+\.\d+\.\d+(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$/;
const number = String.raw`\d+\.\d+\.\d+(?:-[\w.-]*\w)?`;

/** How files state it: manifests of packages and of the chart, constants, labels and names of images. */
const statements: readonly { readonly in: RegExp; readonly as: RegExp }[] = [
  { in: /(^|\/)package\.json$/, as: new RegExp(`^  "version": "(${number})"`, 'gm') },
  { in: /^deploy\/helm\/interlock\/Chart\.yaml$/, as: new RegExp(`^(?:version|appVersion): (${number})$`, 'gm') },
  { in: /\.ts$/, as: new RegExp(`^(?:export )?const (?:SCOPE_VERSION|VERSION|tag) = '(${number})';`, 'gm') },
  { in: /\.yaml$/, as: new RegExp(`app\\.kubernetes\\.io/version: (${number})`, 'g') },
  { in: /\.(ts|yaml|md)$|Containerfile$/, as: new RegExp(`interlock/[a-z-]+:(${number})`, 'g') },
  { in: /\.yml$/, as: new RegExp(`(?:interlock-cli@|/actions/experiment@v)(${number})`, 'g') },
  { in: /\.md$/, as: new RegExp(`interlock-(?:cli|testing|chart)-(${number})\\.tgz`, 'g') },
];

/** The changelog names all versions, and tests make up their own. */
const isLeftOut = (file: string): boolean => /^CHANGELOG\.md$|\.test\.ts$/.test(file);

const trackedFiles = (): readonly string[] =>
  execFileSync('git', ['ls-files', '-z'], { cwd: repository, encoding: 'utf8' })
    .split('\0')
    .filter((file) => file !== '' && !isLeftOut(file));

/** Version of the project: that of the package.json in the root. */
export const projectVersion = (): string => JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')).version;

/** Everything that states a version of the project, sorted by file. */
export const statedVersions = (): readonly StatedVersion[] =>
  trackedFiles().flatMap((file) => {
    const patterns = statements.filter((statement) => statement.in.test(file));
    if (patterns.length === 0) return [];
    const text = readFileSync(join(repository, file), 'utf8');
    return patterns.flatMap(({ as }) => [...text.matchAll(as)].map(([, version = '']) => ({ file, version })));
  });

/**
 * Replaces the version in every file that states it.
 * @returns paths of the changed files
 * @throws LauncherError for a version that is not semantic
 */
export const setVersion = (version: string): readonly string[] => {
  if (!semver.test(version))
    throw new LauncherError(`The version must be like 1.2.3 or 1.2.3-rc.1 (got "${version}").`);
  const files = [...new Set(statedVersions().map(({ file }) => file))];
  for (const file of files) {
    const path = join(repository, file);
    let text = readFileSync(path, 'utf8');
    for (const { as } of statements.filter((statement) => statement.in.test(file)))
      text = text.replaceAll(as, (whole, old) => whole.replace(old, version));
    writeFileSync(path, text);
  }
  return files;
};

if (import.meta.main) {
  const [, , version = ''] = process.argv;
  for (const file of setVersion(version)) console.log(file);
}
