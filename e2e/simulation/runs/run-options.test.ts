import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readOptions, UsageError } from './run-options.ts';
import { emptySummary, throughputLine, violationText } from './run-summary.ts';

const read = (...args: readonly string[]) => readOptions(args, () => 7);

test('an invalid option is an error that says what is allowed', () => {
  const wrong = [
    [['--seed', 'abc'], '--seed must be a whole number from 0 to 4294967295, not "abc"'],
    [['--seed', '1.5'], '--seed must be a whole number from 0 to 4294967295, not "1.5"'],
    [['--seed='], '--seed must be a whole number from 0 to 4294967295, not ""'],
    [['--seed', '4294967296'], '--seed must be a whole number from 0 to 4294967295, not "4294967296"'],
    [['--workers', 'two'], '--workers must be a whole number from 1 to 64, not "two"'],
    [['--seed', '-1'], '--seed must be a whole number from 0 to 4294967295, not "-1"'],
    [['--seed=-1'], '--seed must be a whole number from 0 to 4294967295, not "-1"'],
    [['--seconds', '0'], '--seconds must be a whole number from 1 to 86400, not "0"'],
  ] as const;
  for (const [args, message] of wrong) {
    assert.throws(
      () => read(...args),
      (error) => error instanceof UsageError && error.message === message,
    );
  }
  assert.throws(() => read('--sede', '1'), UsageError);
  assert.throws(() => read('--disk-hosts', '-1'), /--disk-hosts must be a whole number from 0 to 200, not "-1"/);
  assert.equal(read('--disk-hosts', '50')?.diskHosts, 50);
});

test('--help gives no options, and a missing seed is drawn', () => {
  assert.equal(read('--help'), undefined);
  assert.deepEqual([read()?.seed, read('--seed', '3')?.seed, read('--seed', '3')?.histories], [7, 3, 1]);
});

test('one history is singular', () => {
  assert.match(throughputLine({ ...emptySummary, histories: 1 }, 1_000), /^1 history in 1\.0 s: .* 0 violations$/);
});

test('the command that repeats a violation has the numbers of hosts, which change what a seed plays', () => {
  const violation = { guarantee: 'G1', expected: 'a', actual: 'b', atMs: 1_000 } as const;
  const text = (chosen?: { diskHosts?: number; vmHosts?: number }) =>
    violationText({ ...emptySummary, seed: 7, violation }, chosen);
  assert.match(text(), /npm run simulate -- --seed 7$/);
  assert.match(text({ diskHosts: 0 }), /npm run simulate -- --seed 7 --disk-hosts 0$/);
  assert.match(text({ vmHosts: 2 }), /--seed 7 --vm-hosts 2$/);
});
