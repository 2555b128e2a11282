import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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

test('the revision of an image is that of its revision file; without file and git it is unknown', () => {
  assert.deepEqual(readBuild(folder), { version: '1.2.3', revision: 'unknown' });
  writeFileSync(join(folder, '.git'), 'gitdir: /nonexistent\n');
  assert.deepEqual(readBuild(folder), { version: '1.2.3', revision: 'unknown' });
  writeFileSync(join(folder, 'revision'), 'abc\n');
  assert.deepEqual(readBuild(folder), { version: '1.2.3', revision: 'abc' });
  writeFileSync(join(folder, 'revision'), '\n');
  assert.equal(readBuild(folder).revision, 'unknown');
});
