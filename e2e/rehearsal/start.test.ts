import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

test('npm start refuses what it does not understand, before anything is begun', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const start = (word: string) =>
    spawnSync(process.execPath, [join(import.meta.dirname, 'start.ts'), word], {
      env: { ...process.env, INTERLOCK_DATA: folder },
      encoding: 'utf8',
      // A rehearsal that was begun all the same is stopped, and in good order.
      timeout: 20_000,
    });
  for (const word of ['--bogus', 'bogus']) {
    const { status, stdout, stderr } = start(word);
    assert.equal(status, 1, stdout);
    assert.match(stderr, /'(--)?bogus'[\s\S]*\n\nnpm start\n/);
  }
  const { status, stdout } = start('--help');
  assert.equal(status, 0);
  assert.match(stdout, /^npm start\n/);
  assert.deepEqual(readdirSync(folder), []);
});
