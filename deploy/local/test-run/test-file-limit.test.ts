import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a file of tests with a limit of 0.6 s. */
function run(name: string, text: string) {
  const file = join(folder, `${name}.test.mjs`);
  writeFileSync(file, `import { test } from 'node:test';\n${text}\n`);
  const preload = `--import=${import.meta.resolve('./test-file-limit.ts')}?minutes=0.01`;
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return spawnSync(process.execPath, ['--test', preload, file], { env, encoding: 'utf8', timeout: 30_000 });
}

test('kills and names a test file that keeps running after its tests', () => {
  const { status, stdout, stderr } = run('goes-on', "test('over', () => {}); setInterval(() => {}, 100);");
  assert.equal(status, 1, stderr);
  assert.match(stdout, /✔ over/);
  assert.match(stdout + stderr, /No test has ended for 0\.01 minutes, nor the file; still active: .*Timeout/);
  assert.match(stdout, /✖ \S*goes-on\.test\.mjs/);
});

test('a test file that takes longer than the limit continues as long as its tests end', () => {
  const pause = 'await new Promise((resolve) => setTimeout(resolve, 200));';
  const { status, stdout } = run('long', `for (let n = 0; n < 5; n += 1) test('one', async () => { ${pause} });`);
  assert.equal(status, 0, stdout);
});

test('a test file that ends in time does not wait for its limit', () => {
  const since = performance.now();
  const { status, stdout } = run('ends', "test('over', () => {});");
  assert.equal(status, 0, stdout);
  assert(performance.now() - since < 30_000);
});
