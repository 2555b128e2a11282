import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../test-run.ts';
import { assertOtlp } from './test-otlp-protobuf.ts';

test('every line of OTLP decodes with the official protobuf and encodes to the same', () => {
  const { traces, logs } = testRun();
  for (const one of traces) assertOtlp('traces.otlp.jsonl', JSON.stringify(one));
  for (const one of logs) assertOtlp('logs.otlp.jsonl', JSON.stringify(one));
});

test('a private shape is noticed', () => {
  const [first] = testRun().traces;
  assert.throws(() => assertOtlp('traces.otlp.jsonl', JSON.stringify({ ...first, service: 'vault' })));
});
