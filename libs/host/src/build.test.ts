import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readBuild } from './build.ts';

const folder = mkdtempSync(join(tmpdir(), 'build-'));
after(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, 'package.json'), '{"version":"1.2.3"}');

test('the revision of a clone is its commit', () => {
  const head = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
  assert.equal(readBuild().revision, head);
});

test('the revision of a clone is found where git keeps it: in a branch, in HEAD, in packed references, in a worktree', () => {
  const clone = join(folder, 'clone');
  const git = (...args: readonly string[]): string =>
    execFileSync('git', ['-C', clone, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
      encoding: 'utf8',
    }).trim();
  cpSync(join(folder, 'package.json'), join(clone, 'package.json'));
  git('init', '--quiet');
  git('add', '.');
  git('commit', '--quiet', '--message', 'one');
  const first = git('rev-parse', 'HEAD');
  const revision = (root = clone): string => readBuild(root).revision;
  assert.equal(revision(), first, 'a branch');
  git('worktree', 'add', '--quiet', '../worktree');
  assert.equal(revision(join(folder, 'worktree')), first, 'a worktree');
  git('pack-refs', '--all');
  assert.equal(revision(), first, 'packed');
  git('commit', '--quiet', '--allow-empty', '--message', 'two');
  assert.notEqual(revision(), first, 'the packed reference is old');
  git('checkout', '--quiet', '--detach', first);
  assert.equal(revision(), first, 'HEAD');
});

test('the revision of an image is that of its revision file; without file and git it is unknown', () => {
  assert.deepEqual(readBuild(folder), { version: '1.2.3', revision: 'unknown' });
  writeFileSync(join(folder, '.git'), 'gitdir: /nonexistent\n');
  assert.deepEqual(readBuild(folder), { version: '1.2.3', revision: 'unknown' });
  writeFileSync(join(folder, 'revision'), 'abc\n');
  assert.deepEqual(readBuild(folder), { version: '1.2.3', revision: 'abc' });
  writeFileSync(join(folder, 'revision'), '\n');
  assert.equal(readBuild(folder).revision, 'unknown');
});
