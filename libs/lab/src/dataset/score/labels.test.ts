import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelAttributes, withoutLabels } from '../format/labels.ts';
import { type KeyValue, type OtlpSpan, withSpans } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { testRun } from '../test-run.ts';
import { baselineNames, blindMethods, type MethodName, predictionOf } from './baselines.ts';
import { score } from './score.ts';

const list = (key: string, ...ids: readonly string[]): KeyValue => ({
  key,
  value: { arrayValue: { values: ids.map((stringValue) => ({ stringValue })) } },
});

/** The test run with labels on a link, a span event, a span, a log record and a data point. They name a false cause of `stopped`. */
const labelledRun = (): RunData => {
  const run = testRun();
  const { causes, events } = labelAttributes;
  const traces = withSpans(run.traces, (span): OtlpSpan => {
    const stored = run.events.filter(({ spanId }) => spanId === span.spanId).map(({ id }) => id);
    const started = { traceId: '3'.padStart(32, '0'), spanId: '5'.padStart(16, '0') };
    if (!stored.includes('stopped')) return { ...span, attributes: [list(events, ...stored)] };
    return {
      ...span,
      attributes: [list(events, ...stored), { key: 'x', value: { stringValue: 'y' } }],
      // Only the label says which of the two linked spans stored the cause.
      links: [
        { ...started, attributes: [list(causes, 'started')] },
        { traceId: span.traceId, spanId: '3'.padStart(16, '0') },
      ],
      events: [{ timeUnixNano: '1', name: 'part', attributes: [list(causes, 'started')] }],
    };
  });
  const point = {
    timeUnixNano: '1',
    attributes: [list(causes, 'a')],
    exemplars: [{ filteredAttributes: [list(events, 'a')] }],
  };
  const metrics = [
    { resourceMetrics: [{ scopeMetrics: [{ metrics: [{ name: 'm', sum: { dataPoints: [point] } }] }] }] },
  ];
  const logs = run.logs.map(({ resourceLogs = [] }) => ({
    resourceLogs: resourceLogs.map(({ scopeLogs = [], ...one }) => ({
      ...one,
      scopeLogs: scopeLogs.map(({ logRecords = [] }) => ({
        logRecords: logRecords.map((record) => ({ ...record, attributes: [list(causes, 'a')] })),
      })),
    })),
  }));
  return { ...run, traces, metrics: metrics as RunData['metrics'], logs };
};

test('withoutLabels removes labels from spans, links, span events, logs, data points and exemplars, and nothing else', () => {
  const blind = withoutLabels(labelledRun());
  const text = JSON.stringify([blind.traces, blind.metrics, blind.logs]);
  for (const name of Object.values(labelAttributes)) assert.ok(!text.includes(name), name);
  assert.match(text, /"key":"x"/);
  assert.deepEqual(blind.edges, testRun().edges);
  assert.deepEqual(withoutLabels(testRun()), testRun());
});

test('only the method labels reads labels; every other method predicts the same without them', () => {
  const run = labelledRun();
  const blind = withoutLabels(run);
  for (const name of blindMethods) assert.deepEqual(predictionOf(name, run), predictionOf(name, blind), name);
  assert.notDeepEqual(predictionOf('labels', run).edges, predictionOf('labels', blind).edges);
});

/** Removes what a column holds. */
const without: Readonly<Record<string, (run: RunData) => RunData>> = {
  'span.parent_span_id': (run) => ({ ...run, traces: withSpans(run.traces, ({ parentSpanId: _, ...span }) => span) }),
  'span.links': (run) => ({ ...run, traces: withSpans(run.traces, ({ links: _, ...span }) => span) }),
  'span.start': (run) => ({ ...run, traces: withSpans(run.traces, (span) => ({ ...span, startTimeUnixNano: '1' })) }),
  labels: withoutLabels,
  'span.name': (run) => ({ ...run, traces: withSpans(run.traces, (span) => ({ ...span, name: 'x', kind: 1 })) }),
  logs: (run) => ({ ...run, logs: [], metrics: [] }),
  edges: (run) => ({ ...run, edges: [], events: run.events.map((event) => ({ ...event, causes: [] })) }),
  faults: (run) => ({ ...run, faults: [] }),
};

test('a method predicts the same without each column that it does not declare', () => {
  const run = labelledRun();
  const isRead = (name: MethodName, column: string): boolean =>
    (predictionOf(name, run).reads ?? []).some(
      (one) => one === column || (column === 'labels' && one.startsWith('interlock.')),
    );
  for (const name of baselineNames)
    for (const [column, remove] of Object.entries(without))
      if (!isRead(name, column))
        assert.deepEqual(
          predictionOf(name, remove(run)).edges,
          predictionOf(name, run).edges,
          `${name} reads ${column}`,
        );
});

test('a score names the columns that its method read', () => {
  const run = testRun();
  assert.deepEqual(score(run, predictionOf('timestamps', run)).reads?.includes('span.start'), true);
  assert.equal(score(run, { method: 'mine', edges: [] }).reads, undefined);
});
