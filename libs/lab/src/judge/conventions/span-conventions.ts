import {
  ATTR_DB_NAMESPACE,
  ATTR_DB_OPERATION_NAME,
  ATTR_DB_SYSTEM_NAME,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_HTTP_ROUTE,
  ATTR_RPC_METHOD,
  ATTR_RPC_STATUS_CODE,
  ATTR_RPC_SYSTEM_NAME,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_URL_PATH,
  ATTR_URL_SCHEME,
} from '@opentelemetry/semantic-conventions';
import {
  ATTR_MESSAGING_BATCH_MESSAGE_COUNT,
  ATTR_MESSAGING_DESTINATION_NAME,
  ATTR_MESSAGING_MESSAGE_ID,
  ATTR_MESSAGING_OPERATION_NAME,
  ATTR_MESSAGING_OPERATION_TYPE,
  ATTR_MESSAGING_SYSTEM_NAME,
} from '@opentelemetry/semantic-conventions/incubating';
import type { Span } from '../../spans/span-store.ts';
import { wrongName } from './installed-names.ts';

/**
 * What OpenTelemetry's semantic conventions require of spans: each MUST, and each attribute that is Required or whose condition
 * (Conditionally Required) holds. Names are those of the installed package. docs/telemetry.md lists the deliberate exceptions.
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
  const code = textOf(span, ATTR_RPC_STATUS_CODE);
  const isError = span.kind === 'server' ? serverFaults.includes(code) : code !== 'OK';
  // A caller that leaves a stream has received all that it needs.
  if (isError && span.status !== 'error' && code !== 'CANCELLED') return `the status ${code} is no error`;
  if (!isError && span.status === 'error') return `the status ${code} is an error`;
  if (span.status === 'error' && textOf(span, ATTR_ERROR_TYPE) !== code && code !== 'UNKNOWN')
    return `error.type is ${textOf(span, ATTR_ERROR_TYPE)}, not ${code}`;
  return undefined;
};

/** A span of a batch has the number of its messages and no id of one, a span of a single message the other way round. */
const wrongMessaging = (span: Span): string | undefined => {
  const isBatch = has(ATTR_MESSAGING_BATCH_MESSAGE_COUNT)(span);
  const type = textOf(span, ATTR_MESSAGING_OPERATION_TYPE);
  const isFetch = type === 'receive';
  if (isBatch && has(ATTR_MESSAGING_MESSAGE_ID)(span)) return 'a batch has the id of one message';
  if (isBatch && !isFetch && Number(span.attributes[ATTR_MESSAGING_BATCH_MESSAGE_COUNT]) === 1)
    return 'a single message has the count of a batch';
  // The span of a batch is no creation context if its messages have contexts of their own: it links to them.
  const send = isBatch && span.links.length > 0 ? 'client' : 'producer';
  const kinds: Readonly<Record<string, Span['kind']>> = {
    send,
    receive: 'client',
    process: 'consumer',
    settle: 'client',
  };
  return kinds[type] === span.kind ? undefined : `${type} has the kind ${span.kind}`;
};

const server = [ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT];

