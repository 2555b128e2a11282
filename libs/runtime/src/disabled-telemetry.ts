import { context, createNoopMeter, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';
import type { Telemetry } from './telemetry.ts';

/** Starts what telemetry needs and what stays without it: a context that is kept across `await`, and its propagation. @returns ends both */
export const startContext = (): (() => void) => {
  const contextManager = new AsyncLocalStorageContextManager().enable();
  context.setGlobalContextManager(contextManager);
  propagation.setGlobalPropagator(
    new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
  );
  return () => {
    propagation.disable();
    context.disable();
    contextManager.disable();
  };
};

/** Telemetry under `OTEL_SDK_DISABLED`: nothing is recorded, and the SDK is not loaded. The context of callers is still passed on. */
export const disabledTelemetry = (): Telemetry => {
  const endContext = startContext();
  return {
    tracer: trace.getTracerProvider().getTracer('interlock'),
    meter: createNoopMeter(),
    meterProvider: undefined,
    flush: async () => undefined,
    shutdown: async () => endContext(),
  };
};
