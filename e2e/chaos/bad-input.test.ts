import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

/** A run that ends before it starts or harms anything. */
const chaos = (...args: readonly string[]) =>
  spawnSync(process.execPath, [join(import.meta.dirname, 'run.ts'), ...args], { encoding: 'utf8', timeout: 60_000 });

test('--help prints the options, also with other arguments', () => {
  for (const args of [['--help'], ['-h'], ['--rounds', 'many', '--help']]) {
    const { status, stderr, stdout } = chaos(...args);
    assert.deepEqual([status, stderr], [0, ''], args.join(' '));
    for (const said of [/^npm run chaos -- /, /--rounds N /, /--seed S /, /--only TEXT /]) assert.match(stdout, said);
  }
});

test('names an invalid option before it starts anything', () => {
  for (const [args, expected] of [
    [['--round', '2'], /Unknown option '--round'[\s\S]*npm run chaos -- /],
    [['--rounds', '0'], /--rounds is "0"; it must be 1 to 99999/],
    [['--seed', 'a b'], /--seed is "a b"/],
    [['--only', 'no-such-fault'], /No test file has "no-such-fault"/],
  ] as const) {
    const { status, stderr, stdout } = chaos(...args);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, expected);
    assert.doesNotMatch(stderr, / at .*\.ts:/, 'a text, not a stack');
  }
});
