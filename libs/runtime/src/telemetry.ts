import { type Meter, type MeterProvider, metrics as metricsApi, type Tracer, trace } from '@opentelemetry/api';
import {
  type DetectedResourceAttributes,
  defaultResource,
  hostDetector,
  processDetector,
  type Resource,
  type ResourceDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  ConsoleSpanExporter,
  type IdGenerator,
  ParentBasedSampler,
  type Sampler,
  SimpleSpanProcessor,
  type SpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { ATTR_SERVICE_NAME, ATTR_SERVICE_VERSION } from '@opentelemetry/semantic-conventions';
import { DomainAttribute } from './attributes.ts';
import { systemClock } from './clock.ts';
import { spanExporter } from './exporters.ts';
import { SCHEMA_URL, SCOPE_VERSION } from './instrumentation-scope.ts';
import { type LogsOptions, startLogs } from './logs.ts';
import { type MetricsOptions, startMetrics } from './metrics.ts';
import { type OpenExports, openExports } from './open-exports.ts';
import type { Random } from './random.ts';
import { preciseStarts } from './span-start-times.ts';
import { startContext } from './telemetry-context.ts';
import { type LostTelemetry, notingLosses } from './telemetry-losses.ts';
import type { OtlpProtocol } from './telemetry-settings.ts';

export { lossLog } from './telemetry-losses.ts';
// The entry `@interlock/runtime/telemetry`: of the modules of the SDK, some 330, a test or a command needs none.
export { telemetryOptions } from './telemetry-options.ts';

export interface TelemetryOptions
  extends Omit<MetricsOptions, 'resource'>,
    Omit<LogsOptions, 'resource' | 'selfObsMeterProvider' | 'openExports'> {
  /** Name of the service, for example `key-vault`: the default of `service.name`. */
  readonly service: string;
  /** `interlock.host` of the resource: the disk host or VM host that this process is; absent for others. */
  readonly host?: string | undefined;
  /** `service.version`; absent for a process without one. */
  readonly version?: string;
  /** `service.name` from `OTEL_SERVICE_NAME`, in place of `service`; takes precedence over `attributes`. */
  readonly serviceName?: string | undefined;
  /** Further attributes of the resource, from `OTEL_RESOURCE_ATTRIBUTES`; they take precedence over those made here. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Source of trace and span ids. */
  readonly random: Pick<Random, 'bytes' | 'uuid'>;
  /** Full address for spans; without one spans are created (events still have trace ids) and not exported. */
  readonly tracesEndpoint?: string | undefined;
  readonly tracesProtocol?: OtlpProtocol | undefined;
  /** Whether spans are printed on standard output. */
  readonly tracesOnConsole?: boolean;
  /** Called at each loss of spans or log records, with all losses so far. */
  readonly onLost?: (lost: LostTelemetry) => void;
  /** Which traces are sampled; by default all but those that the caller does not sample. */
  readonly sampler?: Sampler;
  readonly batch?: { readonly delayMs: number; readonly queueSizeMax: number; readonly batchSizeMax: number };
  /** Further receivers of finished spans: an in-memory exporter in tests. */
  readonly processors?: readonly SpanProcessor[];
}

export interface Telemetry {
  readonly tracer: Tracer;
  /** Creates the instruments of the process; without effect if metrics have no destination. */
  readonly meter: Meter;
  /** The provider of the meter; undefined if metrics have no destination. */
  readonly meterProvider: MeterProvider | undefined;
  /** Exports waiting telemetry. */
  flush(): Promise<void>;
  /** Exports waiting telemetry and stops. */
  shutdown(): Promise<void>;
}

/**
 * Starts telemetry for the process: a tracer, a context that is kept across `await`, and a meter. Call it once for each process.
 * Everything is sampled by default, because the trace of a revocation is part of its explanation (G10).
 */
export function startTelemetry(options: TelemetryOptions): Telemetry {
  const endContext = startContext();
  const resource = resourceOf(options);
  const metrics = startMetrics({ ...options, resource });
  if (metrics.provider !== undefined) metricsApi.setGlobalMeterProvider(metrics.provider);
  const { onLost } = options;
  const open = openExports();
  // The SDK counts what it loses itself.
  const counts = onLost === undefined ? metrics.provider : notingLosses(metrics.provider, onLost);
  const provider = new TracerProvider({
    resource,
    sampler: options.sampler ?? new ParentBasedSampler({ root: new AlwaysOnSampler() }),
    idGenerator: idGenerator(options.random),
    spanProcessors: [preciseStarts(systemClock), ...exporting(options, counts, open), ...(options.processors ?? [])],
  });
  const logs = startLogs({ ...options, resource, selfObsMeterProvider: counts, openExports: open });
  trace.setGlobalTracerProvider(provider);
  return {
    tracer: provider.getTracer('interlock', SCOPE_VERSION, { schemaUrl: SCHEMA_URL }),
    meter: metrics.meter,
    meterProvider: metrics.provider,
    flush: async () => {
      await Promise.all([provider.forceFlush(), logs.flush(), metrics.flush()]);
    },
    shutdown: async () => {
      // A failed last export is counted, and the rest still stops. Metrics stop last, because they have the counts.
      await Promise.allSettled([provider.shutdown(), logs.shutdown()]);
      await open.ended();
      await Promise.allSettled([metrics.shutdown()]);
      trace.disable();
      metricsApi.disable();
      endContext();
    },
  };
}

/** Takes ids from a block of random bytes: a system call for each id would be a large part of the cost of a span. */
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

/** Attributes of the SDK, the host and the process, as the SDK detects them, and of the service. */
function resourceOf(options: TelemetryOptions): Resource {
  return defaultResource()
    .merge(resourceFromAttributes(knownAtOnce(hostDetector)))
    .merge(resourceFromAttributes(knownAtOnce(processDetector)))
    .merge(
      resourceFromAttributes(
        {
          [ATTR_SERVICE_NAME]: options.service,
          ...(options.version === undefined ? {} : { [ATTR_SERVICE_VERSION]: options.version }),
          ...(options.host === undefined ? {} : { [DomainAttribute.host]: options.host }),
          'service.namespace': 'interlock',
          // Distinguishes the replicas of a service; new at each start.
          'service.instance.id': options.random.uuid(),
          ...options.attributes,
          ...(options.serviceName === undefined ? {} : { [ATTR_SERVICE_NAME]: options.serviceName }),
        },
        { schemaUrl: SCHEMA_URL },
      ),
    );
}

/** Attributes that a detector returns synchronously. `host.id` is read from a file: each export would wait for that. */
function knownAtOnce(detector: ResourceDetector): DetectedResourceAttributes {
  const { attributes = {} } = detector.detect();
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => !(value instanceof Promise)));
}

function exporting(
  { tracesEndpoint, tracesProtocol: protocol, exportTimeoutMs, tracesOnConsole = false, batch }: TelemetryOptions,
  selfObsMeterProvider: MeterProvider | undefined,
  open: OpenExports,
): SpanProcessor[] {
  const onConsole = tracesOnConsole ? [new SimpleSpanProcessor({ exporter: new ConsoleSpanExporter() })] : [];
  if (tracesEndpoint === undefined) return onConsole;
  return [
    ...onConsole,
    new BatchSpanProcessor({
      exporter: open.watched(
        spanExporter({ url: tracesEndpoint, protocol, timeoutMs: exportTimeoutMs }, selfObsMeterProvider),
      ),
      ...(selfObsMeterProvider === undefined ? {} : { selfObsMeterProvider }),
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
