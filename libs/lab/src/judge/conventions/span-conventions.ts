import type { Span } from '../../spans/span-store.ts';

/**
 * What OpenTelemetry's semantic conventions 1.45 require of spans: each MUST, and each attribute that is Required or whose
 * condition (Conditionally Required) holds. docs/telemetry.md lists the deliberate exceptions.
 */
interface Convention {
  readonly name: string;
  /** Whether a span is of this kind of operation. */
  readonly isOf: (span: Span) => boolean;
  readonly kinds: readonly Span['kind'][];
  readonly required: readonly string[];
  /** Required for a failed span. */
  readonly ofFailed: readonly string[];
  /** Further requirements; returns the reason if the span violates one. */
  readonly wrong?: (span: Span) => string | undefined;
}

const has = (name: string) => (span: Span) => name in span.attributes;
const textOf = ({ attributes }: Span, name: string): string => String(attributes[name] ?? '');

/** Statuses that are errors of a server. */
const serverFaults = ['UNKNOWN', 'DEADLINE_EXCEEDED', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS'];

const statusOfCall = (span: Span): string | undefined => {
  const code = textOf(span, 'rpc.response.status_code');
  const isError = span.kind === 'server' ? serverFaults.includes(code) : code !== 'OK';
  // A caller that leaves a stream has received all that it needs.
  if (isError && span.status !== 'error' && code !== 'CANCELLED') return `the status ${code} is no error`;
  if (!isError && span.status === 'error') return `the status ${code} is an error`;
  if (span.status === 'error' && textOf(span, 'error.type') !== code && code !== 'UNKNOWN')
    return `error.type is ${textOf(span, 'error.type')}, not ${code}`;
  return undefined;
};

const kindOfMessaging = (span: Span): string | undefined => {
  const kinds: Readonly<Record<string, Span['kind']>> = {
    send: 'producer',
    receive: 'client',
    process: 'consumer',
    settle: 'client',
  };
  const type = textOf(span, 'messaging.operation.type');
  return kinds[type] === span.kind ? undefined : `${type} has the kind ${span.kind}`;
};

const server = ['server.address', 'server.port'];

/** The conventions that spans of the services fall under. */
export const conventions: readonly Convention[] = [
  {
    name: 'RPC client (gRPC)',
    isOf: (span) => has('rpc.system.name')(span) && span.kind !== 'server',
    kinds: ['client'],
    required: ['rpc.system.name', 'rpc.method', 'rpc.response.status_code', ...server],
    ofFailed: ['error.type'],
    wrong: statusOfCall,
  },
  {
    name: 'RPC server (gRPC)',
    isOf: (span) => has('rpc.system.name')(span) && span.kind === 'server',
    kinds: ['server'],
    required: ['rpc.system.name', 'rpc.method', 'rpc.response.status_code', ...server],
    ofFailed: ['error.type'],
    wrong: statusOfCall,
  },
  {
    name: 'messaging (NATS)',
    isOf: (span) => Object.keys(span.attributes).some((name) => name.startsWith('messaging.')),
    kinds: ['producer', 'consumer', 'client'],
    required: [
      'messaging.system.name',
      'messaging.operation.name',
      'messaging.operation.type',
      'messaging.destination.name',
      'messaging.batch.message_count',
      ...server,
    ],
    ofFailed: ['error.type'],
    wrong: kindOfMessaging,
  },
  {
    name: 'database (PostgreSQL)',
    isOf: (span) => Object.keys(span.attributes).some((name) => name.startsWith('db.')),
    kinds: ['client'],
    required: ['db.system.name', 'db.namespace', 'db.operation.name', ...server],
    ofFailed: ['error.type'],
    wrong: (span) => (textOf(span, 'db.system.name') === 'postgresql' ? undefined : 'db.system.name is not postgresql'),
  },
  {
    name: 'HTTP server',
    isOf: has('http.request.method'),
    kinds: ['server'],
    required: ['http.request.method', 'http.route', 'http.response.status_code', 'url.path', 'url.scheme', ...server],
    ofFailed: ['error.type'],
  },
  {
    name: 'internal',
    isOf: ({ kind }) => kind === 'internal',
    kinds: ['internal'],
    required: [],
    ofFailed: ['error.type'],
  },
];

/** The deviations of a span from the conventions; empty if it follows them. A span without a convention deviates. */
export const deviationsOf = (span: Span): readonly string[] => {
  const of = conventions.filter(({ isOf }) => isOf(span));
  if (of.length === 0) return [`${span.name} (${span.kind}) belongs to no convention`];
  return of.flatMap(({ name, kinds, required, ofFailed, wrong }) => {
    const needed = span.status === 'error' ? [...required, ...ofFailed] : required;
    const missing = needed.filter((one) => !has(one)(span)).map((one) => `${one} is missing`);
    const kind = kinds.includes(span.kind) ? [] : [`the kind is ${span.kind}`];
    const superfluous =
      span.status !== 'error' && has('error.type')(span) ? ['error.type is there, and the span has not failed'] : [];
    const other = wrong?.(span);
    return [...missing, ...kind, ...superfluous, ...(other === undefined ? [] : [other])].map(
      (what) => `${name}: ${span.service} ${span.name}: ${what}`,
    );
  });
};

/** Each kind of deviation of spans, once, with the number of spans. */
export const deviationsIn = (spans: readonly Span[]): readonly string[] =>
  [...Map.groupBy(spans.flatMap(deviationsOf), (what) => what)].map(([what, all]) => `${what} (${all.length})`);
