import { context, type Link, propagation, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';

/** A finished span, reduced to what tests compare. */
export interface Recorded {
  readonly name: string;
  readonly kind: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | undefined;
  readonly links: readonly string[];
  readonly attributes: ReadableSpan['attributes'];
  readonly isFailed: boolean;
  /** Messages of the exceptions that were recorded. */
  readonly exceptions: readonly unknown[];
}

/** Starts an SDK that keeps spans and metrics in memory. Once a process. */
export const startRecording = () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(
    new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
  );
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const metrics = new InMemoryMetricExporter(AggregationTemporality.DELTA);
  const reader = new PeriodicExportingMetricReader({ exporter: metrics, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  const recorded = (span: ReadableSpan): Recorded => ({
    name: span.name,
    kind: SpanKind[span.kind] ?? '',
    traceId: span.spanContext().traceId,
    spanId: span.spanContext().spanId,
    parentId: span.parentSpanContext?.spanId,
    links: span.links.map((link: Link) => link.context.spanId),
    attributes: span.attributes,
    isFailed: span.status.code === SpanStatusCode.ERROR,
    exceptions: span.events.map(({ attributes }) => attributes?.['exception.message']),
  });
  return {
    tracer: provider.getTracer('test'),
    meter: meters.getMeter('test'),
    /** Spans that ended since the last call. */
    take(): readonly Recorded[] {
      const spans = exporter.getFinishedSpans().map(recorded);
      exporter.reset();
      return spans;
    },
    /** Metrics recorded since the last call: name → data points. */
    async measured() {
      await reader.forceFlush();
      const all = metrics.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
      metrics.reset();
      return new Map(all.map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints]));
    },
    async stop() {
      await Promise.all([provider.shutdown(), meters.shutdown()]);
      context.disable();
      propagation.disable();
    },
  };
};
