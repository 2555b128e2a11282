import type { Failure, Results } from './summary-reporter.ts';

/** The result of a test run, after each failed file ran once more. */
export interface Outcome {
  readonly passed: number;
  readonly failed: number;
  /** One line each: the test file, and in parentheses its first failure. Counted as passed. */
  readonly flaky: readonly string[];
  /** One line each: a failure of the run in a file that failed again. */
  readonly failures: readonly string[];
}

/**
 * Reruns each failed file once, alone. If it passes then, its failures count as passed and the file is listed as flaky.
 * If it fails again, or runs no test at all, its failures stay. Failures without a file stay too.
 * @param runAlone runs one test file while nothing else runs
 */
export const rerunFailed = async (first: Results, runAlone: (file: string) => Promise<Results>): Promise<Outcome> => {
  const flaky = new Map<string, readonly Failure[]>();
  for (const [file, failures] of Map.groupBy(first.failures, ({ file }) => file)) {
    if (file === undefined) continue;
    const again = await runAlone(file);
    if (again.failed === 0 && again.failures.length === 0 && again.passed > 0) flaky.set(file, failures);
  }
  const failedAgain = first.failures.filter(({ file }) => file === undefined || !flaky.has(file));
  // The runner lists a failed hook but does not count it: each failure that stays counts at least once.
  const left = Math.max(0, first.failed - (first.failures.length - failedAgain.length));
  const failed = failedAgain.length > 0 ? Math.max(1, left) : left;
  return {
    passed: first.passed + Math.max(0, first.failed - failed),
    failed,
    flaky: [...flaky].map(([file, [failure]]) => `${file} (${failure?.name}: ${failure?.reason})`),
    failures: failedAgain.map(({ name, file, reason }) => `${name} (${file ?? 'no file'}): ${reason}`),
  };
};
