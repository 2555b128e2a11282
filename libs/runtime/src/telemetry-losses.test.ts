import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { systemRandom } from './random.ts';
import { startTelemetry } from './telemetry.ts';
import { type LostTelemetry, lossLog } from './telemetry-losses.ts';

/** Starts 100 spans in one turn, with a queue of ten, and stops. @returns the last report of losses */
const lostWith = async (tracesEndpoint: string): Promise<LostTelemetry | undefined> => {
  let last: LostTelemetry | undefined;
  const telemetry = startTelemetry({
    service: 'disk',
    random: systemRandom,
    tracesEndpoint,
    batch: { delayMs: 1, queueSizeMax: 10, batchSizeMax: 5 },
    exportTimeoutMs: 200,
    onLost: (lost) => {
      last = lost;
    },
  });
  for (let count = 0; count < 100; count += 1) telemetry.tracer.startSpan('work').end();
  await telemetry.shutdown();
  return last;
};

test('each span that was dropped or not exported is reported, also without a destination of metrics', async () => {
  const refusing = createServer((_request, response) => response.writeHead(400).end()).listen(0, '127.0.0.1');
  const address = await new Promise<ReturnType<typeof refusing.address>>((resolve) => {
    refusing.once('listening', () => resolve(refusing.address()));
  });
  assert.ok(typeof address === 'object' && address !== null);
  const lost = await lostWith(`http://127.0.0.1:${address.port}/v1/traces`);
  refusing.close();
  assert.ok(lost);
  assert.ok(lost.spansDropped > 0);
  assert.equal(lost.spansDropped + lost.spansFailed, 100);
  assert.notEqual(lost.why, '');
});

test('a loss is logged at once, and then once a minute and at the end, with all losses so far', () => {
  let nowMs = 0;
  const logged: unknown[] = [];
  const log = { warn: (_event: string, fields = {}) => void logged.push(Reflect.get(fields, 'spansDropped')) };
  const losses = lossLog({ log, clock: { monotonicMs: () => nowMs } });
  const none = { spansFailed: 0, logRecordsDropped: 0, logRecordsFailed: 0, why: 'queue_full' };
  for (const [atMs, spansDropped] of [
    [0, 1],
    [1, 2],
    [59_999, 3],
    [60_000, 4],
    [60_001, 5],
  ] as const) {
    nowMs = atMs;
    losses.note({ ...none, spansDropped });
  }
  losses.end();
  losses.end();
  assert.deepEqual(logged, [1, 4, 5]);
});
