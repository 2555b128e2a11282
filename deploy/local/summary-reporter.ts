import type { TestEvent } from 'node:test/reporters';

/** A test that failed. */
export interface Failure {
  readonly name: string;
  /** The test file that ran, also if it imports the file that defines the test. */
  readonly file: string | undefined;
  /** First line of the error. */
  readonly reason: string;
}

/** The result of a test run. */
export interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly failures: readonly Failure[];
}

/**
 * A reporter for `node --test` that prints one line of JSON, a {@link Summary}, when all files have run. A file that does not
 * load counts as one failure; skipped tests count neither as passed nor as failed.
 */
export default async function* summary(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failures: Failure[] = [];
  for await (const event of events) {
    if (event.type === 'test:fail') failures.push(...failureOf(event.data));
    // There is one such event for each file, and one without a file for all of them.
    if (event.type !== 'test:summary' || event.data.file !== undefined) continue;
    const { passed, tests, skipped, todo } = event.data.counts;
    yield `${JSON.stringify({ passed, failed: tests - passed - skipped - todo, failures } satisfies Summary)}\n`;
  }
}

/** Nothing for a test that failed only because of a test inside it: that one is listed itself. */
function failureOf(data: Extract<TestEvent, { type: 'test:fail' }>['data']): Failure[] {
  const { name, details } = data;
  const { error } = details;
  if ('failureType' in error && error.failureType === 'subtestsFailed') return [];
  const message = error.cause instanceof Error ? error.cause.message : error.message;
  const [reason = ''] = message.split('\n', 1);
  return [{ name, file: entryFileOf(data) ?? data.file, reason }];
}

/** Node's types lack these fields: `file` defines the test, `entryFile` was started. */
const entryFileOf = (data: object): string | undefined =>
  'entryFile' in data && typeof data.entryFile === 'string' ? data.entryFile : undefined;
