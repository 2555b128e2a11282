import assert from 'node:assert/strict';
import root from 'otlp-protobuf/build/src/generated/root.js';

interface Message {
  fromObject(content: Record<string, unknown>): object;
  toObject(message: object, options: object): object;
  encode(message: object): { finish(): Uint8Array };
  decode(bytes: Uint8Array): object;
}

/** The generated module has no types of its messages. */
const { collector } = (
  root as unknown as {
    readonly opentelemetry: {
      readonly proto: {
        readonly collector: Record<'trace' | 'metrics' | 'logs', { readonly v1: Record<string, Message> }>;
      };
    };
  }
).opentelemetry.proto;

const message = (signal: 'trace' | 'metrics' | 'logs', name: string): Message =>
  collector[signal].v1[name] ?? assert.fail(`${name} is missing`);

/** The official messages (generated from opentelemetry-proto by the OpenTelemetry authors), by the file of a data set. */
const messages = {
  'traces.otlp.jsonl': message('trace', 'ExportTraceServiceRequest'),
  'metrics.otlp.jsonl': message('metrics', 'ExportMetricsServiceRequest'),
  'logs.otlp.jsonl': message('logs', 'ExportLogsServiceRequest'),
} as const;

/** Fields that are bytes; their JSON form is hex instead of base64. */
const idFields = new Set(['traceId', 'spanId', 'parentSpanId']);

const mapped = (value: unknown, id: (hex: unknown) => unknown): unknown => {
  if (Array.isArray(value)) return value.map((one) => mapped(one, id));
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, idFields.has(key) ? id(one) : mapped(one, id)]),
  );
};

/** Numbers of 64 bits may be a text or a number, and fields with their default may be missing. */
const normal = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value === 'number') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, one]) => [key, normal(one)] as const)
      .filter(([key, one]) => key.endsWith('Value') || !isDefault(one))
      .toSorted(([a], [b]) => a.localeCompare(b)),
  );
};

const isDefault = (value: unknown): boolean =>
  value === '' || value === '0' || value === false || value === null || (Array.isArray(value) && value.length === 0);

/** Asserts that a line is the JSON form of the official message: through its protobuf bytes and back it is the same. */
export const assertOtlp = (file: keyof typeof messages, line: string): void => {
  const type = messages[file];
  const parsed: unknown = JSON.parse(line);
  const content = mapped(parsed, (hex) => Buffer.from(String(hex), 'hex')) as Record<string, unknown>;
  const bytes = type.encode(type.fromObject(content)).finish();
  const decoded = type.decode(bytes);
  assert.deepEqual(Buffer.from(type.encode(decoded).finish()), Buffer.from(bytes));
  const back = mapped(type.toObject(decoded, { longs: String, enums: Number }), (id) =>
    Buffer.from(id as Uint8Array).toString('hex'),
  );
  assert.deepEqual(normal(back), normal(parsed));
};
