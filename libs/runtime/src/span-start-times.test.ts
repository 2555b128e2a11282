import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hrTimeToMicroseconds } from '@opentelemetry/core';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { preciseStarts } from './span-start-times.ts';

test('start times of spans have microseconds, and follow the wall clock when it is set', () => {
  const spans = new InMemorySpanExporter();
  let nowMs = 1_700_000_000_000;
  let monotonicMs = 5;
  const clock = { now: () => Math.trunc(nowMs), monotonicMs: () => monotonicMs };
  const provider = new TracerProvider({
    spanProcessors: [preciseStarts(clock), new SimpleSpanProcessor({ exporter: spans })],
  });
  const tracer = provider.getTracer('test');
  const pass = (ms: number): void => {
    nowMs += ms;
    monotonicMs += ms;
  };
  tracer.startSpan('first').end();
  pass(0.25);
  tracer.startSpan('second').end();
  nowMs += 3_600_000;
  tracer.startSpan('an hour later').end();
  const [first, second, later] = spans.getFinishedSpans().map(({ startTime }) => hrTimeToMicroseconds(startTime));
  assert.equal(first, 1_700_000_000_000_000);
  assert.equal(second, 1_700_000_000_000_250);
  assert.ok(Math.abs((later ?? 0) - (second ?? 0) - 3_600_000_000) < 2_000, `${later}`);
});
