import { context, createNoopMeter, type Meter, type Tracer, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { MetricReader } from '@opentelemetry/sdk-metrics';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  type IdGenerator,
  type SpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { ATTR_SERVICE_NAME } from '@opentelemetry/semantic-conventions';
import { bool, int, oneOf, optional, url } from './config-readers.ts';
import { startMetrics } from './metrics.ts';
import type { Random } from './random.ts';

/** An export is put into JSON in one go, at some 5 µs a span: with a thousand of them nothing else runs for 5 ms. */
const EXPORT_SPANS = 256;

/** The standard OpenTelemetry variables a service understands; spread into its own specification for `readConfig`. */
export const telemetrySpec = {
  otelExporterOtlpEndpoint: optional(url('OTLP collector over HTTP; /v1/traces and /v1/metrics are appended')),
  otelExporterOtlpTracesEndpoint: optional(url('OTLP address for traces, used as it is; wins over the general one')),
  otelExporterOtlpMetricsEndpoint: optional(url('OTLP address for metrics, used as it is; wins over the general one')),
  otelSdkDisabled: bool('Makes no spans and no metrics at all', { default: false }),
  otelTracesSampler: oneOf('Which traces are kept', ['always_on', 'always_off'], { default: 'always_on' }),
  otelMetricsExporter: oneOf('Whether metrics are exported', ['otlp', 'none'], { default: 'otlp' }),
  otelMetricExportInterval: int('Milliseconds between two exports of metrics', { min: 100, default: 60_000 }),
  otelBspScheduleDelay: int('Milliseconds between two exports', { min: 1, default: 1_000 }),
  otelBspMaxQueueSize: int('Spans held while waiting for an export; more are dropped', { min: 1, default: 16_384 }),
  otelBspMaxExportBatchSize: int('Spans in one export', { min: 1, default: EXPORT_SPANS }),
} as const;

export interface TelemetryOptions {
  /** `service.name`, for example `key-vault`. */
  readonly service: string;
  /** Source of trace and span ids. */
  readonly random: Pick<Random, 'bytes'>;
  /** Where spans go, as a full address; without one spans are made (events still carry trace ids) and not exported. */
  readonly tracesEndpoint?: string | undefined;
  /** Where metrics go, as a full address; without one nothing is measured. */
  readonly metricsEndpoint?: string | undefined;
  /** Milliseconds between two exports of metrics; default 60,000. */
  readonly metricsIntervalMs?: number;
  readonly disabled?: boolean;
  readonly sampled?: boolean;
  readonly batch?: { readonly delayMs: number; readonly queueSizeMax: number; readonly batchSizeMax: number };
  /** Further receivers of finished spans: an in-memory exporter in tests. */
  readonly processors?: readonly SpanProcessor[];
  /** Further readers of metrics. */
  readonly metricReaders?: readonly MetricReader[];
}

export interface Telemetry {
  readonly tracer: Tracer;
  /** Makes the instruments of the process; one that does nothing where metrics go nowhere. */
  readonly meter: Meter;
  /** Exports what is waiting. */
  flush(): Promise<void>;
  /** Exports what is waiting and stops. */
  shutdown(): Promise<void>;
}

/**
 * Starts telemetry for the process: a tracer, the running context kept across `await`, and a meter. Once a process.
 * Everything is sampled unless told otherwise, because the trace of a revocation is part of its explanation (G10).
 */
export function startTelemetry(options: TelemetryOptions): Telemetry {
  const contextManager = new AsyncLocalStorageContextManager().enable();
  context.setGlobalContextManager(contextManager);
  if (options.disabled === true) {
    return {
      tracer: trace.getTracer('interlock'),
      meter: createNoopMeter(),
      flush: async () => undefined,
      shutdown: disableContext,
    };
  }

  const resource = resourceFromAttributes({
    [ATTR_SERVICE_NAME]: options.service,
    'service.namespace': 'interlock',
    // What several replicas of a service report is told apart by this (and by nothing that a restart keeps).
    'service.instance.id': Buffer.from(options.random.bytes(8)).toString('hex'),
  });
  const metrics = startMetrics({ ...options, resource });
  const provider = new TracerProvider({
    resource,
    sampler: options.sampled === false ? new AlwaysOffSampler() : new AlwaysOnSampler(),
    idGenerator: idGenerator(options.random),
    spanProcessors: [...exporting(options), ...(options.processors ?? [])],
  });
  trace.setGlobalTracerProvider(provider);
  return {
    tracer: provider.getTracer('interlock'),
    meter: metrics.meter,
    flush: async () => {
      await Promise.all([provider.forceFlush(), metrics.flush()]);
    },
    shutdown: async () => {
      await Promise.all([provider.shutdown(), metrics.shutdown()]);
      trace.disable();
      await disableContext();
    },
  };

  async function disableContext(): Promise<void> {
    context.disable();
    contextManager.disable();
  }
}

/** Turns the settings of `telemetrySpec` into options. */
export function telemetryOptions(config: {
  readonly otelExporterOtlpEndpoint: string | undefined;
  readonly otelExporterOtlpTracesEndpoint: string | undefined;
  readonly otelExporterOtlpMetricsEndpoint: string | undefined;
  readonly otelMetricsExporter: 'otlp' | 'none';
  readonly otelMetricExportInterval: number;
  readonly otelSdkDisabled: boolean;
  readonly otelTracesSampler: 'always_on' | 'always_off';
  readonly otelBspScheduleDelay: number;
  readonly otelBspMaxQueueSize: number;
  readonly otelBspMaxExportBatchSize: number;
}): Omit<TelemetryOptions, 'service' | 'random'> {
  const general = config.otelExporterOtlpEndpoint?.replace(/\/$/, '');
  const below = (path: string): string | undefined => (general === undefined ? undefined : `${general}${path}`);
  return {
    tracesEndpoint: config.otelExporterOtlpTracesEndpoint ?? below('/v1/traces'),
    metricsEndpoint:
      config.otelMetricsExporter === 'none'
        ? undefined
        : (config.otelExporterOtlpMetricsEndpoint ?? below('/v1/metrics')),
    metricsIntervalMs: config.otelMetricExportInterval,
    disabled: config.otelSdkDisabled,
    sampled: config.otelTracesSampler === 'always_on',
    batch: {
      delayMs: config.otelBspScheduleDelay,
      queueSizeMax: config.otelBspMaxQueueSize,
      batchSizeMax: Math.min(config.otelBspMaxExportBatchSize, config.otelBspMaxQueueSize),
    },
  };
}

/** Ids cut from a block of random bytes: asking the system for each alone would be a good part of what a span costs. */
function idGenerator(random: Pick<Random, 'bytes'>): IdGenerator {
  let block = '';
  const next = (hexDigits: number): string => {
    if (block.length < hexDigits) block = Buffer.from(random.bytes(ID_BLOCK_BYTES)).toString('hex');
    const id = block.slice(0, hexDigits);
    block = block.slice(hexDigits);
    return id;
  };
  return { generateTraceId: () => next(32), generateSpanId: () => next(16) };
}

const ID_BLOCK_BYTES = 4_096;

function exporting({ tracesEndpoint, batch }: TelemetryOptions): SpanProcessor[] {
  if (tracesEndpoint === undefined) return [];
  return [
    new BatchSpanProcessor({
      exporter: new OTLPTraceExporter({ url: tracesEndpoint }),
      ...(batch === undefined
        ? {}
        : {
            scheduledDelayMillis: batch.delayMs,
            maxQueueSize: batch.queueSizeMax,
            maxExportBatchSize: batch.batchSizeMax,
          }),
    }),
  ];
}
