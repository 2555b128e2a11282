import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { dataRoot, holdDataFolder, openDataFolder, removeWhole, repository } from './data-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const modeOf = (path: string) => statSync(path).mode & 0o777;

test('the data lies in the repository unless INTERLOCK_DATA says otherwise', () => {
  assert.equal(dataRoot({}), join(repository, '.interlock'));
  assert.equal(dataRoot({ INTERLOCK_DATA: '' }), join(repository, '.interlock'));
  assert.equal(dataRoot({ INTERLOCK_DATA: 'somewhere' }), resolve('somewhere'));
});

test('a folder that was open to others is made private, and so are the ones in it', () => {
  const root = join(folder, 'open');
  mkdirSync(root);
  chmodSync(root, 0o755);
  const data = openDataFolder(root);
  assert.equal(modeOf(root), 0o700);
  assert.equal(modeOf(data.folder('services', 'disk')), 0o700);
});

test('a folder of another user is refused with what to do', { skip: process.getuid?.() === 0 }, () => {
  assert.throws(() => openDataFolder('/'), /belongs to user 0.*INTERLOCK_DATA/);
});

test('a folder from which a process that is ending removes its own files is removed whole', async () => {
  const root = join(folder, 'in-use');
  const inner = join(root, 'data');
  mkdirSync(inner, { recursive: true });
  writeFileSync(join(root, 'password'), '');
  // So many that the two overlap, whichever is faster.
  for (let n = 0; n < 5_000; n += 1) writeFileSync(join(inner, `file-${n}`), '');
  const removing = `console.log('begins');
    for (const file of require('fs').readdirSync('.').reverse()) require('fs').rmSync(file, { force: true });`;
  const other = spawn(process.execPath, ['-e', removing], { cwd: inner, stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(other, 'exit');
  await once(other.stdout, 'data');
  removeWhole(root);
  assert.equal(existsSync(root), false);
  removeWhole(root);
  await ended;
});

test('a second launcher on the folder is refused, naming the first', () => {
  const data = openDataFolder(join(folder, 'held'));
  const release = holdDataFolder(data);
  assert.throws(() => holdDataFolder(data), new RegExp(`Process ${process.pid} is already running a cloud`));
  release();
  holdDataFolder(data)();
});
