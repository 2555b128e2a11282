import { createHash } from 'node:crypto';
import {
  type AnyValue,
  type KeyValue,
  type LogsRequest,
  nanosOf,
  RUN_ATTRIBUTE,
  type TracesRequest,
} from '@interlock/lab/dataset';
import { SCHEMA_URL, SCOPE_VERSION } from '@interlock/runtime';
import type { Attributes, AttributeValue } from '@opentelemetry/api';
import type { SimulatedSpan } from '../../simulation/cloud/recorded-span.ts';

/** The scope of all simulated telemetry, as on real processes. */
const scope = { name: 'interlock', version: SCOPE_VERSION };

/** Spans and log records in one request. */
const requestMax = 500;

/** An id of the form of a UUID, the same for the same process of a run: version 8 of RFC 9562, made of a hash. */
const instanceOf = (service: string, run: string): string => {
  const hex = createHash('sha256').update(`${run} ${service}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};

/** The resource of a service in a run. */
const resourceOf = (service: string, run: string) => ({
  attributes: keyValues({
    'service.name': service,
    'service.namespace': 'interlock',
    'service.instance.id': instanceOf(service, run),
    'telemetry.sdk.language': 'nodejs',
    [RUN_ATTRIBUTE]: run,
  }),
});

/** Spans of a simulated world as OTLP, a service at a time. */
export const tracesOf = (spans: readonly SimulatedSpan[], run: string): readonly TracesRequest[] =>
  requestsOf(spans, (service, some) => ({
    resourceSpans: [
      {
        resource: resourceOf(service, run),
        scopeSpans: [{ scope, spans: some.map(otlpSpan), schemaUrl: SCHEMA_URL }],
        schemaUrl: SCHEMA_URL,
      },
    ],
  }));

const otlpSpan = (span: SimulatedSpan) => ({
  traceId: span.traceId,
  spanId: span.spanId,
  ...(span.parentSpanId === undefined ? {} : { parentSpanId: span.parentSpanId }),
  name: span.name,
  // The API numbers kinds from 0, the protocol from 1.
  kind: span.kind + 1,
  startTimeUnixNano: nanosOf(span.startMs),
  endTimeUnixNano: nanosOf(span.endMs),
  attributes: keyValues(span.attributes),
  events: span.events.map(({ name, atMs, attributes }) => ({
    timeUnixNano: nanosOf(atMs),
    name,
    attributes: keyValues(attributes),
  })),
  links: span.links.map(({ context, attributes = {} }) => ({
    traceId: context.traceId,
    spanId: context.spanId,
    attributes: keyValues(attributes),
  })),
  status: { code: span.status.code, ...(span.status.message === undefined ? {} : { message: span.status.message }) },
});

interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly service: string;
  readonly event: string;
  readonly trace?: string;
  readonly span?: string;
}

const severities: Readonly<Record<string, number>> = { info: 9, warn: 13, error: 17 };

/** Lines of services' logs, JSON each, as OTLP. Fields other than those of every line become attributes. */
export const logsOf = (lines: readonly string[], run: string): readonly LogsRequest[] =>
  requestsOf(
    lines.map((line): LogLine => JSON.parse(line)),
    (service, some) => ({
      resourceLogs: [
        {
          resource: resourceOf(service, run),
          scopeLogs: [{ scope, logRecords: some.map(logRecord), schemaUrl: SCHEMA_URL }],
          schemaUrl: SCHEMA_URL,
        },
      ],
    }),
  );

const logRecord = ({ time, level, event, trace, span, service: _, ...fields }: LogLine) => ({
  timeUnixNano: nanosOf(Date.parse(time)),
  severityNumber: severities[level] ?? 0,
  severityText: level.toUpperCase(),
  body: { stringValue: event },
  attributes: Object.entries(fields).map(([key, value]) => ({
    key,
    value: { stringValue: typeof value === 'string' ? value : JSON.stringify(value) },
  })),
  ...(trace === undefined ? {} : { traceId: trace }),
  ...(span === undefined ? {} : { spanId: span }),
});

/** Requests of limited size for each service, services in the order of their names. */
const requestsOf = <Item extends { readonly service: string }, Request>(
  items: readonly Item[],
  requestOf: (service: string, some: readonly Item[]) => Request,
): readonly Request[] =>
  [...Map.groupBy(items, ({ service }) => service)]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .flatMap(([service, all]) =>
      Array.from({ length: Math.ceil(all.length / requestMax) }, (_, index) =>
        requestOf(service, all.slice(index * requestMax, (index + 1) * requestMax)),
      ),
    );

const keyValues = (attributes: Attributes): readonly KeyValue[] =>
  Object.entries(attributes).flatMap(([key, value]) => (value == null ? [] : [{ key, value: anyValue(value) }]));

const anyValue = (value: AttributeValue): AnyValue => {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number') return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
  return Array.isArray(value) ? { arrayValue: { values: value.map(anyValue) } } : { stringValue: String(value) };
};
