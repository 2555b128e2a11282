import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../test-run.ts';
import { assertOtlp } from './test-otlp-protobuf.ts';

test('every OTLP line is decoded by the official protobuf messages and encoded back unchanged', () => {
  const { traces, logs } = testRun();
  for (const one of traces) assertOtlp('traces.otlp.jsonl', JSON.stringify(one));
  for (const one of logs) assertOtlp('logs.otlp.jsonl', JSON.stringify(one));
});

test('assertOtlp refuses a field that OTLP does not have', () => {
  const [first] = testRun().traces;
  assert.throws(() => assertOtlp('traces.otlp.jsonl', JSON.stringify({ ...first, service: 'vault' })));
});
