import {
  context,
  type Span,
  type SpanContext,
  TraceFlags,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';

/** Spans that are nothing but their ids: what goes into events, messages and refusals (G10). */
class IdSpan implements Span {
  readonly #context: SpanContext;
  constructor(spanContext: SpanContext) {
    this.#context = spanContext;
  }
  spanContext(): SpanContext {
    return this.#context;
  }
  setAttribute(): this {
    return this;
  }
  setAttributes(): this {
    return this;
  }
  addEvent(): this {
    return this;
  }
  addLink(): this {
    return this;
  }
  addLinks(): this {
    return this;
  }
  setStatus(): this {
    return this;
  }
  updateName(): this {
    return this;
  }
  end(): void {}
  isRecording(): boolean {
    return false;
  }
  recordException(): void {}
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

let spans = 0;

const countingTracer: Tracer = {
  startSpan(_name, _options, parent = context.active()) {
    spans += 1;
    // Whatever is in a context here was made here, or was looked at when it came from elsewhere.
    const traceId = trace.getSpanContext(parent)?.traceId ?? hex(spans, 32);
    return new IdSpan({ traceId, spanId: hex(spans, 16), traceFlags: TraceFlags.SAMPLED });
  },
  startActiveSpan: (name: string, ...rest: readonly unknown[]) => {
    const span = countingTracer.startSpan(name);
    const work = rest.at(-1);
    if (typeof work !== 'function') throw new TypeError('startActiveSpan takes a function');
    return context.with(trace.setSpan(context.active(), span), () => work(span));
  },
};

let isInstalled = false;

/**
 * Tracing for this process that counts spans in place of drawing ids and records nothing. The counter restarts with
 * each world, so only one world runs at a time.
 * @param first the number to count from: one whose events go on in another world counts where that one never comes
 */
export const countingTracing = (first = 0): Tracer => {
  spans = first;
  if (!isInstalled) {
    const provider: TracerProvider = { getTracer: () => countingTracer };
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    trace.setGlobalTracerProvider(provider);
    isInstalled = true;
  }
  return countingTracer;
};
