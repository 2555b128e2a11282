import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { dataRoot, experimentMount, holdDataFolder, openDataFolder, removeWhole, repository } from './data-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const modeOf = (path: string) => statSync(path).mode & 0o777;

test('the data folder is .interlock in the repository unless INTERLOCK_DATA is set', () => {
  assert.equal(dataRoot({}), join(repository, '.interlock'));
  assert.equal(dataRoot({ INTERLOCK_DATA: '' }), join(repository, '.interlock'));
  assert.equal(dataRoot({ INTERLOCK_DATA: 'somewhere' }), resolve('somewhere'));
});

test('makes a data folder and its subfolders private to their owner', () => {
  const root = join(folder, 'open');
  mkdirSync(root);
  chmodSync(root, 0o755);
  const data = openDataFolder(root);
  assert.equal(modeOf(root), 0o700);
  assert.equal(modeOf(data.folder('services', 'disk')), 0o700);
});

test('refuses a folder of another user and says to set INTERLOCK_DATA', { skip: process.getuid?.() === 0 }, () => {
  assert.throws(() => openDataFolder('/'), /belongs to user 0.*INTERLOCK_DATA/);
});

test('removes a whole folder while a process that ends removes its own files from it', async () => {
  const root = join(folder, 'in-use');
  const inner = join(root, 'data');
  mkdirSync(inner, { recursive: true });
  writeFileSync(join(root, 'password'), '');
  // Enough files that both removals overlap, whichever is faster.
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

test('refuses a folder that was copied while a cloud ran on it, and names the other', () => {
  const [original, copy] = [openDataFolder(join(folder, 'original')), openDataFolder(join(folder, 'copy'))];
  const release = holdDataFolder(original);
  writeFileSync(original.path('cloud.json'), JSON.stringify({ folder: original.root }));
  cpSync(original.root, copy.root, { recursive: true });
  assert.throws(
    () => holdDataFolder(copy),
    new RegExp(`${copy.root} is a copy of ${original.root}, made while a cloud ran`),
  );
  assert.throws(() => holdDataFolder(original), new RegExp(`Process ${process.pid} is already running`));
  rmSync(copy.path('cloud.json'));
  holdDataFolder(copy)();
  release();
});

test('refuses a second launcher on the folder and names the process of the first', () => {
  const data = openDataFolder(join(folder, 'held'));
  const release = holdDataFolder(data);
  assert.throws(() => holdDataFolder(data), new RegExp(`Process ${process.pid} is already running a cloud`));
  release();
  holdDataFolder(data)();
});

test('a folder that an experiment mounted, and left because it was killed, is removed', (t) => {
  const left = join(folder, 'left');
  mkdirSync(join(left, 'mounted'), { recursive: true });
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', experimentMount, join(left, 'mounted')]);
  if (status !== 0) return t.skip('mounting a file system needs root');
  writeFileSync(join(left, 'mounted', 'file'), 'content');
  removeWhole(left);
  assert.equal(existsSync(left), false);
});
