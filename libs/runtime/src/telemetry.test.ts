import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { systemRandom } from './random.ts';
import { startTelemetry } from './telemetry.ts';
import { inSpan } from './tracing.ts';

/** A port of 127.0.0.1 on which no process listens. */
const freePort = async (): Promise<number> => {
  const { url, close } = await openCollector();
  close();
  return Number(new URL(url).port);
};

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

test('the resource says what is reported by whom: version, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME', async () => {
  const collector = await openCollector();
  const telemetry = startTelemetry({
    service: 'disk',
    version: '1.2.3',
    random: systemRandom,
    tracesEndpoint: `${collector.url}/v1/traces`,
    serviceName: 'disk-west',
    attributes: { team: 'storage', 'service.name': 'hidden by OTEL_SERVICE_NAME', 'service.namespace': 'west' },
  });
  await inSpan(telemetry.tracer, 'append', {}, () => undefined);
  await telemetry.shutdown();
  collector.close();

  const [{ resource }] = JSON.parse(collector.received[0]?.body ?? '').resourceSpans;
  const said = Object.fromEntries(
    resource.attributes.map(({ key, value }: { key: string; value: { stringValue: string } }) => [
      key,
      value.stringValue,
    ]),
  );
  const { 'service.instance.id': instance, ...rest } = said;
  assert.match(instance, /^[0-9a-f]{16}$/);
  assert.deepEqual(rest, {
    'service.name': 'disk-west',
    'service.version': '1.2.3',
    'service.namespace': 'west',
    team: 'storage',
  });
});

test('a Prometheus scrapes what was measured; a gauge that is no longer observed is gone', async () => {
  const port = await freePort();
  const telemetry = startTelemetry({ service: 'disk', random: systemRandom, prometheus: { host: '127.0.0.1', port } });
  let leases = ['a', 'b'];
  telemetry.meter.createObservableGauge('interlock.lease.age', { unit: 's' }).addCallback((result) => {
    for (const lease of leases) result.observe(1, { lease });
  });
  telemetry.meter.createCounter('interlock.test.count').add(2);
  const scrape = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  assert.match(await scrape(), /^interlock_lease_age\{.*lease="a".*\} 1$/m);
  leases = ['b'];
  const second = await scrape();
  assert.doesNotMatch(second, /lease="a"/);
  assert.match(second, /lease="b"/);
  assert.match(second, /^interlock_test_count_total\{.*\} 2$/m);
  await telemetry.shutdown();
});

test('a port that is taken is reported and does not end the process', async () => {
  const collector = await openCollector();
  const refused = Promise.withResolvers<unknown>();
  const telemetry = startTelemetry({
    service: 'disk',
    random: systemRandom,
    prometheus: { host: '127.0.0.1', port: Number(new URL(collector.url).port) },
    onNotScraped: refused.resolve,
  });
  assert.match(String(await refused.promise), /EADDRINUSE/);
  await telemetry.shutdown();
  collector.close();
});

test('disabled telemetry records nothing, and work continues', async () => {
  const telemetry = startTelemetry({ service: 'test', random: systemRandom, disabled: true });
  assert.equal(await inSpan(telemetry.tracer, 'a', {}, (span) => span.isRecording()), false);
  await telemetry.shutdown();
});
