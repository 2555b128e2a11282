import { type CausedBy, CauseTracker, Rejection, readEvent } from '@interlock/event-store';
import { type Propagated, type Random, runningPropagated, traceparentOf } from '@interlock/runtime';
import type { Span } from '@opentelemetry/api';
import type { CallContext } from 'nice-grpc-common';
import { authorise, type Rule } from './authorization.ts';
import type { Authorizer } from './authorizer.ts';
import { type CallFields, CallMetadata, isService, type Principal, tokenMissing } from './call.ts';
import type { CallTimer } from './call-timer.ts';
import { checkRequest } from './request-values.ts';
import type { Authenticate } from './tokens.ts';

/** A whole number of milliseconds as metadata carries it. */
export const TIMEOUT = /^\d{1,12}$/;
const CORRELATION_ID = /^[0-9A-Za-z_-]{1,64}$/;

/** How a server authenticates and authorizes its callers. */
export interface AdmissionOptions {
  readonly authenticate: Authenticate;
  readonly authorize: Authorizer;
  readonly random: Pick<Random, 'uuid'>;
  /**
   * Receives every call that is refused before its handler runs, for a service that keeps an audit log. The refusal is sent
   * after this promise resolves. If it rejects, the call fails with its error.
   */
  readonly onRefused?: (refusal: Refusal) => Promise<void>;
}

/** A call that was refused before its handler ran. */
export interface Refusal {
  /** `package.Service/Method`. */
  readonly method: string;
  /** The request; a stream of requests has not been read. */
  readonly request: unknown;
  /** As far as it is known: the caller is anonymous unless its token was verified. */
  readonly call: CallFields;
  readonly peer: string;
  readonly rejection: Rejection;
}

/** The call before its caller is authenticated. @throws Rejection INVALID_ARGUMENT METADATA_INVALID */
export function anonymousCall(
  options: Pick<AdmissionOptions, 'random'>,
  context: CallContext,
  span: Span,
  timer: CallTimer,
): CallFields {
  const given = (key: string, pattern: RegExp, expected: string): string | undefined => {
    const value = context.metadata.get(key);
    if (value === undefined || pattern.test(String(value))) return value === undefined ? undefined : String(value);
    throw new Rejection('INVALID_ARGUMENT', 'METADATA_INVALID', `metadata "${key}" must be ${expected}`, { key });
  };
  given(CallMetadata.timeoutMs, TIMEOUT, 'a whole number of milliseconds, up to 12 digits');
  const correlationId = given(CallMetadata.correlationId, CORRELATION_ID, '1 to 64 letters, digits, "-" or "_"');
  const requestId = options.random.uuid();
  const traceparent = traceparentOf(span.spanContext());
  const caller = { kind: 'anonymous', name: 'system:anonymous' } as const;
  return {
    caller,
    cause: {
      correlationId: correlationId ?? requestId,
      causes: [],
      caller: caller.name,
      ...(traceparent === undefined ? {} : { traceparent, ...storable(runningPropagated()) }),
      tracker: new CauseTracker(),
    },
    requestId,
    deadline: timer.deadline,
    remainingMs: timer.remainingMs,
  };
}

/** Longest trace state and baggage that events keep, in characters each: a caller must not fill the store with them. */
const PROPAGATED_LENGTH_MAX = 1_024;

const storable = ({ tracestate = '', baggage = '' }: Propagated): { tracestate?: string; baggage?: string } => ({
  ...(tracestate === '' || tracestate.length > PROPAGATED_LENGTH_MAX ? {} : { tracestate }),
  ...(baggage === '' || baggage.length > PROPAGATED_LENGTH_MAX ? {} : { baggage }),
});

/**
 * Authenticates and authorizes the caller. Authentication comes first, so that no error reveals what exists (KV-80).
 * The request is checked next: only an authenticated caller sees its errors, and the authorization rule reads it.
 * Waits only for a call to the identity service, and for the reason why a request cannot be read. Passes each refusal to `onRefused`.
 */
export async function admit(
  options: AdmissionOptions,
  rule: Rule<unknown> | undefined,
  { method, request }: { readonly method: { readonly path: string }; readonly request: unknown },
  context: CallContext,
  anonymous: CallFields,
): Promise<CallFields> {
  if (rule === undefined) throw new Error('the method has no authorization rule');
  if ('public' in rule) {
    const refused = checkRequest(method.path, request);
    if (refused) await refused;
    return anonymous;
  }
  try {
    const token = bearerToken(context);
    const authenticated = options.authenticate(token);
    const caller = authenticated instanceof Promise ? await authenticated : authenticated;
    const refused = checkRequest(method.path, request);
    if (refused) await refused;
    const authorised = authorise(rule, caller, request, options.authorize);
    if (authorised) await authorised;
    const causes = causesOf(context, caller);
    return { ...anonymous, caller, cause: { ...anonymous.cause, causes, caller: caller.name }, token };
  } catch (error) {
    if (error instanceof Rejection) {
      const { peer } = context;
      await options.onRefused?.({ method: method.path.slice(1), request, call: anonymous, peer, rejection: error });
    }
    throw error;
  }
}

/** An event: the name of a resource with its category and version, and a trace context. */
const EVENT = /^[!-~]{1,1024}$/;

/** The event behind a call of one of our own services. The claim of any other caller is ignored. */
function causesOf(context: CallContext, caller: Principal): readonly CausedBy[] {
  if (!isService(caller)) return [];
  const event = context.metadata.get(CallMetadata.cause);
  if (event === undefined) return [];
  if (EVENT.test(event)) return [{ id: readEvent(event), kind: 'call' }];
  const expected = '1 to 1024 printable ASCII characters';
  throw new Rejection('INVALID_ARGUMENT', 'METADATA_INVALID', `metadata "${CallMetadata.cause}" must be ${expected}`, {
    key: CallMetadata.cause,
  });
}

const bearer = 'Bearer ';

function bearerToken(context: CallContext): string {
  const authorization = context.metadata.get(CallMetadata.authorization);
  if (authorization === undefined) throw tokenMissing();
  // The usual form needs no regular expression over hundreds of characters.
  const isPlain = authorization.startsWith(bearer) && authorization.length > bearer.length;
  if (isPlain && !authorization.includes(' ', bearer.length)) return authorization.slice(bearer.length);
  const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  if (token !== undefined) return token;
  throw new Rejection(
    'UNAUTHENTICATED',
    'TOKEN_MALFORMED',
    `metadata "${CallMetadata.authorization}" must be "Bearer <token>"`,
  );
}
