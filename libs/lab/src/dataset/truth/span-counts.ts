import {
  attributeOf,
  type KeyValue,
  type MetricsRequest,
  type OtlpResource,
  serviceOf,
  type TracesRequest,
} from '../format/otlp.ts';
import type { TruthExport } from '../format/truth.ts';

/** Metrics in which the SDK counts the spans that it exported, or could not. */
const EXPORTED = 'otel.sdk.exporter.span.exported';
const PROCESSED = 'otel.sdk.processor.span.processed';

type Counts = { -readonly [Field in keyof TruthExport]: TruthExport[Field] };

interface Point {
  readonly asInt?: string | number;
  readonly asDouble?: number;
  readonly attributes?: readonly KeyValue[];
}

interface Counter {
  readonly name: string;
  readonly sum?: { readonly dataPoints?: readonly Point[] };
}

/**
 * How many spans of each process were received, and how many the process counted itself. Counters only grow, so the newest value of
 * each is the last one in the order of the requests.
 */
export const exportsOf = (
  traces: readonly TracesRequest[],
  metrics: readonly MetricsRequest[],
): readonly TruthExport[] => {
  const all = new Map<string, Counts>();
  const of = (resource: OtlpResource | undefined): Counts => {
    const [service, instance] = [serviceOf(resource), attributeOf(resource?.attributes, 'service.instance.id') ?? ''];
    const key = `${service} ${instance}`;
    const known = all.get(key) ?? { service, instance, received: 0 };
    all.set(key, known);
    return known;
  };
  for (const { resource, scopeSpans = [] } of traces.flatMap(({ resourceSpans = [] }) => resourceSpans)) {
    const counts = of(resource);
    for (const { spans = [] } of scopeSpans) counts.received += spans.length;
  }
  for (const one of metrics.flatMap(({ resourceMetrics = [] }) => resourceMetrics)) {
    const { scopeMetrics = [] } = one as {
      readonly scopeMetrics?: readonly { readonly metrics?: readonly Counter[] }[];
    };
    for (const counter of scopeMetrics.flatMap(({ metrics: counters = [] }) => counters))
      count(counter, () => of(one.resource));
  }
  return [...all.values()].toSorted(
    (a, b) => a.service.localeCompare(b.service) || a.instance.localeCompare(b.instance),
  );
};

/** Notes the value of a counter of spans; other metrics are none of them. */
const count = ({ name, sum }: Counter, of: () => Counts): void => {
  if (name !== EXPORTED && name !== PROCESSED) return;
  let [succeeded, failed, dropped] = [0, 0, 0];
  for (const { asInt, asDouble, attributes } of sum?.dataPoints ?? []) {
    const value = Number(asInt ?? asDouble ?? 0);
    const why = attributeOf(attributes, 'error.type');
    if (why === undefined) succeeded += value;
    else if (why === 'queue_full') dropped += value;
    else failed += value;
  }
  if (name === EXPORTED) Object.assign(of(), { exported: succeeded, failed });
  // The queue counts failed exports too.
  else of().dropped = dropped;
};
