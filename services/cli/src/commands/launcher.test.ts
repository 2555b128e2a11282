import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { tryLock } from '@interlock/local/lock.mjs';
import { isLauncherGone } from './launcher.ts';

test('isLauncherGone is true for a killed launcher, not for a running or a missing one', () => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-launcher-'));
  try {
    assert.equal(isLauncherGone(folder), false, 'nothing ever ran here');
    const lock = join(folder, 'launcher.lock');
    const taking =
      "import('@interlock/local/lock.mjs').then(({ tryLock }) => { if (!tryLock(process.argv[1]).taken) process.exit(1); process.kill(process.pid, 'SIGKILL'); })";
    const { signal } = spawnSync(process.execPath, ['-e', taking, lock], { cwd: import.meta.dirname });
    assert.equal(signal, 'SIGKILL', 'it took the lock and was killed');
    assert.equal(isLauncherGone(folder), true);
    const attempt = tryLock(lock);
    assert.ok(attempt.taken);
    assert.equal(isLauncherGone(folder), false, 'this process has it');
    attempt.release();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
