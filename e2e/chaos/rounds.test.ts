import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

test('each round has moments of its own and the next begins when it has passed', () => {
  // As a user types it, not as a part of this test run: Node would pass over tests within tests.
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
