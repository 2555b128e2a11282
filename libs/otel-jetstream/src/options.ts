import { type Meter, metrics, propagation, type TextMapPropagator, type Tracer, trace } from '@opentelemetry/api';
import { emitsBoth, SCHEMA_URL } from './conventions.ts';

/** What is read of a NATS connection: where its server is, and the id that the server gave this client. */
export interface ConnectionFacts {
  getServer(): string;
  readonly info?: { readonly client_id?: number } | undefined;
}

/** Options of the instrumentation; each has a default. */
export interface JetStreamTracingOptions {
  /** Default: a tracer `otel-jetstream` of the global provider. */
  readonly tracer?: Tracer;
  /** Default: a meter `otel-jetstream` of the global provider. */
  readonly meter?: Meter;
  /** Default: the global propagator. */
  readonly propagator?: Pick<TextMapPropagator, 'inject' | 'extract'>;
  /**
   * How the span that processes a message belongs to the span that published it. `parent` (default): as its child, if all processed
   * messages belong to one trace. `link`: it starts a trace of its own, or continues the running one. Both have a link.
   */
  readonly mode?: 'parent' | 'link';
  /** For `server.address`, `server.port` and `messaging.client.id`. Default: these are missing. */
  readonly connection?: ConnectionFacts;
  /** A subject as a template of low cardinality (`orders.{customer}.created`), for span names and metrics; default: none. */
  readonly template?: (subject: string) => string | undefined;
  /** `OTEL_SEMCONV_STABILITY_OPT_IN`; default: the variable of the process. */
  readonly stability?: string;
  /** A clock for durations, in milliseconds; default: `performance.now`. */
  readonly nowMs?: () => number;
}

/** The options, complete. */
export interface Resolved extends Required<Omit<JetStreamTracingOptions, 'connection' | 'template' | 'stability'>> {
  readonly connection: ConnectionFacts | undefined;
  readonly template: (subject: string) => string | undefined;
  /** Whether attributes of version 1.24 are added. */
  readonly emitsBoth: boolean;
}

/** Name of the instrumentation scope. */
const SCOPE = 'otel-jetstream';

/** Version of the instrumentation scope: that of the package. */
const VERSION = '0.1.0';

/** Fills in the defaults. */
export const resolved = (options: JetStreamTracingOptions): Resolved => ({
  tracer: options.tracer ?? trace.getTracerProvider().getTracer(SCOPE, VERSION, { schemaUrl: SCHEMA_URL }),
  meter: options.meter ?? metrics.getMeter(SCOPE, VERSION, { schemaUrl: SCHEMA_URL }),
  propagator: options.propagator ?? propagation,
  mode: options.mode ?? 'parent',
  connection: options.connection,
  template: options.template ?? (() => undefined),
  emitsBoth: emitsBoth(options.stability ?? process.env.OTEL_SEMCONV_STABILITY_OPT_IN),
  nowMs: options.nowMs ?? (() => performance.now()),
});
