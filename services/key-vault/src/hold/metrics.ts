import type { Meter, ObservableResult } from '@opentelemetry/api';
import type { Holding } from './holding.ts';

/** Shows whether nobody may use a key, as `interlock.key_vault.hold`: 1 or 0. @returns ends it */
export const meterHold = (meter: Meter, holding: Pick<Holding, 'current'>): (() => void) => {
  const gauge = meter.createObservableGauge('interlock.key_vault.hold', {
    description: 'Whether no key may be used until its state is confirmed',
  });
  const observe = (result: ObservableResult): void => result.observe(holding.current() === undefined ? 0 : 1);
  gauge.addCallback(observe);
  return () => gauge.removeCallback(observe);
};
