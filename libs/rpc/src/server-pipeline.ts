import { Rejection } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import {
  contextFromTraceparent,
  DomainAttribute,
  DURATION_BUCKETS_S,
  failSpan,
  openSpan,
  traceparentOf,
} from '@interlock/runtime';
import { createNoopMeter, type Meter, context as otel, type Span, SpanKind, type Tracer } from '@opentelemetry/api';
import { type CallContext, ServerError, type ServerMiddleware, Status } from 'nice-grpc-common';
import { authorise, type Rule } from './authorization.ts';
import type { Authorizer } from './authorizer.ts';
import { type CallFields, CallMetadata, runAsCall, tokenMissing } from './call.ts';
import { type CallTimer, serverStopping, startTimer } from './call-timer.ts';
import { DETAILS_TRAILER, isInternal, statusName, toWire } from './errors.ts';
import { RpcAttribute } from './rpc-attributes.ts';
import type { Authenticate } from './tokens.ts';

/** What every call to a server goes through, whatever carries it. */
export interface PipelineOptions {
  readonly authenticate: Authenticate;
  readonly authorize: Authorizer;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly tracer: Tracer;
  /** Measures calls as `rpc.server.call.duration`; default: nothing is measured. */
  readonly meter?: Meter;
  readonly log: Logger;
  /**
   * Told of every call that was refused before its handler ran, and awaited before the refusal leaves: for a service that
   * keeps a record of refusals. A failure of it is the call's failure.
   */
  readonly onRefused?: (refusal: Refusal) => Promise<void>;
  /** Longest a call may take; also the deadline of a caller that set none. Default 30,000 ms. */
  readonly deadlineMaxMs?: number;
  /** The same for methods that answer with a stream: a watch may last. Default 3,600,000 ms. */
  readonly streamDeadlineMaxMs?: number;
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

/**
 * The server's side of a call: span, deadline, translation of errors, authentication, authorisation, handler.
 *
 * One middleware and not a chain of them, because every link of a chain is one more generator that each message of a
 * stream passes through. It hands messages on without looking at them.
 *
 * @param rules path → who may call it; a path without a rule is refused
 * @param stopping aborted when streams have to end because the server stops
 */
export function serverPipeline(
  options: PipelineOptions,
  rules: ReadonlyMap<string, Rule<unknown>>,
  stopping: AbortSignal,
): ServerMiddleware<CallFields> {
  const { tracer, log, clock, deadlineMaxMs = 30_000, streamDeadlineMaxMs = 3_600_000 } = options;
  const duration = (options.meter ?? createNoopMeter()).createHistogram('rpc.server.call.duration', {
    unit: 's',
    description: 'How long calls took, streams included',
    advice: { explicitBucketBoundaries: [...DURATION_BUCKETS_S] },
  });

  return async function* pipeline(call, context) {
    const method = call.method.path.slice(1);
    const { span, spanContext } = openSpan(tracer, method, {
      kind: SpanKind.SERVER,
      attributes: {
        [RpcAttribute.system]: 'grpc',
        [RpcAttribute.method]: method,
        [RpcAttribute.clientAddress]: context.peer,
      },
      parent: contextFromTraceparent(context.metadata.get(CallMetadata.traceparent)),
    });
    const timeoutMs = wantedTimeoutMs(context, call.responseStream ? streamDeadlineMaxMs : deadlineMaxMs);
    const timer = startTimer(clock, timeoutMs, context.signal, call.responseStream ? stopping : undefined);
    const inCall = <Result>(fields: CallFields, fn: () => Result): Result =>
      otel.with(spanContext, () => runAsCall(fields, fn));

    const startedMs = clock.monotonicMs();
    // A caller that goes away between two messages of a stream.
    let status = 'CANCELLED';
    let unfinished: { return(): Promise<unknown> } | undefined;
    try {
      const anonymous = anonymousCall(options, context, span, timer);
      const rule = rules.get(call.method.path);
      const fields = await timer.race(
        inCall(anonymous, () => admitOrTell(options, rule, call, context, anonymous)),
        deadlineExceeded,
      );
      span.setAttribute(DomainAttribute.caller, fields.caller.name);
      span.setAttribute(DomainAttribute.correlationId, fields.cause.correlationId);

      const handlerContext = new HandlerCall(context, fields, timer);
      if (!call.responseStream) {
        const answers = call.next(call.request, handlerContext);
        const answer = await timer.race(
          inCall(fields, () => answers.next()),
          deadlineExceeded,
        );
        status = 'OK';
        return answer.value;
      }
      const answers = call.next(call.request, handlerContext);
      unfinished = { return: () => inCall(fields, () => answers.return()) };
      for (;;) {
        const answer = await inCall(fields, () => answers.next());
        if (answer.done === true) break;
        yield answer.value;
      }
      unfinished = undefined;
      if (timer.ended() !== undefined) throw new Error('the stream was ended from outside');
      status = 'OK';
    } catch (error) {
      const answer = translate(error, timer, context, span, (internal) =>
        otel.with(spanContext, () => log.error('request failed', { rpc: method, error: internal })),
      );
      status = statusName(answer.code);
      throw answer;
    } finally {
      timer.stop();
      span.setAttribute(RpcAttribute.status, status);
      duration.record((clock.monotonicMs() - startedMs) / 1_000, {
        [RpcAttribute.system]: 'grpc',
        [RpcAttribute.method]: method,
        [RpcAttribute.status]: status,
      });
      // Left between two messages because the caller is gone: the handler's own `finally` has to run.
      await unfinished?.return();
      span.end();
    }
  };
}

/**
 * What the handler is given. Its signal is made when it is looked at, which most handlers never do. A class, because an
 * object with a getter put together anew for each call costs more than the signal.
 */
class HandlerCall implements CallContext, CallFields {
  readonly metadata: CallContext['metadata'];
  readonly peer: string;
  readonly caller: CallFields['caller'];
  readonly cause: CallFields['cause'];
  readonly requestId: string;
  readonly deadline: CallFields['deadline'];
  readonly remainingMs: CallFields['remainingMs'];
  declare readonly token?: string;
  readonly #context: CallContext;
  readonly #timer: CallTimer;

