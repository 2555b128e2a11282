import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packFolder } from './tar.ts';

const compiler = fileURLToPath(new URL('../../node_modules/.bin/tsc', import.meta.url));
const licence = fileURLToPath(new URL('../../LICENSE', import.meta.url));

/** What every package.json of ours states. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
}

/** Field `repository` of package.json: npm compares it with the repository that publishes. @param source URL, if known */
export const repositoryField = (source: string | undefined): object =>
  source === undefined ? {} : { repository: { type: 'git', url: `git+${source}.git` } };

/** File name of a package, as `npm pack` forms it: `@interlock/testing` 0.1.0 is `interlock-testing-0.1.0.tgz`. */
export const archiveName = ({ name, version }: Manifest): string =>
  `${name.replace(/^@/, '').replace('/', '-')}-${version}.tgz`;

/**
 * Creates an npm package from a library of the workspace: ES modules with types in `dist`, its README and the licence. The same
 * sources make the same bytes.
 * @param library folder with `tsconfig.build.json` and `README.md`
 * @param manifest package.json of the package, without names and development files of the workspace
 * @param folder folder for the package; created if it does not exist
 * @returns path of the `.tgz`
 */
export const packLibrary = (library: string, manifest: Manifest, folder: string): string => {
  const stage = mkdtempSync(join(tmpdir(), 'interlock-pack-'));
  try {
    const project = join(library, 'tsconfig.build.json');
    execFileSync(compiler, ['-p', project, '--outDir', join(stage, 'dist')], { stdio: 'inherit' });
    copyFileSync(join(library, 'README.md'), join(stage, 'README.md'));
    copyFileSync(licence, join(stage, 'LICENSE'));
    writeFileSync(join(stage, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
    mkdirSync(folder, { recursive: true });
    const file = join(folder, archiveName(manifest));
    writeFileSync(file, packFolder(stage, 'package'));
    return file;
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
};
