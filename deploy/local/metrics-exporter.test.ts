import { equal } from 'node:assert/strict';
import { test } from 'node:test';
import { metricsExporterOf } from './metrics-exporter.ts';

test('a local cloud exports metrics as OTEL_METRICS_EXPORTER says, over OTLP only to an address for metrics', () => {
  const own = { OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://localhost:4318/v1/metrics' };
  equal(metricsExporterOf({}), 'none');
  equal(metricsExporterOf({ OTEL_METRICS_EXPORTER: 'otlp' }), 'none');
  equal(metricsExporterOf({ OTEL_METRICS_EXPORTER: 'OTLP, console' }).trim(), 'console');
  equal(metricsExporterOf({ OTEL_METRICS_EXPORTER: 'prometheus' }), 'prometheus');
  equal(metricsExporterOf(own), 'otlp');
  equal(metricsExporterOf({ ...own, OTEL_METRICS_EXPORTER: '' }), 'otlp');
  equal(metricsExporterOf({ ...own, OTEL_METRICS_EXPORTER: 'none' }), 'none');
  equal(metricsExporterOf({ ...own, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: '' }), 'none');
});
