import { deepEqual } from 'node:assert/strict';
import { test } from 'node:test';
import { rerunFailed } from './flaky.ts';
import type { Failure, Results } from './summary-reporter.ts';

const failure = (name: string, file?: string): Failure => ({ name, file, definedIn: file, reason: 'no key' });
const passes: Results = { passed: 3, failed: 0, failures: [] };
const again = (file: string): Results => ({ passed: 2, failed: 1, failures: [failure('again', file)] });

/** Reruns the failed files; `second` gives the result of each. @returns the outcome and the files that ran, in order */
const rerun = async (first: Results, second: Readonly<Record<string, Results>>) => {
  const ran: string[] = [];
  const outcome = await rerunFailed(first, async (file) => {
    ran.push(file);
    return second[file] ?? passes;
  });
  return { ran, ...outcome };
};

test('a run without a failure reruns nothing', async () => {
  deepEqual(await rerun({ passed: 9, failed: 0, failures: [] }, {}), {
    ran: [],
    passed: 9,
    failed: 0,
    flaky: [],
    failures: [],
  });
});

test('a failed file runs once more: FLAKY, counted as passed, if it passes then; failed if it fails again', async () => {
  const failures = [failure('one', 'a.test.ts'), failure('two', 'b.test.ts'), failure('three', 'a.test.ts')];
  const outcome = await rerun({ passed: 7, failed: 3, failures }, { 'b.test.ts': again('b.test.ts') });
  deepEqual(outcome, {
    ran: ['a.test.ts', 'b.test.ts'],
    passed: 9,
    failed: 1,
    flaky: ['a.test.ts (one: no key)'],
    failures: ['two (b.test.ts): no key'],
  });
});

test('a failure without a file cannot run again and stays failed', async () => {
  const failures = [failure('the run of the tests')];
  const { ran, passed, failed } = await rerun({ passed: 7, failed: 1, failures }, {});
  deepEqual([ran, passed, failed], [[], 7, 1]);
});

test('a file that runs no test the second time has not passed', async () => {
  const failures = [failure('one', 'a.test.ts')];
  const nothing: Results = { passed: 0, failed: 0, failures: [] };
  const { failed, flaky } = await rerun({ passed: 7, failed: 1, failures }, { 'a.test.ts': nothing });
  deepEqual([failed, flaky], [1, []]);
});

test('a failure that is listed but not counted is a failure, and hides no other', async () => {
  const hook = [failure('before', 'a.test.ts'), failure('one', 'b.test.ts')];
  const kept = await rerun({ passed: 7, failed: 0, failures: hook }, { 'a.test.ts': again('a.test.ts') });
  deepEqual([kept.passed, kept.failed], [7, 1]);
  const uncounted = await rerun({ passed: 7, failed: 1, failures: hook }, {});
  deepEqual([uncounted.passed, uncounted.failed, uncounted.flaky.length], [8, 0, 2]);
});

test('a failure that is counted but not listed stays', async () => {
  const { passed, failed } = await rerun({ passed: 7, failed: 2, failures: [failure('one', 'a.test.ts')] }, {});
  deepEqual([passed, failed], [8, 1]);
});
