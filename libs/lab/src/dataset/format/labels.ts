import type { KeyValue, LogsRequest, MetricsRequest, TracesRequest } from './otlp.ts';
import type { RunData } from './run-data.ts';

/**
 * Attributes of telemetry that hold answers: the services copy them from the event store, where the truth comes from as well. A method
 * that reads them does not derive causes, it reads them.
 */
export const labelAttributes = {
  /** Of a link: the events of the linked span that are causes. Of a part of a span: its causes. */
  causes: 'interlock.cause.ids',
  /** The events that a span, or a part of it, stored. */
  events: 'interlock.event.ids',
} as const;

const labels: ReadonlySet<string> = new Set(Object.values(labelAttributes));

/** Fields of OTLP that are lists of attributes. */
const attributeLists = new Set(['attributes', 'filteredAttributes']);

/** The run without labels in its spans, links, span events, logs and metrics. The truth stays. */
export const withoutLabels = (data: RunData): RunData => ({
  ...data,
  traces: unlabelled<TracesRequest>(data.traces),
  metrics: unlabelled<MetricsRequest>(data.metrics),
  logs: unlabelled<LogsRequest>(data.logs),
});

const unlabelled = <Request>(requests: readonly Request[]): readonly Request[] =>
  requests.map((request) => stripped(request) as Request);

/** The value without labels, at any depth; the value itself if it has none. */
const stripped = (value: unknown): unknown => {
  if (Array.isArray(value)) {
    const items = value.map(stripped);
    return items.some((item, index) => item !== value[index]) ? items : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).map(([key, one]) => [key, strippedField(key, one)] as const);
  return fields.some(([key, one]) => one !== Reflect.get(value, key)) ? Object.fromEntries(fields) : value;
};

const strippedField = (key: string, value: unknown): unknown => {
  if (!attributeLists.has(key) || !Array.isArray(value)) return stripped(value);
  const kept = (value as readonly KeyValue[]).filter((one) => !labels.has(one.key));
  return kept.length === value.length ? value : kept;
};
