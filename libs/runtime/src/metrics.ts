import { createNoopMeter, type Meter, type MeterProvider as MeterProviderApi } from '@opentelemetry/api';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as MetricsAsProtobuf } from '@opentelemetry/exporter-metrics-otlp-proto';
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
import type { OtlpProtocol } from './exporters.ts';
import { SCHEMA_URL, SCOPE_VERSION } from './instrumentation-scope.ts';

/** Where measurements go. */
export interface MetricsOptions {
  /** Who measures. */
  readonly resource: Resource;
  /** OTLP over HTTP; a full address. */
  readonly metricsEndpoint?: string | undefined;
  readonly metricsProtocol?: OtlpProtocol | undefined;
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
  /** Of that meter; undefined if nothing is measured. */
  readonly provider: MeterProviderApi | undefined;
  /** Exports what is known now. */
  flush(): Promise<void>;
  /** Exports what is known now and stops. */
  shutdown(): Promise<void>;
}

/** Starts metrics. Without a reader nothing is measured: the meter is a no-op. */
export function startMetrics(options: MetricsOptions): Metrics {
  const { resource, metricReaders = [] } = options;
  const readers = [...metricReaders, ...readersOf(options)];
  if (readers.length === 0) {
    return { meter: createNoopMeter(), provider: undefined, flush: nothing, shutdown: nothing };
  }
  const provider = new MeterProvider({ resource, readers });
  return {
    meter: provider.getMeter('interlock', SCOPE_VERSION, { schemaUrl: SCHEMA_URL }),
    provider,
    flush: () => provider.forceFlush(),
    shutdown: () => provider.shutdown(),
  };
}

function readersOf(options: MetricsOptions): IMetricReader[] {
  const { metricsEndpoint: url, metricsOnConsole = false, prometheus, metricsIntervalMs = 60_000 } = options;
  const Otlp = options.metricsProtocol === 'http/protobuf' ? ProtobufExporter : Exporter;
  const periodic = (exporter: PushMetricExporter): IMetricReader =>
    new PeriodicExportingMetricReader({
      exporter,
      exportIntervalMillis: metricsIntervalMs,
      // An export that takes longer than the time between two would never end.
      exportTimeoutMillis: Math.min(metricsIntervalMs, EXPORT_TIMEOUT_MS),
    });
  return [
    ...(url === undefined ? [] : [periodic(new Otlp({ url }))]),
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

class ProtobufExporter extends MetricsAsProtobuf {
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
 * Bounds of a histogram of durations in seconds, from a tenth of a millisecond and a fact that arrives at once to a lease that ran out: a revocation is
 * a matter of milliseconds where events flow, and of `LEASE_TTL_MS` and more where they do not.
 */
export const DURATION_BUCKETS_S: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
  600,
];
