/**
 * The JSON form of the OpenTelemetry protocol, as far as this library reads it: ids in lower-case hex, 64-bit numbers as text.
 * https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */

/** A value of an attribute. */
export interface AnyValue {
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
  readonly bytesValue?: string;
  readonly arrayValue?: { readonly values?: readonly AnyValue[] };
  readonly kvlistValue?: { readonly values?: readonly KeyValue[] };
}

/** An attribute. */
export interface KeyValue {
  readonly key: string;
  readonly value?: AnyValue;
}

/** A reference to a span of this or another trace. */
export interface OtlpLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly attributes?: readonly KeyValue[];
}

/** An event of a span. */
export interface OtlpSpanEvent {
  readonly timeUnixNano: string;
  readonly name: string;
  readonly attributes?: readonly KeyValue[];
}

/** A span. */
export interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  /** W3C trace flags, and from bit 8 on whether the parent is remote. */
  readonly flags?: number;
  readonly name: string;
  /** 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind?: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly KeyValue[];
  readonly events?: readonly OtlpSpanEvent[];
  readonly links?: readonly OtlpLink[];
  /** `code` 2 is an error. */
  readonly status?: { readonly code?: number; readonly message?: string };
}

/** Who produced the telemetry. */
export interface OtlpResource {
  readonly attributes?: readonly KeyValue[];
}

/** Spans of one resource. */
export interface ResourceSpans {
  readonly resource?: OtlpResource;
  readonly scopeSpans?: readonly {
    readonly scope?: { readonly name?: string; readonly version?: string };
    readonly spans?: readonly OtlpSpan[];
    readonly schemaUrl?: string;
  }[];
  readonly schemaUrl?: string;
}

/** An ExportTraceServiceRequest: a line of `traces.otlp.jsonl`. */
export interface TracesRequest {
  readonly resourceSpans?: readonly ResourceSpans[];
}

/** An ExportMetricsServiceRequest: a line of `metrics.otlp.jsonl`. */
export interface MetricsRequest {
  readonly resourceMetrics?: readonly { readonly resource?: OtlpResource }[];
}

/** An ExportLogsServiceRequest: a line of `logs.otlp.jsonl`. */
export interface LogsRequest {
  readonly resourceLogs?: readonly {
    readonly resource?: OtlpResource;
    readonly scopeLogs?: readonly {
      readonly scope?: { readonly name?: string; readonly version?: string };
      readonly logRecords?: readonly OtlpLogRecord[];
      readonly schemaUrl?: string;
    }[];
    readonly schemaUrl?: string;
  }[];
}

/** A log record. */
export interface OtlpLogRecord {
  readonly timeUnixNano: string;
  readonly severityNumber?: number;
  readonly severityText?: string;
  readonly body?: AnyValue;
  readonly attributes?: readonly KeyValue[];
  readonly traceId?: string;
  readonly spanId?: string;
}

/** The text of a value; lists and maps as JSON. */
export const textOf = (value: AnyValue | undefined): string => {
  if (value === undefined) return '';
  const { stringValue, boolValue, intValue, doubleValue, bytesValue } = value;
  const simple = stringValue ?? bytesValue ?? boolValue ?? intValue ?? doubleValue;
  return simple === undefined ? JSON.stringify(value) : String(simple);
};

/** The text of an attribute; undefined if it is missing. */
export const attributeOf = (attributes: readonly KeyValue[] | undefined, key: string): string | undefined => {
  const found = attributes?.find((one) => one.key === key);
  return found === undefined ? undefined : textOf(found.value);
};

/** The texts of an attribute that is a list; empty if it is missing. */
export const listOf = (attributes: readonly KeyValue[] | undefined, key: string): readonly string[] =>
  attributes?.find((one) => one.key === key)?.value?.arrayValue?.values?.map(textOf) ?? [];

/** `service.name` of a resource. */
export const serviceOf = (resource: OtlpResource | undefined): string =>
  attributeOf(resource?.attributes, 'service.name') ?? 'unknown';

/** A span with its service. */
export interface PlacedSpan extends OtlpSpan {
  readonly service: string;
}

/** All spans of requests, in their order. */
export const spansIn = (requests: readonly TracesRequest[]): readonly PlacedSpan[] =>
  requests.flatMap(({ resourceSpans = [] }) =>
    resourceSpans.flatMap(({ resource, scopeSpans = [] }) => {
      const service = serviceOf(resource);
      return scopeSpans.flatMap(({ spans = [] }) => spans.map((span) => ({ ...span, service })));
    }),
  );

/** Requests with some of their spans replaced or removed. @param change returns the new span; undefined removes it */
export const withSpans = (
  requests: readonly TracesRequest[],
  change: (span: OtlpSpan, service: string) => OtlpSpan | undefined,
): readonly TracesRequest[] =>
  requests.flatMap((request) => {
    const resourceSpans = (request.resourceSpans ?? []).flatMap((one) => {
      const service = serviceOf(one.resource);
      const scopeSpans = (one.scopeSpans ?? []).flatMap((scope) => {
        const spans = (scope.spans ?? []).flatMap((span) => change(span, service) ?? []);
        return spans.length === 0 ? [] : [{ ...scope, spans }];
      });
      return scopeSpans.length === 0 ? [] : [{ ...one, scopeSpans }];
    });
    return resourceSpans.length === 0 ? [] : [{ ...request, resourceSpans }];
  });
