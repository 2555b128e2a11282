import { createNoopMeter, trace } from '@opentelemetry/api';
import type { Telemetry } from './telemetry.ts';
import { startContext } from './telemetry-context.ts';

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
