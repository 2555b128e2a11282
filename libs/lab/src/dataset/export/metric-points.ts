import { type KeyValue, type MetricsRequest, serviceOf, textOf } from '../format/otlp.ts';

/** A number that a service measured. */
export interface MetricPoint {
  readonly service: string;
  /** With its attributes: `name{key=value}`. */
  readonly name: string;
  readonly timeUnixNano: string;
  readonly value: number;
}

interface DataPoint {
  readonly timeUnixNano: string;
  readonly asDouble?: number;
  readonly asInt?: string | number;
  readonly count?: string | number;
  readonly sum?: number;
  readonly attributes?: readonly KeyValue[];
}

interface Metric {
  readonly name: string;
  readonly gauge?: { readonly dataPoints?: readonly DataPoint[] };
  readonly sum?: { readonly dataPoints?: readonly DataPoint[] };
  readonly histogram?: { readonly dataPoints?: readonly DataPoint[] };
}

/** Points of gauges, sums and histograms; of a histogram its mean. */
export const metricPoints = (requests: readonly MetricsRequest[]): readonly MetricPoint[] =>
  requests.flatMap(({ resourceMetrics = [] }) =>
    resourceMetrics.flatMap((one) => {
      const service = serviceOf(one.resource);
      const { scopeMetrics = [] } = one as {
        readonly scopeMetrics?: readonly { readonly metrics?: readonly Metric[] }[];
      };
      return scopeMetrics.flatMap(({ metrics = [] }) => metrics.flatMap((metric) => pointsOf(service, metric)));
    }),
  );

const pointsOf = (service: string, { name, gauge, sum, histogram }: Metric): readonly MetricPoint[] =>
  ((gauge ?? sum ?? histogram)?.dataPoints ?? []).flatMap((point) => {
    const { timeUnixNano, asDouble, asInt, count, sum: total, attributes = [] } = point;
    const value = asDouble ?? asInt ?? (Number(count) > 0 ? Number(total ?? 0) / Number(count) : undefined);
    if (value === undefined) return [];
    const labels = attributes.map(({ key, value: of }) => `${key}=${textOf(of)}`).join(';');
    return [{ service, name: labels === '' ? name : `${name}{${labels}}`, timeUnixNano, value: Number(value) }];
  });
