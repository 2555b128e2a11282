import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a file of tests as `npm test` does. */
function run(name: string, text: string, isPreloaded = true) {
  const file = join(folder, `${name}.test.mjs`);
  writeFileSync(file, `import { describe, test } from 'node:test';\n${text}\n`);
  const preload = isPreloaded ? [`--import=${import.meta.resolve('./untracked-promises.ts')}`] : [];
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return spawnSync(process.execPath, ['--test', ...preload, file], { env, encoding: 'utf8', timeout: 30_000 });
}

/** Only a promise that a hook tracks gives what runs after it an id of its own. */
const isTracked = `
  import { executionAsyncId } from 'node:async_hooks';
  test('ids', async () => { await undefined; console.log('tracked:', executionAsyncId() !== 0); });`;

test('test files do not pay for hooks on each promise', () => {
  assert.match(run('by-default', isTracked, false).stdout, /tracked: true/);
  assert.match(run('preloaded', isTracked).stdout, /tracked: false/);
});

test('an error that no test catches fails its file, whether it is thrown or a rejection', () => {
  for (const [name, text] of [
    ['a rejection', "Promise.reject(new Error('lost'));"],
    ['a rejection after a wait', "await null; Promise.reject(new Error('lost')); await new Promise(setImmediate);"],
    ['thrown later', "setImmediate(() => { throw new Error('lost'); }); await new Promise(setImmediate);"],
    ['thrown after the test', "setTimeout(() => { throw new Error('lost'); }, 1);"],
  ] as const) {
    const { status, stdout } = run(name.replaceAll(' ', '-'), `test('one', async () => { ${text} });`);
    assert.equal(status, 1, `${name}: ${stdout}`);
    assert.match(stdout, /lost/, name);
    assert.match(stdout, /✖ (one|\S+\.test\.mjs)/, name);
  }
});

test('tests in suites and in tests belong to them', () => {
  const { stdout } = run(
    'nested',
    `describe('outer', () => { describe('inner', () => { test('in both', () => {}); }); });
     test('parent', async (t) => { await null; await t.test('child', () => {}); });`,
  );
  assert.match(stdout, /▶ outer\n {2}▶ inner\n {4}✔ in both/);
  assert.match(stdout, /▶ parent\n {2}✔ child/);
});
