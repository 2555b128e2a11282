import { deepEqual, ok } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Summary } from './summary-reporter.ts';

test('counts passed and failed tests, and lists each failed test with file and reason, or how its file ended, without its group', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'summary-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'some.test.mjs');
  writeFileSync(
    file,
    `import { suite, test } from 'node:test';
     suite('a group', () => {
       test('holds', () => {});
       test('breaks', () => { throw new Error('no key\\nand more'); });
     });
     test('has no message', () => { throw new Error(); });
     test('is left out', { skip: true }, () => { throw new Error('never'); });`,
  );
  const shared = join(folder, 'shared.mjs');
  writeFileSync(shared, `import { test } from 'node:test'; test('shared', () => { throw new Error('in common'); });`);
  const importing = join(folder, 'importing.test.mjs');
  writeFileSync(importing, `import './shared.mjs';`);
  const broken = join(folder, 'broken.test.mjs');
  writeFileSync(broken, 'this is not a program');

  const late = join(folder, 'late.test.mjs');
  writeFileSync(
    late,
    `import { test } from 'node:test';
     test('passes', () => {});
     process.on('exit', () => { console.error('RangeError: after the tests'); process.exitCode = 7; });`,
  );

  const { passed, failed, failures, files } = JSON.parse(await runTests([file, importing, broken, late])) as Summary;

  deepEqual({ passed, failed }, { passed: 2, failed: 5 });
  deepEqual(files.map((one) => one.file).toSorted(), [file, importing, late].toSorted());
  ok(files.every(({ ms }) => ms > 0));
  deepEqual(
    failures.toSorted((a, b) => a.name.localeCompare(b.name)),
    [
      {
        name: broken,
        file: broken,
        definedIn: broken,
        reason: "test failed: exit code 1: SyntaxError: Unexpected identifier 'is'",
      },
      { name: late, file: late, definedIn: late, reason: 'test failed: exit code 7: RangeError: after the tests' },
      { name: 'breaks', file, definedIn: file, reason: 'no key' },
      { name: 'has no message', file, definedIn: file, reason: '' },
      { name: 'shared', file: importing, definedIn: shared, reason: 'in common' },
    ],
  );
});

/** What the reporter prints. The run itself ends with 1 when a test fails. */
function runTests(files: readonly string[]): Promise<string> {
  const reporter = join(import.meta.dirname, 'summary-reporter.ts');
  // Node sets this for the processes of its test files. A runner that finds it acts as one of them.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return new Promise((resolve) => {
    execFile(process.execPath, ['--test', `--test-reporter=${reporter}`, ...files], { env }, (_error, stdout) =>
      resolve(stdout),
    );
  });
}
