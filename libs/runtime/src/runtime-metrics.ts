import type { MeterProvider } from '@opentelemetry/api';
import { RuntimeNodeInstrumentation } from '@opentelemetry/instrumentation-runtime-node';

/**
 * Measures the process: delay and utilization of the event loop, garbage collection, spaces of the heap (`nodejs.*`, `v8js.*`).
 * A separate module, because loading it takes time, and only services need it.
 * @returns stops measuring
 */
export const measureRuntime = (provider: MeterProvider): (() => void) => {
  const instrumentation = new RuntimeNodeInstrumentation({ monitoringPrecision: 20 });
  instrumentation.setMeterProvider(provider);
  return () => instrumentation.disable();
};
