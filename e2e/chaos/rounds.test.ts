import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

test('runs rounds one after the other, each with its own seed', () => {
  // Started as a user starts it, not as part of this test run: Node skips tests inside tests.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const args = ['--rounds', '2', '--seed', 'a', '--only', 'chance'];
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, 'run.ts'), ...args], {
    env,
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(status, 0, `${stdout}${stderr}`);
  assert.match(stdout, /Round 1 of 2, seed a\.1\n[\s\S]*ℹ pass 1\n[\s\S]*Round 2 of 2, seed a\.2\n[\s\S]*ℹ pass 1\n/);
  assert.deepEqual(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? ''), { rounds: 2, failed: 0, seed: 'a.2' });
});
