import type { MeterProvider } from '@opentelemetry/api';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as LogsAsProtobuf } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as TracesAsProtobuf } from '@opentelemetry/exporter-trace-otlp-proto';
import type { LogRecordExporter } from '@opentelemetry/sdk-logs';
import type { SpanExporter } from '@opentelemetry/sdk-trace';
import type { OtlpProtocol } from './telemetry-settings.ts';

/** Destination of telemetry over OTLP. */
export interface OtlpTarget {
  /** A full address. */
  readonly url: string;
  /** Default `http/json`. */
  readonly protocol?: OtlpProtocol | undefined;
  /** Time after which an export fails, with its repetitions, in milliseconds; default 10,000, that of the specification. */
  readonly timeoutMs?: number | undefined;
}

/** Exports spans. @param selfObsMeterProvider counts what was exported and what failed, as `otel.sdk.exporter.span.*` */
export const spanExporter = (target: OtlpTarget, selfObsMeterProvider: MeterProvider | undefined): SpanExporter => {
  const Exporter = target.protocol === 'http/protobuf' ? TracesAsProtobuf : OTLPTraceExporter;
  return new Exporter(optionsOf(target, selfObsMeterProvider));
};

/** Exports log records. @param selfObsMeterProvider counts what was exported and what failed, as `otel.sdk.exporter.log.*` */
export const logExporter = (target: OtlpTarget, selfObsMeterProvider: MeterProvider | undefined): LogRecordExporter => {
  const Exporter = target.protocol === 'http/protobuf' ? LogsAsProtobuf : OTLPLogExporter;
  return new Exporter(optionsOf(target, selfObsMeterProvider));
};

const optionsOf = ({ url, timeoutMs = 10_000 }: OtlpTarget, selfObsMeterProvider: MeterProvider | undefined) => ({
  url,
  timeoutMillis: timeoutMs,
  ...(selfObsMeterProvider === undefined ? {} : { selfObsMeterProvider }),
});
