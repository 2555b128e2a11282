import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

test('npm start refuses unknown arguments before it starts anything', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const start = (word: string) =>
    spawnSync(process.execPath, [join(import.meta.dirname, 'start.ts'), word], {
      env: { ...process.env, INTERLOCK_DATA: folder },
      encoding: 'utf8',
      // If a rehearsal starts nevertheless, this stops it in good order.
      timeout: 20_000,
    });
  for (const word of ['--bogus', 'bogus']) {
    const { status, stdout, stderr } = start(word);
    assert.equal(status, 1, stdout);
    assert.match(stderr, /'(--)?bogus'[\s\S]*\n\nnpm start \[-- --disk-hosts N --vm-hosts N\]\n/);
  }
  const { status, stdout } = start('--help');
  assert.equal(status, 0);
  assert.match(stdout, /^npm start \[-- --disk-hosts N --vm-hosts N\]\n/);
  assert.deepEqual(readdirSync(folder), []);
});