/** The conventions that spans of the services fall under. */
export const conventions: readonly Convention[] = [
  {
    name: 'RPC client (gRPC)',
    isOf: (span) => has(ATTR_RPC_SYSTEM_NAME)(span) && span.kind !== 'server',
    kinds: ['client'],
    required: [ATTR_RPC_SYSTEM_NAME, ATTR_RPC_METHOD, ATTR_RPC_STATUS_CODE, ...server],
    ofFailed: [ATTR_ERROR_TYPE],
    wrong: statusOfCall,
  },
  {
    name: 'RPC server (gRPC)',
    isOf: (span) => has(ATTR_RPC_SYSTEM_NAME)(span) && span.kind === 'server',
    kinds: ['server'],
    required: [ATTR_RPC_SYSTEM_NAME, ATTR_RPC_METHOD, ATTR_RPC_STATUS_CODE, ...server],
    ofFailed: [ATTR_ERROR_TYPE],
    wrong: statusOfCall,
  },
  {
    name: 'messaging (NATS)',
    isOf: (span) => Object.keys(span.attributes).some((name) => name.startsWith('messaging.')),
    kinds: ['producer', 'consumer', 'client'],
    required: [
      ATTR_MESSAGING_SYSTEM_NAME,
      ATTR_MESSAGING_OPERATION_NAME,
      ATTR_MESSAGING_OPERATION_TYPE,
      ATTR_MESSAGING_DESTINATION_NAME,
      ...server,
    ],
    ofFailed: [ATTR_ERROR_TYPE],
    wrong: wrongMessaging,
  },
  {
    name: 'database (PostgreSQL)',
    isOf: (span) => Object.keys(span.attributes).some((name) => name.startsWith('db.')),
    kinds: ['client'],
    required: [ATTR_DB_SYSTEM_NAME, ATTR_DB_NAMESPACE, ATTR_DB_OPERATION_NAME, ...server],
    ofFailed: [ATTR_ERROR_TYPE],
    wrong: (span) =>
      textOf(span, ATTR_DB_SYSTEM_NAME) === 'postgresql' ? undefined : 'db.system.name is not postgresql',
  },
  {
    name: 'HTTP server',
    isOf: has(ATTR_HTTP_REQUEST_METHOD),
    kinds: ['server'],
    required: [
      ATTR_HTTP_REQUEST_METHOD,
      ATTR_HTTP_ROUTE,
      ATTR_HTTP_RESPONSE_STATUS_CODE,
      ATTR_URL_PATH,
      ATTR_URL_SCHEME,
      ...server,
    ],
    ofFailed: [ATTR_ERROR_TYPE],
  },
  {
    name: 'internal',
    isOf: ({ kind }) => kind === 'internal',
    kinds: ['internal'],
    required: [],
    ofFailed: [ATTR_ERROR_TYPE],
  },
];

/** Names in a namespace of the conventions that they do not have: docs/telemetry.md says why. */
const ownNames: ReadonlySet<string> = new Set(['messaging.nats.stream', 'messaging.nats.message.delivery_count']);

const wrongNames = ({ service, name, attributes }: Span): readonly string[] =>
  Object.keys(attributes)
    .filter((key) => !ownNames.has(key))
    .flatMap((key) => wrongName(key) ?? [])
    .map((what) => `${service} ${name}: ${what}`);

/** A text that repeats the type of the error says nothing. */
const repeatsItsError = ({ statusMessage, attributes }: Span): boolean =>
  statusMessage !== '' && statusMessage === attributes[ATTR_ERROR_TYPE];

/** The deviations of a span from the conventions; empty if it follows them. A span without a convention deviates. */
export const deviationsOf = (span: Span): readonly string[] => {
  const of = conventions.filter(({ isOf }) => isOf(span));
  if (of.length === 0) return [`${span.name} (${span.kind}) belongs to no convention`];
  const ofRules = of.flatMap(({ name, kinds, required, ofFailed, wrong }) => {
    const needed = span.status === 'error' ? [...required, ...ofFailed] : required;
    const missing = needed.filter((one) => !has(one)(span)).map((one) => `${one} is missing`);
    const kind = kinds.includes(span.kind) ? [] : [`the kind is ${span.kind}`];
    const superfluous =
      span.status !== 'error' && has(ATTR_ERROR_TYPE)(span) ? ['error.type is there, and the span has not failed'] : [];
    const other = wrong?.(span);
    return [...missing, ...kind, ...superfluous, ...(other === undefined ? [] : [other])].map(
      (what) => `${name}: ${span.service} ${span.name}: ${what}`,
    );
  });
  const repeated = repeatsItsError(span)
    ? [`${span.service} ${span.name}: the text of the status repeats error.type`]
    : [];
  return [...ofRules, ...wrongNames(span), ...repeated];
};

/** Each kind of deviation of spans, once, with the number of spans. */
export const deviationsIn = (spans: readonly Span[]): readonly string[] =>
  [...Map.groupBy(spans.flatMap(deviationsOf), (what) => what)].map(([what, all]) => `${what} (${all.length})`);
