import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';
import type { ConfigOf } from './config.ts';
import type { samplerNames, telemetrySpec } from './telemetry-settings.ts';

const samplers = {
  always_on: () => new AlwaysOnSampler(),
  always_off: () => new AlwaysOffSampler(),
  traceidratio: (ratio) => new TraceIdRatioBasedSampler(ratio),
  parentbased_always_on: () => new ParentBasedSampler({ root: new AlwaysOnSampler() }),
  parentbased_always_off: () => new ParentBasedSampler({ root: new AlwaysOffSampler() }),
  parentbased_traceidratio: (ratio) => new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
} as const satisfies Readonly<Record<(typeof samplerNames)[number], (ratio: number) => Sampler>>;

/** Turns the settings of `telemetrySpec` into options. */
export function telemetryOptions(config: ConfigOf<typeof telemetrySpec>) {
  const { otelTracesExporter: traces, otelMetricsExporter: metrics, otelLogsExporter: logs } = config;
  const general = config.otelExporterOtlpEndpoint?.replace(/\/$/, '');
  const below = (path: string): string | undefined => (general === undefined ? undefined : `${general}${path}`);
  return {
    serviceName: config.otelServiceName,
    attributes: config.otelResourceAttributes,
    tracesEndpoint: traces.includes('otlp')
      ? (config.otelExporterOtlpTracesEndpoint ?? below('/v1/traces'))
      : undefined,
    metricsEndpoint: metrics.includes('otlp')
      ? (config.otelExporterOtlpMetricsEndpoint ?? below('/v1/metrics'))
      : undefined,
    logsEndpoint: logs.includes('otlp') ? (config.otelExporterOtlpLogsEndpoint ?? below('/v1/logs')) : undefined,
    tracesProtocol: config.otelExporterOtlpTracesProtocol ?? config.otelExporterOtlpProtocol,
    metricsProtocol: config.otelExporterOtlpMetricsProtocol ?? config.otelExporterOtlpProtocol,
    logsProtocol: config.otelExporterOtlpLogsProtocol ?? config.otelExporterOtlpProtocol,
    exportTimeoutMs: config.otelExporterOtlpTimeout,
    logsOnConsole: logs.includes('console'),
    metricsIntervalMs: config.otelMetricExportInterval,
    tracesOnConsole: traces.includes('console'),
    metricsOnConsole: metrics.includes('console'),
    prometheus: metrics.includes('prometheus')
      ? { host: config.otelExporterPrometheusHost, port: config.otelExporterPrometheusPort }
      : undefined,
    sampler: samplers[config.otelTracesSampler](config.otelTracesSamplerArg ?? 1),
    batch: {
      delayMs: config.otelBspScheduleDelay,
      queueSizeMax: config.otelBspMaxQueueSize,
      batchSizeMax: Math.min(config.otelBspMaxExportBatchSize, config.otelBspMaxQueueSize),
    },
  };
}
