import type { TestEvent } from 'node:test/reporters';

/** What a run of the tests came to. `failures` names each failed test with its file and the first line of its error. */
export interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly failures: readonly string[];
}

/**
 * A reporter for `node --test` that prints one line of JSON, a {@link Summary}, when all files have run. A file that does not
 * load counts as one failure; skipped tests count as neither.
 */
export default async function* summary(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failures: string[] = [];
  for await (const event of events) {
    if (event.type === 'test:fail') failures.push(...failureOf(event.data));
    // One such event comes for each file, and one without a file for all of them.
    if (event.type !== 'test:summary' || event.data.file !== undefined) continue;
    const { passed, tests, skipped, todo } = event.data.counts;
    yield `${JSON.stringify({ passed, failed: tests - passed - skipped - todo, failures } satisfies Summary)}\n`;
  }
}

/** Nothing for a test that failed only because one within it did: that one is named itself. */
function failureOf({ name, file, details }: Extract<TestEvent, { type: 'test:fail' }>['data']): string[] {
  const { error } = details;
  if ('failureType' in error && error.failureType === 'subtestsFailed') return [];
  const reason = error.cause instanceof Error ? error.cause.message : error.message;
  return [`${name} (${file ?? 'no file'}): ${reason.split('\n', 1)[0]}`];
}
