import type { MeterProvider } from '@opentelemetry/api';
import { RuntimeNodeInstrumentation } from '@opentelemetry/instrumentation-runtime-node';

/**
 * Measures the process: delay and utilization of the event loop, garbage collection, spaces of the heap (`nodejs.*`, `v8js.*`).
 * A module of its own, because loading it takes some time that only services spend.
 * @returns stops measuring
 */
export const measureRuntime = (provider: MeterProvider): (() => void) => {
  const instrumentation = new RuntimeNodeInstrumentation({ monitoringPrecision: 20 });
  instrumentation.setMeterProvider(provider);
  return () => instrumentation.disable();
};