  constructor(context: CallContext, fields: CallFields, timer: CallTimer) {
    this.metadata = context.metadata;
    this.peer = context.peer;
    this.caller = fields.caller;
    this.cause = fields.cause;
    this.requestId = fields.requestId;
    this.deadline = fields.deadline;
    this.remainingMs = fields.remainingMs;
    if (fields.token !== undefined) this.token = fields.token;
    this.#context = context;
    this.#timer = timer;
  }

  get header(): CallContext['header'] {
    return this.#context.header;
  }
  get trailer(): CallContext['trailer'] {
    return this.#context.trailer;
  }
  sendHeader(): void {
    this.#context.sendHeader();
  }
  get signal(): AbortSignal {
    return this.#timer.signal;
  }
}

const deadlineExceeded = (): ServerError =>
  new ServerError(Status.DEADLINE_EXCEEDED, 'the deadline passed before the answer was ready');

/** The caller's own deadline, but never longer than ours. */
function wantedTimeoutMs(context: CallContext, longestMs: number): number {
  const wanted = context.metadata.get(CallMetadata.timeoutMs);
  return wanted !== undefined && TIMEOUT.test(wanted) ? Math.min(Number(wanted), longestMs) : longestMs;
}

const TIMEOUT = /^\d{1,12}$/;
const CORRELATION_ID = /^[0-9A-Za-z_-]{1,64}$/;

/** The call as far as it is known before anybody has shown who asks. @throws Rejection INVALID_ARGUMENT METADATA_INVALID */
function anonymousCall(options: PipelineOptions, context: CallContext, span: Span, timer: CallTimer): CallFields {
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
      causationId: requestId,
      caller: caller.name,
      ...(traceparent === undefined ? {} : { traceparent }),
    },
    requestId,
    deadline: timer.deadline,
    remainingMs: timer.remainingMs,
  };
}

/** `admit`, with refusals told to whoever keeps a record of them. */
async function admitOrTell(
  options: PipelineOptions,
  rule: Rule<unknown> | undefined,
  { method, request }: { readonly method: { readonly path: string }; readonly request: unknown },
  context: CallContext,
  anonymous: CallFields,
): Promise<CallFields> {
  try {
    return await admit(options, rule, request, context, anonymous);
  } catch (error) {
    if (error instanceof Rejection) {
      const { peer } = context;
      await options.onRefused?.({ method: method.path.slice(1), request, call: anonymous, peer, rejection: error });
    }
    throw error;
  }
}

/** Finds out who asks and whether they may. Authentication comes before everything that could tell what exists (KV-80). */
async function admit(
  options: PipelineOptions,
  rule: Rule<unknown> | undefined,
  request: unknown,
  context: CallContext,
  anonymous: CallFields,
): Promise<CallFields> {
  if (rule === undefined) throw new Error('the method has no authorization rule');
  if ('public' in rule) return anonymous;
  const token = bearerToken(context);
  const caller = await options.authenticate(token);
  await authorise(rule, caller, request, options.authorize);
  return { ...anonymous, caller, cause: { ...anonymous.cause, caller: caller.name }, token };
}

function bearerToken(context: CallContext): string {
  const authorization = context.metadata.get(CallMetadata.authorization);
  if (authorization === undefined) throw tokenMissing();
  const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  if (token !== undefined) return token;
  throw new Rejection(
    'UNAUTHENTICATED',
    'TOKEN_MALFORMED',
    `metadata "${CallMetadata.authorization}" must be "Bearer <token>"`,
  );
}

/** Codes that mean the server failed; the others are answers and leave the span unfailed, as the conventions ask. */
const SERVER_FAULTS: readonly Status[] = [
  Status.UNKNOWN,
  Status.DEADLINE_EXCEEDED,
  Status.UNIMPLEMENTED,
  Status.INTERNAL,
  Status.UNAVAILABLE,
  Status.DATA_LOSS,
];

/** What the caller is told, with the details in the trailer; what it must not see goes to `logInternal`. */
function translate(
  thrown: unknown,
  timer: CallTimer,
  context: CallContext,
  span: Span,
  logInternal: (error: unknown) => void,
): ServerError {
  const error = outcome(thrown, timer);
  if (error instanceof Rejection) span.setAttribute(DomainAttribute.rejectionReason, error.reason);
  const answer = error instanceof ServerError ? error : answerFor(error, context, span);
  if (SERVER_FAULTS.includes(answer.code)) failSpan(span, error);
  if (!(error instanceof ServerError) && isInternal(error)) logInternal(error);
  return answer;
}

function answerFor(error: unknown, context: CallContext, span: Span): ServerError {
  const { traceId } = span.spanContext();
  const wire = toWire(error, traceparentOf(span.spanContext()) === undefined ? undefined : traceId);
  context.trailer.set(DETAILS_TRAILER, wire.details);
  return new ServerError(wire.code, wire.message);
}

/** A call that was ended from outside failed because of that, whatever its handler made of the aborted signal. */
function outcome(thrown: unknown, timer: CallTimer): unknown {
  if (thrown instanceof Rejection) return thrown;
  if (timer.ended() === 'deadline') return deadlineExceeded();
  if (timer.ended() === 'stopping') return serverStopping();
  if (timer.ended() === 'cancelled') return new ServerError(Status.CANCELLED, 'the caller cancelled the call');
  return thrown;
}
