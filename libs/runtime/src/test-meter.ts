import type { Attributes, Meter } from '@opentelemetry/api';
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { temporalityOf } from './metrics.ts';

/** A meter whose measurements a test reads. */
export interface TestMeter {
  readonly meter: Meter;
  /** Values of an instrument by attributes: a number, or count and sum of a histogram. */
  read(name: string): Promise<readonly (readonly [Attributes, unknown])[]>;
  /** Unit of an instrument that was observed. */
  unitOf(name: string): Promise<string | undefined>;
}

class OnDemandReader extends MetricReader {
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

/** A real meter, read on demand. */
export const testMeter = (): TestMeter => {
  const reader = new OnDemandReader({ aggregationTemporalitySelector: temporalityOf });
  const provider = new MeterProvider({ readers: [reader] });
  const find = async (name: string) => {
    const { resourceMetrics, errors } = await reader.collect();
    if (errors.length > 0) throw new AggregateError(errors, 'observing failed');
    const all = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
    return all.find(({ descriptor }) => descriptor.name === name);
  };
  return {
    meter: provider.getMeter('test'),
    async read(name) {
      const points = (await find(name))?.dataPoints ?? [];
      return points.map(({ attributes, value }) => [
        attributes,
        typeof value === 'number' ? value : { count: value.count, sum: value.sum },
      ]);
    },
    unitOf: async (name) => (await find(name))?.descriptor.unit,
  };
};
