import { createNoopMeter, type Meter } from '@opentelemetry/api';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import type { Resource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  ConsoleMetricExporter,
  type IMetricReader,
  InstrumentType,
  MeterProvider,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics';

/** Where measurements go. */
export interface MetricsOptions {
  /** Who measures. */
  readonly resource: Resource;
  /** OTLP over HTTP, JSON; a full address. */
  readonly metricsEndpoint?: string | undefined;
  /** Whether metrics are printed on standard output. */
  readonly metricsOnConsole?: boolean;
  /** Where a Prometheus scrapes this process, at `/metrics`. */
  readonly prometheus?: { readonly host: string; readonly port: number } | undefined;
  /** Called where nothing can be scraped, because the port cannot be had. Default: nothing happens. */
  readonly onNotScraped?: (error: unknown) => void;
  /** Milliseconds between two exports; default 60,000, as OpenTelemetry has it. */
  readonly metricsIntervalMs?: number;
  /** Further readers: one that a test asks. */
  readonly metricReaders?: readonly IMetricReader[];
}

/** Metrics of the process. */
export interface Metrics {
  readonly meter: Meter;
  /** Exports what is known now. */
  flush(): Promise<void>;
  /** Exports what is known now and stops. */
  shutdown(): Promise<void>;
}

/** Starts metrics. Without a reader nothing is measured: the meter is a no-op. */
export function startMetrics(options: MetricsOptions): Metrics {
  const { resource, metricReaders = [] } = options;
  const readers = [...metricReaders, ...readersOf(options)];
  if (readers.length === 0) return { meter: createNoopMeter(), flush: nothing, shutdown: nothing };
  const provider = new MeterProvider({ resource, readers });
  return {
    meter: provider.getMeter('interlock'),
    flush: () => provider.forceFlush(),
    shutdown: () => provider.shutdown(),
  };
}

function readersOf(options: MetricsOptions): IMetricReader[] {
  const { metricsEndpoint, metricsOnConsole = false, prometheus, metricsIntervalMs = 60_000 } = options;
  const periodic = (exporter: PushMetricExporter): IMetricReader =>
    new PeriodicExportingMetricReader({
      exporter,
      exportIntervalMillis: metricsIntervalMs,
      // An export that takes longer than the time between two would never end.
      exportTimeoutMillis: Math.min(metricsIntervalMs, EXPORT_TIMEOUT_MS),
    });
  return [
    ...(metricsEndpoint === undefined ? [] : [periodic(new Exporter({ url: metricsEndpoint }))]),
    ...(metricsOnConsole ? [periodic(new ConsoleMetricExporter({ temporalitySelector: temporalityOf }))] : []),
    ...(prometheus === undefined ? [] : [new Scraped(prometheus, options.onNotScraped)]),
  ];
}

/**
 * A gauge is what was observed this time: a lease that ended is not shown any more. The SDK would go on showing the last
 * value of what is observed no longer, where a gauge is said to be cumulative; exported, gauges are neither.
 */
export const temporalityOf = (instrument: InstrumentType): AggregationTemporality =>
  instrument === InstrumentType.OBSERVABLE_GAUGE ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE;

class Exporter extends OTLPMetricExporter {
  override selectAggregationTemporality(instrument: InstrumentType): AggregationTemporality {
    return temporalityOf(instrument);
  }
}

class Scraped extends PrometheusExporter {
  constructor(
    address: { readonly host: string; readonly port: number },
    onNotScraped: (error: unknown) => void = () => {},
  ) {
    super(address, (error: unknown) => {
      if (error !== undefined) onNotScraped(error);
    });
  }
  override selectAggregationTemporality(instrument: InstrumentType): AggregationTemporality {
    return temporalityOf(instrument);
  }
}

/** As OpenTelemetry has it. */
const EXPORT_TIMEOUT_MS = 30_000;

const nothing = async (): Promise<void> => undefined;

/**
 * Bounds of a histogram of durations in seconds, from a fact that arrives at once to a lease that ran out: a revocation is
 * a matter of milliseconds where events flow, and of `LEASE_TTL_MS` and more where they do not.
 */
export const DURATION_BUCKETS_S: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600,
];
