import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const compiler = fileURLToPath(new URL('../../node_modules/.bin/tsc', import.meta.url));
const licence = fileURLToPath(new URL('../../LICENSE', import.meta.url));

/**
 * Creates an npm package from a library of the workspace: ES modules with types in `dist`, its README and the licence.
 * @param library folder with `tsconfig.build.json` and `README.md`
 * @param manifest package.json of the package, without names and development files of the workspace
 * @param folder folder for the package; created if it does not exist
 * @returns path of the `.tgz`
 */
export const packLibrary = (library: string, manifest: object, folder: string): string => {
  const stage = mkdtempSync(join(tmpdir(), 'interlock-pack-'));
  try {
    const project = join(library, 'tsconfig.build.json');
    execFileSync(compiler, ['-p', project, '--outDir', join(stage, 'dist')], { stdio: 'inherit' });
    copyFileSync(join(library, 'README.md'), join(stage, 'README.md'));
    copyFileSync(licence, join(stage, 'LICENSE'));
    writeFileSync(join(stage, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
    mkdirSync(folder, { recursive: true });
    const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], {
      cwd: stage,
      encoding: 'utf8',
    });
    return join(folder, packed.trim());
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
};
