import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { systemRandom } from './random.ts';
import { startTelemetry } from './telemetry.ts';
import { inSpan } from './tracing.ts';

/** A collector that keeps what it is sent. */
const openCollector = async () => {
  const received: { url: string | undefined; body: string }[] = [];
  const collector = createServer(async (request, response) => {
    received.push({ url: request.url, body: await text(request) });
    response.setHeader('content-type', 'application/json').end('{}');
  });
  collector.listen(0, '127.0.0.1');
  await once(collector, 'listening');
  const address = collector.address();
  assert.ok(typeof address === 'object' && address !== null);
  const close = () => {
    collector.close();
    collector.closeAllConnections();
  };
  return { received, url: `http://127.0.0.1:${address.port}`, close };
};

test('shutdown sends what is waiting to the collector, as OTLP in JSON', async () => {
  const collector = await openCollector();
  const telemetry = startTelemetry({
    service: 'key-vault',
    random: systemRandom,
    tracesEndpoint: `${collector.url}/v1/traces`,
    batch: { delayMs: 60_000, queueSizeMax: 100, batchSizeMax: 100 },
  });
  await inSpan(telemetry.tracer, 'append key', {}, () => undefined);
  await telemetry.shutdown();
  collector.close();

  const [first] = collector.received;
  assert.equal(first?.url, '/v1/traces');
  const [resource] = JSON.parse(first?.body ?? '').resourceSpans;
  assert.equal(resource.scopeSpans[0].spans[0].name, 'append key');
  assert.match(JSON.stringify(resource.resource), /"service\.name".*"key-vault"/);
});

test('so it is with what was measured, and with what is read only then', async () => {
  const collector = await openCollector();
  const telemetry = startTelemetry({
    service: 'disk',
    random: systemRandom,
    metricsEndpoint: `${collector.url}/v1/metrics`,
  });
  telemetry.meter.createHistogram('interlock.test.duration', { unit: 's' }).record(0.25, { why: 'because' });
  const left = telemetry.meter.createObservableGauge('interlock.test.left');
  left.addCallback(async (result) => result.observe(7));
  await telemetry.shutdown();
  collector.close();

  const [first] = collector.received;
  assert.equal(first?.url, '/v1/metrics');
  const [resource] = JSON.parse(first?.body ?? '').resourceMetrics;
  assert.match(JSON.stringify(resource.resource), /"service\.name".*"disk".*"service\.instance\.id"/);
  const [duration, gauge] = resource.scopeMetrics[0].metrics;
  assert.deepEqual(
    [duration.name, duration.unit, duration.histogram.dataPoints[0].sum],
    ['interlock.test.duration', 's', 0.25],
  );
  assert.deepEqual([gauge.name, gauge.gauge.dataPoints[0].asDouble], ['interlock.test.left', 7]);
});

test('disabled, nothing is recorded and work goes on', async () => {
  const telemetry = startTelemetry({ service: 'test', random: systemRandom, disabled: true });
  assert.equal(await inSpan(telemetry.tracer, 'a', {}, (span) => span.isRecording()), false);
  await telemetry.shutdown();
});
