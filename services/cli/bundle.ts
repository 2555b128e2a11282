/**
 * node services/cli/bundle.ts <folder>
 *
 * Bundles the command line of this clone into a new folder below the given one and names it there in `current.json`, with
 * what it was made from; `interlock.mjs` makes it again when that has changed.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Plugin, rolldown } from 'rolldown';
import { bundlePage } from './bundle-page.ts';
import manifest from './package.json' with { type: 'json' };
import type { Build } from './src/commands/build.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const entry = join(repository, 'services/cli/src/main.ts');

/**
 * Bundles `src/main.ts` and what it imports into a folder: `main.js`, a file for each part that only some commands load, and the script
 * of the live page.
 * @param clone root of the clone the command line belongs to; undefined for a package that is installed
 * @returns paths of the files it was made from, those of npm packages as well
 */
export async function bundle(folder: string, clone: string | undefined): Promise<readonly string[]> {
  const build: Build = { version: manifest.version, revision: revision(), clone };
  const bundled = await rolldown({
    input: { main: entry },
    cwd: repository,
    platform: 'node',
    transform: { target: 'node24', define: { INTERLOCK_BUILD: JSON.stringify(build) } },
    // Modules of this repository have no side effects, so unused ones are left out.
    treeshake: { moduleSideEffects: (id) => id.includes('node_modules/') || id === entry },
    plugins: [withoutFacades],
    logLevel: 'warn',
  });
  try {
    const minify = { compress: true, mangle: false, codegen: true } as const;
    await bundled.write({ dir: folder, format: 'esm', sourcemap: true, minify, codeSplitting: { groups: parts } });
    // Without it Node reads each file twice to find out its module type.
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
    const own = (await bundled.watchFiles).filter((file) => file.startsWith(repository));
    return [...new Set([...own, ...(await bundlePage(folder))])];
  } finally {
    await bundled.close();
  }
}

/** Code that nearly every command needs is in three files instead of twenty, because each file takes 1 ms to load. */
const parts = [
  { name: 'core', test: /cli\/src\/commands\/run\.ts$/, priority: 2 },
  { name: 'session', test: /cli\/src\/session\/open-session\.ts$/, priority: 1 },
];

/**
 * Takes node:http from Node itself where the exporter of spans imports it when it sends: an import evaluates every property of
 * the module, of which one loads undici, and takes 50 ms more.
 */
const withoutFacades: Plugin = {
  name: 'without-facades',
  transform: (code, id) => {
    if (!id.includes('otlp-exporter-base')) return undefined;
    const changed = code.replace(/\bimport\((['"])(https?)\1\)/g, "Promise.resolve(process.getBuiltinModule('$2'))");
    // No mappings: the line has no source.
    return changed === code ? undefined : { code: changed, map: { mappings: '' } };
  },
};

/** Git revision of the clone in 12 digits (git's own number depends on the size of the clone), with `-dirty` if files differ from it; undefined without git. */
export function revision(): string | undefined {
  try {
    const said = execFileSync('git', ['describe', '--always', '--abbrev=12', '--dirty', '--exclude=*'], {
      cwd: repository,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return said.trim();
  } catch {
    // A source archive has no history; the version is still shown.
    return undefined;
  }
}

/** Bundles of a clone that another process may still run are kept for a day, in milliseconds. */
const KEPT_MS = 86_400_000;

/** Bundles for the clone itself. The folder is named once it is complete: several commands may find it missing at once. */
async function bundleClone(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) {
    if (Date.now() - statSync(join(folder, name)).mtimeMs > KEPT_MS)
      rmSync(join(folder, name), { recursive: true, force: true });
  }
  const name = `${Date.now()}-${process.pid}`;
  const read = await bundle(join(folder, name), repository);
  const own = read.filter((file) => !file.includes('node_modules/'));
  // Files that change with the npm packages, and with the way in which a bundle is made.
  const files = [...own, fileURLToPath(import.meta.url), join(repository, 'pnpm-lock.yaml')];
  const madeFrom = Object.fromEntries(
    files.map((file) => {
      const { mtimeMs, size } = statSync(file);
      return [file, `${mtimeMs} ${size}`];
    }),
  );
  const draft = join(folder, `${name}.json`);
  writeFileSync(draft, JSON.stringify({ clone: repository, folder: name, madeFrom }));
  renameSync(draft, join(folder, 'current.json'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , folder] = process.argv;
  if (folder === undefined) throw new Error('Usage: node services/cli/bundle.ts <folder>');
  await bundleClone(resolve(folder));
}
