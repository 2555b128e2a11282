import {
  type Attributes,
  type AttributeValue,
  type Span,
  type SpanLink,
  spanKinds,
  spanStatuses,
} from '@interlock/lab/spans/span-store';

/** The body is not a trace export in OTLP's JSON form. The message names the field. */
export class OtlpError extends Error {
  override readonly name = 'OtlpError';
}

/**
 * Reads an ExportTraceServiceRequest in OTLP's JSON form: ids in hex, 64-bit numbers as text or number, enums as numbers.
 * @throws OtlpError
 */
export function readSpans(request: unknown): Span[] {
  return list(request, 'resourceSpans').flatMap((resourceSpans) => {
    const resource = attributes(object(resourceSpans.resource ?? {}, 'resource'));
    const service = String(resource['service.name'] ?? 'unknown');
    return list(resourceSpans, 'scopeSpans').flatMap((scope) =>
      list(scope, 'spans').map((span) => spanOf(span, service)),
    );
  });
}

type Json = Record<string, unknown>;

function spanOf(span: Json, service: string): Span {
  const startNs = nanoseconds(span, 'startTimeUnixNano');
  const parent = span.parentSpanId;
  const status = object(span.status ?? {}, 'status');
  return {
    traceId: id(span, 'traceId', 32),
    spanId: id(span, 'spanId', 16),
    parentSpanId: typeof parent === 'string' && parent !== '' ? parent : undefined,
    service,
    name: String(span.name ?? ''),
    kind: spanKinds[Number(span.kind ?? 0)] ?? 'unspecified',
    startMs: milliseconds(startNs),
    durationMs: milliseconds(nanoseconds(span, 'endTimeUnixNano') - startNs),
    status: spanStatuses[Number(status.code ?? 0)] ?? 'unset',
    statusMessage: typeof status.message === 'string' ? status.message : '',
    attributes: attributes(span),
    links: list(span, 'links').map(linkOf),
    events: list(span, 'events').map((event) => ({
      name: String(event.name ?? ''),
      atMs: milliseconds(nanoseconds(event, 'timeUnixNano')),
      attributes: attributes(event),
    })),
  };
}

function linkOf(link: Json): SpanLink {
  return { traceId: id(link, 'traceId', 32), spanId: id(link, 'spanId', 16), attributes: attributes(link) };
}

function attributes(owner: Json): Attributes {
  return Object.fromEntries(list(owner, 'attributes').map(({ key, value }) => [String(key), attributeValue(value)]));
}

function attributeValue(value: unknown): AttributeValue {
  const [kind, content] = Object.entries(object(value ?? {}, 'value'))[0] ?? [];
  switch (kind) {
    case 'stringValue':
    case 'bytesValue':
      return String(content);
    case 'boolValue':
      return content === true;
    case 'intValue':
    case 'doubleValue':
      return Number(content);
    case 'arrayValue':
      return list(object(content, kind), 'values').map(attributeValue);
    case 'kvlistValue':
      return JSON.stringify(
        Object.fromEntries(list(object(content, kind), 'values').map((pair) => [pair.key, attributeValue(pair.value)])),
      );
    default:
      return '';
  }
}

function object(value: unknown, field: string): Json {
  if (!isObject(value)) throw new OtlpError(`${field} must be an object`);
  return value;
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function list(owner: unknown, field: string): Json[] {
  const value = object(owner, 'the message')[field] ?? [];
  if (!Array.isArray(value)) throw new OtlpError(`${field} must be a list`);
  return value.map((item) => object(item, field));
}

function id(owner: Json, field: string, digits: number): string {
  const value = owner[field];
  if (typeof value !== 'string' || value.length !== digits || !/^[0-9a-f]+$/i.test(value)) {
    throw new OtlpError(`${field} must have ${digits} hex digits`);
  }
  return value.toLowerCase();
}

function nanoseconds(owner: Json, field: string): bigint {
  const value = owner[field] ?? 0;
  if ((typeof value !== 'string' && typeof value !== 'number') || !/^\d+$/.test(String(value))) {
    throw new OtlpError(`${field} must be a whole number of nanoseconds`);
  }
  return BigInt(value);
}

/** Rounded to a microsecond, which a double can still represent at today's distance from the epoch. */
function milliseconds(ns: bigint): number {
  return Number(ns / 1000n) / 1000;
}
