import { forgetEventSpans } from '@interlock/event-store';
import {
  context,
  propagation,
  type Span,
  type SpanContext,
  type SpanOptions,
  TraceFlags,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { IdSpan } from './id-span.ts';
import { RecordedSpan, type SpanRecorder } from './recorded-span.ts';

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

let spans = 0;

/** Makes a span of a tracer's service. */
type MakeSpan = (ids: SpanContext, started: StartedSpan) => Span;

/** What is known of a span when it starts. */
export interface StartedSpan extends SpanOptions {
  readonly name: string;
  readonly parentSpanId: string | undefined;
}

const makeIds: MakeSpan = (ids) => new IdSpan(ids);

/** Draws no ids but counts spans. */
const tracerWith = (makeSpan: MakeSpan): Tracer => {
  const tracer: Tracer = {
    startSpan(name, options, parent = context.active()) {
      spans += 1;
      // Every value in a context here was made here, or was checked when it came from elsewhere.
      const above = trace.getSpanContext(parent);
      const traceId = above?.traceId ?? hex(spans, 32);
      const ids = { traceId, spanId: hex(spans, 16), traceFlags: TraceFlags.SAMPLED };
      return makeSpan(ids, { ...options, name, parentSpanId: above?.spanId });
    },
    startActiveSpan: (name: string, ...rest: readonly unknown[]) => {
      const span = tracer.startSpan(name);
      const work = rest.at(-1);
      if (typeof work !== 'function') throw new TypeError('startActiveSpan takes a function');
      return context.with(trace.setSpan(context.active(), span), () => work(span));
    },
  };
  return tracer;
};

const countingTracer = tracerWith(makeIds);

let isInstalled = false;
let recording: SpanRecorder | undefined;

/** Scopes of parts of services that receive no tracer. */
const scopeOfService = /^@interlock\/(identity|key-vault|disk-encryption-set|disk|compute)$/;

/** The tracer that the API returns to parts that receive none. @param scope its name, `@interlock/<part>` */
const tracerOfScope = (scope: string): Tracer => {
  const [, service] = scopeOfService.exec(scope) ?? [];
  return tracerWith((ids, started) =>
    recording === undefined || service === undefined
      ? new IdSpan(ids)
      : new RecordedSpan(ids, started, service, recording),
  );
};

/** Tracing of one world. */
export interface WorldTracing {
  /** The tracer of a service, or of clients outside. */
  tracerOf(service: string): Tracer;
  /** Ends the recording: later worlds record nothing. */
  close(): void;
}

/**
 * Tracing for this process that counts spans instead of drawing ids, and records nothing without a recorder. The counter restarts
 * with each world, so only one world runs at a time.
 * @param first number to count from: a world whose events continue in another world uses numbers that the other never reaches
 */
export const worldTracing = (first = 0, recorder?: SpanRecorder): WorldTracing => {
  spans = first;
  recording = recorder;
  forgetEventSpans();
  if (!isInstalled) {
    const provider: TracerProvider = { getTracer: tracerOfScope };
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    trace.setGlobalTracerProvider(provider);
    isInstalled = true;
  }
  if (recorder === undefined) return { tracerOf: () => countingTracer, close: () => undefined };
  // Messages carry the context of their publisher only if spans are recorded. A world without recording is the same, and faster.
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  return {
    tracerOf: (service) => tracerWith((ids, started) => new RecordedSpan(ids, started, service, recorder)),
    close() {
      recording = undefined;
      propagation.disable();
    },
  };
};
