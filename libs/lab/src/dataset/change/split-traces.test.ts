import assert from 'node:assert/strict';
import { test } from 'node:test';
import { profileOf } from '../format/distribution.ts';
import { spansIn, withSpans } from '../format/otlp.ts';
import { testRun } from '../test-run.ts';
import { graphHash } from '../truth/graph-hash.ts';
import { splitTraces } from './split-traces.ts';

test('a span below one of another service begins a trace with a link; a symptom loses the trace of its root', () => {
  const run = testRun();
  // As services record it: the consumer is below the publisher, in its trace.
  const one = '1'.padStart(32, '0');
  const below = new Map([
    ['3'.padStart(16, '0'), '2'.padStart(16, '0')],
    ['4'.padStart(16, '0'), '3'.padStart(16, '0')],
  ]);
  const traces = withSpans(run.traces, (span) => {
    const parentSpanId = below.get(span.spanId);
    return parentSpanId === undefined ? span : { ...span, traceId: one, parentSpanId, links: [] };
  });
  const events = run.events.map((event) => (below.has(event.spanId) ? { ...event, traceId: one } : event));
  const whole = { ...run, traces, events };
  assert.equal(profileOf(whole).symptomsInOtherTraces, 0);
  const split = splitTraces(whole);
  assert.equal(profileOf(split).symptomsInOtherTraces, profileOf(split).symptoms);
  assert.equal(graphHash(split.events), graphHash(run.events));
  const [process, stop] = ['process', 'stop'].map((name) => spansIn(split.traces).find((span) => span.name === name));
  assert.ok(process && stop);
  assert.equal(process.parentSpanId, undefined);
  assert.deepEqual(
    process.links?.map(({ traceId, spanId }) => [traceId, spanId]),
    [[one, '2'.padStart(16, '0')]],
  );
  assert.equal(split.events.find(({ id }) => id === 'stopped')?.traceId, stop.traceId);
  assert.deepEqual(
    split.edges.map(({ carriedBy }) => carriedBy),
    ['link', 'link', 'parent'],
  );
});

test('a call keeps its trace', () => {
  const run = testRun();
  const traces = withSpans(run.traces, (span) => (span.name === 'stop' ? { ...span, kind: 2 } : span));
  assert.deepEqual(splitTraces({ ...run, traces }).traces.length, traces.length);
  const traceOf = (name: string): string | undefined =>
    spansIn(splitTraces({ ...run, traces }).traces).find((span) => span.name === name)?.traceId;
  assert.equal(traceOf('stop'), traceOf('process'));
});
