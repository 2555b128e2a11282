import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { exporterSettings, targetOf } from './telemetry-exporters.ts';
import { forwardTelemetry } from './telemetry-forward.ts';

const here = 'http://127.0.0.1:1/secret';

test('services export to the launcher only; metrics and logs only if an exporter or an endpoint is set', () => {
  const exporters = (env: Record<string, string>, isTaken = false) => {
    const settings = exporterSettings(env, here, isTaken);
    assert.equal(settings.OTEL_EXPORTER_OTLP_ENDPOINT, here);
    assert.equal(settings.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, '');
    return [settings.OTEL_METRICS_EXPORTER, settings.OTEL_LOGS_EXPORTER];
  };
  const own = { OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://localhost:4318/v1/metrics' };
  assert.deepEqual(exporters({}), ['none', 'none']);
  assert.deepEqual(exporters({}, true), ['otlp', 'otlp']);
  assert.deepEqual(exporters({ OTEL_METRICS_EXPORTER: 'OTLP, console' }), [' console', 'none']);
  assert.deepEqual(exporters({ OTEL_METRICS_EXPORTER: 'prometheus' }), ['prometheus', 'none']);
  assert.deepEqual(exporters(own), ['otlp', 'none']);
  assert.deepEqual(exporters({ ...own, OTEL_METRICS_EXPORTER: 'none' }), ['none', 'none']);
  assert.deepEqual(exporters({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318' }), ['otlp', 'otlp']);
});

test('the target of a signal is its own endpoint, otherwise the general endpoint with the path of the signal', () => {
  const general = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/' };
  assert.equal(targetOf('logs', general), 'http://collector:4318/v1/logs');
  assert.equal(targetOf('traces', { ...general, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://x/y' }), 'http://x/y');
  assert.equal(targetOf('traces', {}), undefined);
});

/** A collector that responds with this status. */
const openCollector = async (status: number) => {
  const received: { path: string | undefined; key: string | string[] | undefined; body: string }[] = [];
  const server = createServer(async (request, response) => {
    received.push({ path: request.url, key: request.headers['api-key'], body: await text(request) });
    response.writeHead(status).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    received,
    url: `http://127.0.0.1:${address.port}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
};

test('forwards exports with the configured headers, and counts those that the collector refuses', async () => {
  for (const [status, dropped] of [
    [200, 0],
    [500, 2],
  ] as const) {
    const collector = await openCollector(status);
    const lines: string[] = [];
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_HEADERS: 'api-key=a%20b' };
    const forward = forwardTelemetry(env, (line) => lines.push(line));
    assert.ok(forward);
    forward.take('/v1/traces', '{"a":1}');
    forward.take('/v1/logs', '{"b":2}');
    await forward.stop();
    collector.close();
    assert.deepEqual(
      collector.received.toSorted((a, b) => String(a.path).localeCompare(String(b.path))),
      [
        { path: '/v1/logs', key: 'a b', body: '{"b":2}' },
        { path: '/v1/traces', key: 'a b', body: '{"a":1}' },
      ],
    );
    assert.equal(forward.dropped(), dropped);
    assert.equal(lines.length, dropped === 0 ? 0 : 1, lines.join());
  }
  assert.equal(
    forwardTelemetry({}, () => undefined),
    undefined,
  );
});

test('a collector that is down delays no export: the launcher drops and counts what exceeds its memory', async () => {
  const collector = await openCollector(200);
  collector.close();
  const forward = forwardTelemetry({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, () => undefined, 10);
  assert.ok(forward);
  for (let count = 0; count < 5; count += 1) forward.take('/v1/traces', '12345678');
  assert.equal(forward.dropped(), 4, 'one is in flight, and no other fits');
  await forward.stop();
  assert.equal(forward.dropped(), 5);
});
