import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../test-run.ts';
import { exportsOf } from './span-counts.ts';

const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });

test('spans of a process are counted as received, and as its newest counters have them; a failed export is no drop', () => {
  const resource = { attributes: [text('service.name', 'key-vault')] };
  const counter = (name: string, ...points: readonly (readonly [number, string?])[]) => ({
    name,
    sum: {
      dataPoints: points.map(([asInt, why]) => ({
        asInt,
        attributes: why === undefined ? [] : [text('error.type', why)],
      })),
    },
  });
  const request = (exported: number, failed: number, dropped: number) => ({
    resourceMetrics: [
      {
        resource,
        scopeMetrics: [
          {
            metrics: [
              counter('otel.sdk.exporter.span.exported', [exported], [failed, 'timeout']),
              counter('otel.sdk.processor.span.processed', [exported], [failed, 'Error'], [dropped, 'queue_full']),
              counter('http.server.active_requests', [7]),
            ],
          },
        ],
      },
    ],
  });
  const [disk, ...others] = exportsOf(testRun().traces, [request(1, 0, 0), request(2, 3, 4)]).filter(
    ({ service }) => service === 'key-vault',
  );
  assert.deepEqual(others, []);
  assert.deepEqual(disk, { service: 'key-vault', instance: '', received: 2, exported: 2, failed: 3, dropped: 4 });
});
