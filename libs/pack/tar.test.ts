import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { packFolder, tarFolder } from './tar.ts';

const scratch = mkdtempSync(join(tmpdir(), 'interlock-tar-'));
const folder = join(scratch, 'folder');
after(() => rmSync(scratch, { recursive: true, force: true }));
beforeEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
};
const tar = (...args: readonly string[]): string => execFileSync('tar', args, { encoding: 'utf8' });

test('tar extracts what was archived: contents, modes, and paths of more than 100 bytes', () => {
  const long = `${'a-folder/'.repeat(12)}file.txt`;
  write(long, 'far away');
  write('empty', '');
  write('512', new Uint8Array(512).fill(7));
  chmodSync(write('bin/run', '#!/bin/sh\n'), 0o700);
  const archive = join(scratch, 'a.tgz');
  writeFileSync(archive, packFolder(folder, 'package'));
  const out = join(scratch, 'out');
  mkdirSync(out);
  tar('-xzf', archive, '-C', out);
  assert.equal(readFileSync(join(out, 'package', long), 'utf8'), 'far away');
  assert.equal(readFileSync(join(out, 'package/512')).length, 512);
  const listed = tar('-tvzf', archive).trim().split('\n');
  assert.match(listed.find((line) => line.endsWith('package/bin/run')) ?? '', /^-rwxr-xr-x 0\/0 .* 1985-10-26/);
  assert.match(listed.find((line) => line.endsWith('package/empty')) ?? '', /^-rw-r--r-- /);
});

test('the same files make the same archive, whenever and in whatever order they were written', () => {
  write('b', '2');
  write('a', '1');
  const first = packFolder(folder, 'p');
  rmSync(folder, { recursive: true });
  utimesSync(write('a', '1'), 0, 0);
  write('b', '2');
  assert.deepEqual(packFolder(folder, 'p'), first);
  write('b', '3');
  assert.notDeepEqual(packFolder(folder, 'p'), first);
});

test('an archive without a folder around its files, as OCI archives are, is not compressed', () => {
  write('blobs/sha256/a', '1');
  const archive = join(scratch, 'a.tar');
  writeFileSync(archive, tarFolder(folder, ''));
  assert.equal(tar('-tf', archive), 'blobs/sha256/a\n');
});

test('links and paths that the format cannot hold are refused', () => {
  write('a', '1');
  symlinkSync('a', join(folder, 'link'));
  assert.throws(() => packFolder(folder, 'p'), /link is neither a file nor a folder/);
  rmSync(join(folder, 'link'));
  write('x'.repeat(101), '');
  assert.throws(() => packFolder(folder, 'p'), /too long for a tar archive/);
});
