import {
  context,
  createNoopMeter,
  type Meter,
  type MeterProvider,
  metrics as metricsApi,
  propagation,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';
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
import { systemClock } from './clock.ts';
import { type OtlpProtocol, spanExporter } from './exporters.ts';
import { SCHEMA_URL, SCOPE_VERSION } from './instrumentation-scope.ts';
import { type LogsOptions, startLogs } from './logs.ts';
import { type MetricsOptions, startMetrics } from './metrics.ts';
import type { Random } from './random.ts';
import { preciseStarts } from './span-start-times.ts';

export interface TelemetryOptions
  extends Omit<MetricsOptions, 'resource'>,
    Omit<LogsOptions, 'resource' | 'selfObsMeterProvider'> {
  /** Name of the service, for example `key-vault`; `service.name` where nothing else says that. */
  readonly service: string;
  /** `service.version`; left out by what has none. */
  readonly version?: string;
  /** `service.name` in place of the service's own, from `OTEL_SERVICE_NAME`; wins over `attributes`. */
  readonly serviceName?: string | undefined;
  /** Further attributes of the resource, from `OTEL_RESOURCE_ATTRIBUTES`; they win over those made here. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Source of trace and span ids. */
  readonly random: Pick<Random, 'bytes'>;
  /** Where spans go, as a full address; without one spans are made (events still carry trace ids) and not exported. */
  readonly tracesEndpoint?: string | undefined;
  readonly tracesProtocol?: OtlpProtocol | undefined;
  /** Whether spans are printed on standard output. */
  readonly tracesOnConsole?: boolean;
  readonly disabled?: boolean;
  /** Which traces are kept; by default every one that its caller did not leave out. */
  readonly sampler?: Sampler;
  readonly batch?: { readonly delayMs: number; readonly queueSizeMax: number; readonly batchSizeMax: number };
  /** Further receivers of finished spans: an in-memory exporter in tests. */
  readonly processors?: readonly SpanProcessor[];
}

export interface Telemetry {
  readonly tracer: Tracer;
  /** Makes the instruments of the process; one that does nothing where metrics go nowhere. */
  readonly meter: Meter;
  /** Of that meter; undefined where metrics go nowhere. */
  readonly meterProvider: MeterProvider | undefined;
  /** Exports what is waiting. */
  flush(): Promise<void>;
  /** Exports what is waiting and stops. */
  shutdown(): Promise<void>;
}

/**
 * Starts telemetry for the process: a tracer, the running context kept across `await`, and a meter. Once a process.
 * Everything is sampled by default, because the trace of a revocation is part of its explanation (G10).
 */
export function startTelemetry(options: TelemetryOptions): Telemetry {
  const contextManager = new AsyncLocalStorageContextManager().enable();
  context.setGlobalContextManager(contextManager);
  propagation.setGlobalPropagator(
    new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
  );
  if (options.disabled === true) {
    return {
      tracer: trace.getTracerProvider().getTracer('interlock'),
      meter: createNoopMeter(),
      meterProvider: undefined,
      flush: async () => undefined,
      shutdown: disableContext,
    };
  }

  const resource = resourceOf(options);
  const metrics = startMetrics({ ...options, resource });
  if (metrics.provider !== undefined) metricsApi.setGlobalMeterProvider(metrics.provider);
  const provider = new TracerProvider({
    resource,
    sampler: options.sampler ?? new ParentBasedSampler({ root: new AlwaysOnSampler() }),
    idGenerator: idGenerator(options.random),
    spanProcessors: [
      preciseStarts(systemClock),
      ...exporting(options, metrics.provider),
      ...(options.processors ?? []),
    ],
  });
  const logs = startLogs({ ...options, resource, selfObsMeterProvider: metrics.provider });
  trace.setGlobalTracerProvider(provider);
  return {
    tracer: provider.getTracer('interlock', SCOPE_VERSION, { schemaUrl: SCHEMA_URL }),
    meter: metrics.meter,
    meterProvider: metrics.provider,
    flush: async () => {
      await Promise.all([provider.forceFlush(), logs.flush(), metrics.flush()]);
    },
    shutdown: async () => {
      // A failed last export is counted and does not keep the rest from stopping. Metrics last: they have the counts.
      await Promise.allSettled([provider.shutdown(), logs.shutdown()]);
      await Promise.allSettled([metrics.shutdown()]);
      trace.disable();
      metricsApi.disable();
      await disableContext();
    },
  };

  async function disableContext(): Promise<void> {
    propagation.disable();
    context.disable();
    contextManager.disable();
  }
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

/** The SDK, the host and the process, as the SDK detects them; and the service. */
function resourceOf(options: TelemetryOptions): Resource {
  return defaultResource()
    .merge(resourceFromAttributes(knownAtOnce(hostDetector)))
    .merge(resourceFromAttributes(knownAtOnce(processDetector)))
    .merge(
      resourceFromAttributes(
        {
          [ATTR_SERVICE_NAME]: options.service,
          ...(options.version === undefined ? {} : { [ATTR_SERVICE_VERSION]: options.version }),
          'service.namespace': 'interlock',
          // Distinguishes the reports of replicas of a service (by nothing that a restart keeps).
          'service.instance.id': Buffer.from(options.random.bytes(8)).toString('hex'),
          ...options.attributes,
          ...(options.serviceName === undefined ? {} : { [ATTR_SERVICE_NAME]: options.serviceName }),
        },
        { schemaUrl: SCHEMA_URL },
      ),
    );
}

/** Attributes that a detector knows at once. `host.id` is read from a file: each export would wait for that. */
function knownAtOnce(detector: ResourceDetector): DetectedResourceAttributes {
  const { attributes = {} } = detector.detect();
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => !(value instanceof Promise)));
}

function exporting(
  { tracesEndpoint, tracesProtocol: protocol, exportTimeoutMs, tracesOnConsole = false, batch }: TelemetryOptions,
  selfObsMeterProvider: MeterProvider | undefined,
): SpanProcessor[] {
  const onConsole = tracesOnConsole ? [new SimpleSpanProcessor({ exporter: new ConsoleSpanExporter() })] : [];
  if (tracesEndpoint === undefined) return onConsole;
  return [
    ...onConsole,
    new BatchSpanProcessor({
      exporter: spanExporter({ url: tracesEndpoint, protocol, timeoutMs: exportTimeoutMs }, selfObsMeterProvider),
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
