import { int, oneOf, optional, secret, text, url } from './config-readers.ts';
import { lenient, otelAttributes, otelBool, otelEnum, otelExporters, otelRatio } from './otel-readers.ts';

/** Spans of one export. Its JSON is built in one turn, at some 5 µs for each span: 1,000 spans would block for 5 ms. */
const EXPORT_SPANS = 256;

/** Forms in which OTLP is sent over HTTP. */
export const otlpProtocols = ['http/json', 'http/protobuf'] as const;

/** One of `otlpProtocols`. */
export type OtlpProtocol = (typeof otlpProtocols)[number];

/** The samplers of the specification, by name. */
export const samplerNames = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

const endpoint = (description: string) => lenient(optional(url(description)));
const protocol = (of: string) => lenient(optional(otelProtocol(`Protocol of OTLP${of}`)));
/** One of the protocols, in any case. */
const otelProtocol = (description: string) => ({
  ...oneOf(description, otlpProtocols),
  read: (raw: string | undefined) => oneOf(description, otlpProtocols).read(raw?.trim().toLowerCase()),
});
const limit = (description: string, min: number, fallback: number) =>
  lenient(int(description, { min, default: fallback }));

/**
 * The supported variables of the OpenTelemetry specification; spread into the specification of a service for `readConfig`. An
 * unusable value is ignored with a warning, never refused.
 */
export const telemetrySpec = {
  otelServiceName: optional(text('service.name in telemetry; default: the name of the service')),
  otelResourceAttributes: otelAttributes('Attributes in all telemetry'),
  otelExporterOtlpEndpoint: endpoint('OTLP collector over HTTP; /v1/traces, /v1/metrics and /v1/logs are appended'),
  otelExporterOtlpTracesEndpoint: endpoint('OTLP address for traces, used unchanged, instead of the general one'),
  otelExporterOtlpMetricsEndpoint: endpoint('OTLP address for metrics, used unchanged, instead of the general one'),
  otelExporterOtlpLogsEndpoint: endpoint('OTLP address for logs, used unchanged, instead of the general one'),
  otelExporterOtlpProtocol: protocol('; default http/json'),
  otelExporterOtlpTracesProtocol: protocol(' for traces'),
  otelExporterOtlpMetricsProtocol: protocol(' for metrics'),
  otelExporterOtlpLogsProtocol: protocol(' for logs'),
  // Read by the exporters of the SDK themselves.
  otelExporterOtlpHeaders: optional(secret('Headers of exports over OTLP: key=value pairs, separated by commas')),
  otelExporterOtlpTimeout: limit('Time after which an export over OTLP fails, with its repetitions', 1, 10_000),
  otelSdkDisabled: otelBool('Turns spans, metrics and the export of logs off'),
  otelTracesExporter: otelExporters('Exporters of spans, separated by commas', ['otlp', 'console'], 'otlp'),
  otelTracesSampler: otelEnum('Which traces to keep', samplerNames, 'parentbased_always_on'),
  otelTracesSamplerArg: otelRatio('Fraction of traces that …traceidratio samplers keep; default 1'),
  // Read by libs/otel-jetstream itself, as in every project that uses it.
  otelSemconvStabilityOptIn: optional(
    text('`messaging/dup` adds the attributes of the conventions 1.24 to spans of messages'),
  ),
  otelMetricsExporter: otelExporters(
    'Exporters of metrics, separated by commas',
    ['otlp', 'prometheus', 'console'],
    'otlp',
  ),
  otelLogsExporter: otelExporters('Exporters of logs, separated by commas', ['otlp', 'console'], 'otlp'),
  otelExporterPrometheusHost: text('Host of the prometheus exporter', { default: 'localhost' }),
  otelExporterPrometheusPort: lenient(
    int('Port of the prometheus exporter (/metrics); different for each process of a machine', {
      min: 1,
      max: 65_535,
      default: 9_464,
    }),
  ),
  otelMetricExportInterval: limit('Interval of exports of metrics', 100, 60_000),
  otelBspScheduleDelay: limit('Interval of exports of spans', 1, 1_000),
  otelBspMaxQueueSize: limit('Most spans that wait for an export; more are dropped', 1, 16_384),
  otelBspMaxExportBatchSize: limit('Spans in one export', 1, EXPORT_SPANS),
} as const;
