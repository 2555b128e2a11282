import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { disabledTelemetry } from './disabled-telemetry.ts';
import { logger } from './logger.ts';
import { systemRandom } from './random.ts';
import { measureRuntime } from './runtime-metrics.ts';
import { startTelemetry } from './telemetry.ts';
import { contextFromTraceparent, currentTraceparent, inSpan } from './tracing.ts';

/** A port of 127.0.0.1 on which no process listens. */
const freePort = async (): Promise<number> => {
  const { url, close } = await openCollector();
  close();
  return Number(new URL(url).port);
};

/** A collector that keeps the received requests. */
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

test('shutdown exports waiting spans to the collector, as OTLP in JSON', async () => {
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

test('shutdown exports metrics too, including observable ones', async () => {
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

test('the resource has service name, version, configured attributes, and those of host, process and SDK', async () => {
  const collector = await openCollector();
  const telemetry = startTelemetry({
    service: 'disk',
    version: '1.2.3',
    host: 'disk-0',
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
  assert.match(instance, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const detected = Object.keys(rest).filter((key) => /^(telemetry\.sdk|host|process)\./.test(key));
  const required = [
    'telemetry.sdk.name',
    'telemetry.sdk.language',
    'telemetry.sdk.version',
    'host.name',
    'process.pid',
  ];
  for (const key of [...required, 'process.runtime.name', 'process.runtime.version'])
    assert.ok(detected.includes(key), `${key} in ${detected}`);
  assert.deepEqual(Object.fromEntries(Object.entries(rest).filter(([key]) => !detected.includes(key))), {
    'service.name': 'disk-west',
    'service.version': '1.2.3',
    'service.namespace': 'west',
    'interlock.host': 'disk-0',
    team: 'storage',
  });
});

test('Prometheus scrapes the metrics under the names of alerts, without values of a gauge that are no longer observed', async () => {
  const port = await freePort();
  const telemetry = startTelemetry({ service: 'disk', random: systemRandom, prometheus: { host: '127.0.0.1', port } });
  let leases = ['a', 'b'];
  telemetry.meter.createObservableGauge('interlock.lease.age', { unit: 's' }).addCallback((result) => {
    for (const lease of leases) result.observe(1, { lease });
  });
  telemetry.meter.createCounter('interlock.test.count').add(2);
  const scrape = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  assert.match(await scrape(), /^interlock_lease_age_seconds\{service_name="disk",lease="a".*\} 1$/m);
  leases = ['b'];
  const second = await scrape();
  assert.doesNotMatch(second, /lease="a"/);
  assert.match(second, /lease="b"/);
  assert.match(second, /^interlock_test_count_total\{service_name="disk".*\} 2$/m);
  await telemetry.shutdown();
});

test('a used Prometheus port is reported and does not end the process', async () => {
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

test('a log line is exported with trace and span, without secrets; runtime metrics are exported', async () => {
  const collector = await openCollector();
  const telemetry = startTelemetry({
    service: 'disk',
    random: systemRandom,
    logsEndpoint: `${collector.url}/v1/logs`,
    metricsEndpoint: `${collector.url}/v1/metrics`,
  });
  assert.ok(telemetry.meterProvider);
  const stop = measureRuntime(telemetry.meterProvider);
  const log = logger({ service: 'disk', clock: { now: () => 1_700_000_000_000 }, write: () => undefined });
  const running = await inSpan(telemetry.tracer, 'work', {}, (span) => {
    log.warn('lease is renewed late', { set: 'des1', lateMs: 7, token: 'hidden', nested: { a: 1 } });
    return span.spanContext();
  });
  await telemetry.shutdown();
  stop();
  collector.close();
  const bodyOf = (path: string) => JSON.parse(collector.received.find(({ url }) => url === path)?.body ?? '');
  const [record] = bodyOf('/v1/logs').resourceLogs[0].scopeLogs[0].logRecords;
  assert.deepEqual(
    [record.traceId, record.spanId, record.severityText, record.body.stringValue, record.timeUnixNano],
    [running.traceId, running.spanId, 'WARN', 'lease is renewed late', '1700000000000000000'],
  );
  const attributes = Object.fromEntries(
    record.attributes.map(({ key, value }: { key: string; value: object }) => [key, value]),
  );
  assert.deepEqual(attributes, {
    set: { stringValue: 'des1' },
    lateMs: { intValue: 7 },
    token: { stringValue: '‹hidden›' },
    nested: { stringValue: '{"a":1}' },
  });
  const names = JSON.stringify(bodyOf('/v1/metrics')).match(/"name":"(nodejs|v8js)\.[^"]+"/g) ?? [];
  assert.ok(
    names.some((name) => name.includes('nodejs.eventloop.utilization')),
    names.join(),
  );
});

test('spans are exported as protobuf if that is configured', async () => {
  const collector = await openCollector();
  const telemetry = startTelemetry({
    service: 'disk',
    random: systemRandom,
    tracesEndpoint: `${collector.url}/v1/traces`,
    tracesProtocol: 'http/protobuf',
  });
  await inSpan(telemetry.tracer, 'work', {}, () => undefined);
  await telemetry.shutdown();
  collector.close();
  assert.match(collector.received[0]?.body ?? '', /service\.name/);
  assert.throws(() => JSON.parse(collector.received[0]?.body ?? ''));
});

test('a trace that its caller does not sample stays unsampled', async () => {
  const telemetry = startTelemetry({ service: 'disk', random: systemRandom });
  const parent = contextFromTraceparent('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00');
  const seen = await inSpan(telemetry.tracer, 'work', { parent }, (span) => [span.isRecording(), currentTraceparent()]);
  await telemetry.shutdown();
  assert.equal(seen[0], false);
  assert.match(String(seen[1]), /^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-00$/);
});

/** A collector that does not respond, or responds with garbage. */
const openBrokenCollector = async (how: 'silent' | 'garbage') => {
  const server = createServer((request, response) => {
    request.resume();
    if (how === 'garbage') request.on('end', () => response.writeHead(200).end('<garbage>'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${address.port}`, close };
};

for (const how of ['down', 'silent', 'garbage'] as const) {
  test(`a collector that is ${how} blocks no work, and dropped spans and log records are counted`, async () => {
    const broken =
      how === 'down'
        ? { url: `http://127.0.0.1:${await freePort()}`, close: () => {} }
        : await openBrokenCollector(how);
    const collector = await openCollector();
    const telemetry = startTelemetry({
      service: 'disk',
      random: systemRandom,
      tracesEndpoint: `${broken.url}/v1/traces`,
      logsEndpoint: `${broken.url}/v1/logs`,
      metricsEndpoint: `${collector.url}/v1/metrics`,
      batch: { delayMs: 1, queueSizeMax: 10, batchSizeMax: 5 },
      exportTimeoutMs: 200,
    });
    const log = logger({ service: 'disk', clock: { now: () => 0 }, write: () => undefined });
    // More than the queue holds, in one turn: no call waits for an export.
    for (let count = 0; count < 100; count += 1) {
      telemetry.tracer.startSpan('work').end();
      log.info('worked');
    }
    broken.close();
    await telemetry.shutdown();
    collector.close();
    const metrics = JSON.stringify(collector.received.map(({ body }) => JSON.parse(body)));
    assert.match(metrics, /otel\.sdk\.processor\.span\.processed.*queue_full/);
    assert.match(metrics, /otel\.sdk\.processor\.log\.processed.*queue_full/);
  });
}

test('disabled telemetry records nothing, and work continues', async () => {
  const telemetry = disabledTelemetry();
  assert.equal(await inSpan(telemetry.tracer, 'a', {}, (span) => span.isRecording()), false);
  await telemetry.shutdown();
});
