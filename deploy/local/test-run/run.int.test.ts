import { deepEqual, match } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

test('npm test reruns a failed file once: FLAKY counts as passed, FAILED exits with 1; the last line has the counts', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'flaky-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const mark = JSON.stringify(join(folder, 'ran'));
  writeFileSync(
    join(folder, 'flaky.test.mjs'),
    `import { existsSync, writeFileSync } from 'node:fs';
     import { test } from 'node:test';
     test('holds the second time', () => {
       if (existsSync(${mark})) return;
       writeFileSync(${mark}, '');
       throw new Error('not yet');
     });
     test('holds', () => {});`,
  );
  writeFileSync(
    join(folder, 'broken.test.mjs'),
    `import { test } from 'node:test'; test('breaks', () => { throw new Error('never'); });`,
  );
  writeFileSync(join(folder, 'good.test.mjs'), promisesAreNotTracked);

  const { code, lines } = await runTests(folder);
  const found = lines
    .filter((line) => /^(FLAKY|FAILED|Running again)/.test(line))
    .map((line) => line.replaceAll(/[^\s(]*\//g, ''));
  deepEqual(found, [
    'Running again, alone: broken.test.mjs',
    'Running again, alone: flaky.test.mjs',
    'FLAKY: flaky.test.mjs (holds the second time: not yet)',
    'FAILED: breaks (broken.test.mjs): never',
  ]);
  deepEqual([code, lines.at(-1)], [1, '3 passed, 1 failed']);

  rmSync(join(folder, 'broken.test.mjs'));
  rmSync(join(folder, 'ran'));
  const second = await runTests(folder);
  match(second.lines.join('\n'), /^FLAKY: /m);
  deepEqual([second.code, second.lines.at(-1)], [0, '3 passed, 0 failed']);
});

/** Only a promise that a hook tracks gives what runs after it an id of its own. */
const promisesAreNotTracked = `
  import { equal } from 'node:assert/strict';
  import { executionAsyncId } from 'node:async_hooks';
  import { test } from 'node:test';
  test('holds', async () => { await undefined; equal(executionAsyncId(), 0); });`;

/** `npm test` with these files, on the servers of the current test run. */
function runTests(folder: string): Promise<{ code: number; lines: readonly string[] }> {
  // Node sets this for the processes of its test files. A runner that finds it acts as one of them.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const args = [join(import.meta.dirname, 'run.ts'), join(folder, '*.test.mjs')];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env }, (error, stdout) =>
      resolve({ code: Number(error?.code ?? 0), lines: stdout.trimEnd().split('\n') }),
    );
  });
}
