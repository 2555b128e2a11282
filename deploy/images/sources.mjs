/** The sources of the workspace as images and the npm package of the command line contain them: without tests and types. */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Copies folders of the workspace without files that only tests and readers need, and the files that pnpm needs to install packages.
 * @param {readonly string[]} folders paths from the root of the repository; `libs` is always copied
 * @param {string} app an existing folder
 */
export function copySources(folders, app) {
  for (const file of ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml', 'LICENSE'])
    cpSync(join(repository, file), join(app, file));
  for (const folder of ['libs', ...folders])
    cpSync(join(repository, folder), join(app, folder), { recursive: true, filter: isNeeded });
}

function isNeeded(path) {
  const inside = relative(repository, path);
  if (inside.split('/').includes('node_modules')) return false;
  return !/(\.test\.ts|\.md)$|\/test-[^/]*\.ts$|^libs\/simulation(\/|$)/.test(inside);
}

/**
 * Strips the types of every .ts file below a folder. Each file keeps its name and every statement its place, so that errors and
 * imports are those of the sources.
 * @param {string} folder
 */
export function takeTypesOut(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const path = join(entry.parentPath, entry.name);
    writeFileSync(path, stripTypeScriptTypes(readFileSync(path, 'utf8')));
  }
}

/**
 * Removes declarations, source maps, sources and documentation of npm packages: a third of an installation, and unused at run time.
 * @param {string} folder
 * @param {RegExp} kept names of files that stay in any case
 */
export function prune(folder, kept = /^$/) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) prune(path, kept);
    else if (/\.(map|md|markdown|flow|[cm]?ts)$/.test(entry.name) && !kept.test(entry.name)) rmSync(path);
  }
}
