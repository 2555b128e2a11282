import type { TestEvent } from 'node:test/reporters';

/**
 * A reporter for `node --test` that prints one line of JSON, `{"passed":n,"failed":n}`, when all files have run. A file that
 * does not load counts as one failure; skipped tests count as neither.
 */
export default async function* summary(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    // One such event comes for each file, and one without a file for all of them.
    if (event.type !== 'test:summary' || event.data.file !== undefined) continue;
    const { passed, tests, skipped, todo } = event.data.counts;
    yield `${JSON.stringify({ passed, failed: tests - passed - skipped - todo })}\n`;
  }
}
