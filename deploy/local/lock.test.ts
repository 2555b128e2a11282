import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { processStart, tryLock } from './lock.mjs';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('one holder at a time; the next can take the lock after its release', () => {
  const file = join(folder, 'one');
  const first = tryLock(file);
  assert(first.taken);
  const second = tryLock(file);
  assert(!second.taken);
  assert.equal(second.holder.pid, process.pid);
  first.release();
  assert(tryLock(file).taken);
});

test('a lock whose process has ended is free', async () => {
  const file = join(folder, 'ended');
  const child = spawn('true');
  await new Promise((resolve) => child.once('close', resolve));
  writeFileSync(file, JSON.stringify({ pid: child.pid, startedAt: '1' }));
  assert(tryLock(file).taken);
});

test('a lock whose process id was given to another process is free', () => {
  const file = join(folder, 'reused');
  writeFileSync(file, JSON.stringify({ pid: process.ppid, startedAt: 'long ago' }));
  assert(tryLock(file).taken);
});

test('a lock in a copy of its folder is free; in the moved folder it is still held', () => {
  const [original, copy, moved] = ['original', 'copy', 'moved'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(original);
  assert(tryLock(join(original, 'lock')).taken);
  cpSync(original, copy, { recursive: true });
  assert(tryLock(join(copy, 'lock')).taken);
  assert(!tryLock(join(copy, 'lock')).taken);
  renameSync(original, moved);
  assert(!tryLock(join(moved, 'lock')).taken);
});

test('a lock file that cannot be read counts as free', () => {
  const file = join(folder, 'garbage');
  writeFileSync(file, '{"pi');
  assert(tryLock(file).taken);
});

test('a release leaves a lock that another process holds now', () => {
  const file = join(folder, 'theirs');
  const attempt = tryLock(file);
  assert(attempt.taken);
  writeFileSync(file, JSON.stringify({ pid: process.ppid, startedAt: processStart(process.ppid) }));
  attempt.release();
  const later = tryLock(file);
  assert(!later.taken);
  assert.equal(later.holder.pid, process.ppid);
});

test('a lock that is held is found although nothing can be written beside it', () => {
  const file = join(folder, 'full');
  assert(tryLock(file).taken);
  // Its draft would go to a device that is always full.
  symlinkSync('/dev/full', `${file}.${process.pid}`);
  const attempt = tryLock(file);
  assert(!attempt.taken);
  assert.equal(attempt.holder.pid, process.pid);
});
