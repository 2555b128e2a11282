import { createNoopMeter, type Meter, type MeterProvider as MeterProviderApi } from '@opentelemetry/api';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as MetricsAsProtobuf } from '@opentelemetry/exporter-metrics-otlp-proto';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import type { Resource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type CollectionResult,
  ConsoleMetricExporter,
  type IMetricReader,
  InstrumentType,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import { SCHEMA_URL, SCOPE_VERSION } from './instrumentation-scope.ts';
import type { OtlpProtocol } from './telemetry-settings.ts';

/** Destinations of metrics. */
export interface MetricsOptions {
  /** The measured service. */
  readonly resource: Resource;
  /** OTLP over HTTP; a full address. */
  readonly metricsEndpoint?: string | undefined;
  readonly metricsProtocol?: OtlpProtocol | undefined;
  /** Whether metrics are printed on standard output. */
  readonly metricsOnConsole?: boolean;
  /** Address at which Prometheus scrapes this process, at `/metrics`. */
  readonly prometheus?: { readonly host: string; readonly port: number } | undefined;
  /** Called if the port for Prometheus cannot be opened. Default: nothing happens. */
  readonly onNotScraped?: (error: unknown) => void;
  /** Milliseconds between two exports; default 60,000, that of OpenTelemetry. */
  readonly metricsIntervalMs?: number;
  /** Further readers, for tests. */
  readonly metricReaders?: readonly IMetricReader[];
}

/** Metrics of the process. */
export interface Metrics {
  readonly meter: Meter;
  /** The provider of the meter; undefined if nothing is measured. */
  readonly provider: MeterProviderApi | undefined;
  /** Exports the current values. */
  flush(): Promise<void>;
  /** Exports the current values and stops. */
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
      // An export must end before the next one starts.
      exportTimeoutMillis: Math.min(metricsIntervalMs, EXPORT_TIMEOUT_MS),
    });
  return [
    ...(url === undefined ? [] : [periodic(new Otlp({ url }))]),
    ...(metricsOnConsole ? [periodic(new ConsoleMetricExporter({ temporalitySelector: temporalityOf }))] : []),
    ...(prometheus === undefined ? [] : [new Scraped(prometheus, options.onNotScraped)]),
  ];
}

/**
 * Gauges are delta: a value that is no longer observed (a lease that ended) is no longer exported. With cumulative temporality the
 * SDK would keep its last value. The exported data of gauges has no temporality.
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

/** The suffix of a name for its unit, in Prometheus (OpenTelemetry: Prometheus and OpenMetrics compatibility). */
const suffixOf: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes' };

/** Values as they reach Prometheus through a collector: names end with their unit, and each value has the name of its service. */
class Scraped extends PrometheusExporter {
  override async collect(options?: Parameters<PrometheusExporter['collect']>[0]): Promise<CollectionResult> {
    const { resourceMetrics, errors } = await super.collect(options);
    const { resource } = resourceMetrics;
    const own = { 'service.name': resource.attributes['service.name'] };
    const named = ({ descriptor, dataPoints, ...metric }: MetricData): MetricData => {
      const { name, unit } = descriptor;
      const suffix = suffixOf[unit] ?? '';
      return {
        ...metric,
        descriptor: { ...descriptor, name: name.endsWith(suffix) ? name : `${name}${suffix}` },
        dataPoints: dataPoints.map((point) => ({ ...point, attributes: { ...own, ...point.attributes } })),
      } as MetricData;
    };
    const scopeMetrics = resourceMetrics.scopeMetrics.map(({ metrics, ...scope }) => ({
      ...scope,
      metrics: metrics.map(named),
    }));
    return { errors, resourceMetrics: { resource, scopeMetrics } };
  }

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

/** The default of OpenTelemetry. */
const EXPORT_TIMEOUT_MS = 30_000;

const nothing = async (): Promise<void> => undefined;
