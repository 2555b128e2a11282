import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { systemRandom } from './random.ts';
import { startTelemetry } from './telemetry.ts';
import { inSpan } from './tracing.ts';

test('shutdown sends what is waiting to the collector, as OTLP in JSON', async () => {
  const received: { url: string | undefined; body: string }[] = [];
  const collector = createServer(async (request, response) => {
    received.push({ url: request.url, body: await text(request) });
    response.setHeader('content-type', 'application/json').end('{}');
  });
  collector.listen(0, '127.0.0.1');
  await once(collector, 'listening');
  const address = collector.address();
  assert.ok(typeof address === 'object' && address !== null);

  const telemetry = startTelemetry({
    service: 'key-vault',
    random: systemRandom,
    tracesEndpoint: `http://127.0.0.1:${address.port}/v1/traces`,
    batch: { delayMs: 60_000, queueSizeMax: 100, batchSizeMax: 100 },
  });
  await inSpan(telemetry.tracer, 'append key', {}, () => undefined);
  await telemetry.shutdown();
  collector.close();
  collector.closeAllConnections();

  assert.equal(received[0]?.url, '/v1/traces');
  const [resource] = JSON.parse(received[0]?.body ?? '').resourceSpans;
  assert.equal(resource.scopeSpans[0].spans[0].name, 'append key');
  assert.match(JSON.stringify(resource.resource), /"service\.name".*"key-vault"/);
});

test('disabled, nothing is recorded and work goes on', async () => {
  const telemetry = startTelemetry({ service: 'test', random: systemRandom, disabled: true });
  assert.equal(await inSpan(telemetry.tracer, 'a', {}, (span) => span.isRecording()), false);
  await telemetry.shutdown();
});
