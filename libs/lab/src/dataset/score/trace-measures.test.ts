import assert from 'node:assert/strict';
import { test } from 'node:test';
import { spansIn, withSpans } from '../format/otlp.ts';
import { nanosOf } from '../format/truth.ts';
import { testRun } from '../test-run.ts';
import { traceMeasures } from './trace-measures.ts';

test('spanRecall is the fraction of edges with a path, and labelPrecision that of true edges among those that labels name', () => {
  const { spanRecall, labelPrecision, orphans } = traceMeasures(testRun());
  assert.deepEqual([spanRecall, labelPrecision, orphans], [1, 1, 0]);
  const [first, ...edges] = testRun().edges;
  assert.ok(first);
  const missed = { ...testRun(), edges: [{ ...first, carriedBy: 'none' as const }, ...edges] };
  assert.equal(traceMeasures(missed).spanRecall, edges.length / (edges.length + 1));
});

test('only a kill near its time explains an orphan span', () => {
  const run = testRun();
  const parents = new Set(spansIn(run.traces).map(({ parentSpanId }) => parentSpanId));
  const traces = withSpans(run.traces, (span) => (parents.has(span.spanId) ? undefined : span));
  const [orphan] = spansIn(traces).filter(({ parentSpanId }) => parentSpanId);
  assert.ok(orphan);
  const killedAt = (ms: number) => ({
    ...{ name: 'kill', action: 'kill', targets: ['compute'], plannedUnixNano: '0' },
    injectedUnixNano: String(BigInt(orphan.startTimeUnixNano) + BigInt(nanosOf(ms))),
  });
  const unexplained = (...faults: ReturnType<typeof killedAt>[]): number =>
    traceMeasures({ ...run, traces, faults }).unexplained.length;
  assert.ok(unexplained() > 0);
  assert.equal(unexplained(killedAt(100)), 0);
  assert.equal(unexplained(killedAt(60_000)), unexplained());
  assert.equal(unexplained({ ...killedAt(100), action: 'pause' }), unexplained());
});
