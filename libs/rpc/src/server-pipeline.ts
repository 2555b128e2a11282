import { Rejection, writeEvent } from '@interlock/event-store';
import type { Clock, Logger } from '@interlock/runtime';
import {
  contextFromTraceparent,
  DomainAttribute,
  DURATION_BUCKETS_S,
  failSpan,
  openSpan,
  traceparentOf,
  withBaggage,
} from '@interlock/runtime';
import {
  type Context,
  createNoopMeter,
  type Histogram,
  type Meter,
  context as otel,
  type Span,
  SpanKind,
  type Tracer,
} from '@opentelemetry/api';
import {
  type CallContext,
  ServerError,
  type ServerMiddleware,
  type ServerMiddlewareCall,
  Status,
} from 'nice-grpc-common';
import { type AdmissionOptions, admit, anonymousCall, TIMEOUT } from './admission.ts';
import { answeredOnce, answerOf } from './answered-once.ts';
import type { Rule } from './authorization.ts';
import { type CallFields, CallMetadata, EVENTS_TRAILER, isService, runAsCall } from './call.ts';
import { type CallTimer, serverStopping, startTimer } from './call-timer.ts';
import { type CallsByCaller, callsByCaller } from './calls-by-caller.ts';
import { DETAILS_TRAILER, isInternal, statusName, toWire } from './errors.ts';
import { checkedRequests } from './request-values.ts';
import { attributesOfCall, clientAttributes, RpcAttribute, serverAttributes } from './rpc-attributes.ts';

/** Longest time that a service works on a call, in milliseconds: a caller that prefers waiting to failing waits as long. */
export const CALL_MAX_MS = 30_000;

/** Options of the pipeline of every call to a server, independent of the transport. */
export interface PipelineOptions extends AdmissionOptions {
  readonly clock: Clock;
  readonly tracer: Tracer;
  /** Measures calls as `rpc.server.call.duration`; default: nothing is measured. */
  readonly meter?: Meter;
  readonly log: Logger;
  /** Address of the caller, from the metadata of the call; default: that of the connection. @throws Rejection to refuse the call */
  readonly peerOf?: (context: Pick<CallContext, 'metadata' | 'peer'>) => string;
  /** Longest time of a call; also the deadline of a call without one. Default 30,000 ms. */
  readonly deadlineMaxMs?: number;
  /** The same for methods with a response stream: a watch may last. Default 3,600,000 ms. */
  readonly streamDeadlineMaxMs?: number;
}

/** The same, with the address of the server: `host:port`, or its name in the same process. */
export interface ServedOptions extends PipelineOptions {
  readonly address: string;
}

/**
 * The server's side of a call: span, deadline, translation of errors, authentication, authorisation, handler.
 *
 * One middleware and not a chain, because each link of a chain would be another generator for each message of a stream. It passes
 * messages on unread. A call with one response goes through no generator.
 *
 * @param rules path → who may call it; a path without a rule is refused
 * @param stopping aborted when streams must end because the server stops
 */
export function serverPipeline(
  options: ServedOptions,
  rules: ReadonlyMap<string, Rule<unknown>>,
  stopping: AbortSignal,
): ServerMiddleware<CallFields> {
  const duration = (options.meter ?? createNoopMeter()).createHistogram('rpc.server.call.duration', {
    unit: 's',
    description: 'How long calls took, streams included',
    advice: { explicitBucketBoundaries: [...DURATION_BUCKETS_S] },
  });
  const parts = { options, rules, stopping, duration, callers: callsByCaller() };
  return (call, context) =>
    call.responseStream ? streamed(parts, call, context) : answeredOnce(() => answered(parts, call, context));
}

/** State that the calls of one server share. */
interface Parts {
  readonly options: ServedOptions;
  readonly rules: ReadonlyMap<string, Rule<unknown>>;
  readonly stopping: AbortSignal;
  readonly duration: Histogram;
  readonly callers: CallsByCaller;
}

type ServerCall<Request, Response> = ServerMiddlewareCall<Request, Response, CallFields>;

/** A call with one response. */
async function answered<Request, Response>(
  parts: Parts,
  call: ServerCall<Request, Response> & { readonly responseStream: false },
  context: CallContext,
): Promise<Response> {
  const serving = new Serving(parts, call, context);
  const { timer } = serving;
  const admitAndHandle = async (): Promise<Response> => {
    const fields = await serving.admitted();
    // The caller no longer waits, so the handler does not run.
    if (timer.ended() === 'deadline') throw deadlineExceeded();
    const answers = call.next(requestOf(call), new HandlerCall(context, fields, timer, parts.options.peerOf));
    return await runAsCall(fields, () => answerOf(answers));
  };
  try {
    const answer = await timer.race(serving.inSpan(admitAndHandle), deadlineExceeded);
    serving.succeeded();
    return answer;
  } catch (error) {
    throw serving.failure(error);
  } finally {
    timer.stop();
    serving.end();
  }
}

/** A call with a stream of responses. */
async function* streamed<Request, Response>(
  parts: Parts,
  call: ServerCall<Request, Response> & { readonly responseStream: true },
  context: CallContext,
): AsyncGenerator<Awaited<Response>, void, undefined> {
  const serving = new Serving(parts, call, context);
  const { timer } = serving;
  let unfinished: { return(): Promise<unknown> } | undefined;
  try {
    const fields = await timer.race(
      serving.inSpan(() => serving.admitted()),
      deadlineExceeded,
    );
    const inCall = <Result>(fn: () => Result): Result => serving.inSpan(() => runAsCall(fields, fn));
    const answers = call.next(requestOf(call), new HandlerCall(context, fields, timer, parts.options.peerOf));
    unfinished = { return: () => inCall(() => answers.return()) };
    for (;;) {
      const answer = await inCall(() => answers.next());
      if (answer.done === true) break;
      yield answer.value;
    }
    unfinished = undefined;
    if (timer.ended() !== undefined) throw new Error('the stream was ended from outside');
    serving.succeeded();
  } catch (error) {
    throw serving.failure(error);
  } finally {
    timer.stop();
    // If the caller left between two messages, the handler's own `finally` must run.
    await unfinished?.return();
    serving.end();
  }
}

/** The request for the handler. `admit` has checked a single one; those of a stream are checked as they are read. */
const requestOf = <Request, Response>(call: ServerCall<Request, Response>) =>
  call.requestStream ? checkedRequests(call.method.path, call.request) : call.request;

/** One call that is being served: its span, its timer, and the translation of its errors. */
class Serving {
  readonly timer: CallTimer;
  readonly #options: ServedOptions;
  readonly #rule: Rule<unknown> | undefined;
  readonly #call: { readonly method: { readonly path: string }; readonly request: unknown };
  readonly #context: CallContext;
  readonly #span: Span;
  readonly #spanContext: Context;
  readonly #duration: Histogram;
  readonly #startedMs: number;
  readonly #callers: CallsByCaller;
  #left: (() => void) | undefined;
  #fields: CallFields | undefined;
  /** The initial value is for a caller that leaves between two messages of a stream. */
  #status = 'CANCELLED';
  /** Whether the server is at fault. */
  #hasFailed = false;

  constructor(parts: Parts, call: ServerCall<unknown, unknown>, context: CallContext) {
    const { options, rules, stopping, duration } = parts;
    const { tracer, clock, deadlineMaxMs = CALL_MAX_MS, streamDeadlineMaxMs = 3_600_000 } = options;
    const method = call.method.path.slice(1);
    const { span, spanContext } = openSpan(tracer, method, {
      kind: SpanKind.SERVER,
      attributes: attributesOfCall(method, { ...serverAttributes(options.address), ...clientAttributes(context.peer) }),
      parent: parentOf(context.metadata),
    });
    const timeoutMs = wantedTimeoutMs(context, call.responseStream ? streamDeadlineMaxMs : deadlineMaxMs);
    this.timer = startTimer(clock, timeoutMs, context.signal, call.responseStream ? stopping : undefined);
    this.#options = options;
    this.#rule = rules.get(call.method.path);
    this.#call = call;
    this.#context = context;
    this.#span = span;
    this.#spanContext = spanContext;
    this.#duration = duration;
    this.#startedMs = clock.monotonicMs();
    this.#callers = parts.callers;
  }

  inSpan<Result>(fn: () => Result): Result {
    return otel.with(this.#spanContext, fn);
  }

  /** The authenticated and authorized call. Run it in the span. @throws Rejection, see `admit` and `CallsByCaller` */
  async admitted(): Promise<CallFields> {
    const anonymous = anonymousCall(this.#options, this.#context, this.#span, this.timer);
    const fields = await runAsCall(anonymous, () =>
      admit(this.#options, this.#rule, this.#call, this.#context, anonymous),
    );
    this.#fields = fields;
    this.#left = this.#callers.enter(fields.caller);
    this.#span.setAttribute(DomainAttribute.caller, fields.caller.name);
    this.#span.setAttribute(DomainAttribute.correlationId, fields.cause.correlationId);
    return fields;
  }

  succeeded(): void {
    this.#status = 'OK';
  }

  /** The error for the caller; internal causes are logged. */
  failure(error: unknown): ServerError {
    const answer = this.#translated(error);
    this.#status = statusName(answer.code);
    return answer;
  }

  /** The error as the caller sees it, with its details in the trailer. Internal causes go to the log only. */
  #translated(thrown: unknown): ServerError {
    const error = outcome(thrown, this.timer);
    if (error instanceof Rejection) this.#span.setAttribute(DomainAttribute.rejectionReason, error.reason);
    const answer = error instanceof ServerError ? error : this.#answerFor(error);
    if (SERVER_FAULTS.includes(answer.code)) {
      this.#hasFailed = true;
      failSpan(this.#span, error);
      this.#span.setAttribute(RpcAttribute.error, statusName(answer.code));
    }
    if (!(error instanceof ServerError) && isInternal(error))
      this.inSpan(() => this.#options.log.error('request failed', { rpc: this.#method, error }));
    return answer;
  }

  #answerFor(error: unknown): ServerError {
    const spanContext = this.#span.spanContext();
    const traceId = traceparentOf(spanContext) === undefined ? undefined : spanContext.traceId;
    const wire = toWire(error, traceId, requestedName(this.#call.request));
    this.#context.trailer.set(DETAILS_TRAILER, wire.details);
    return new ServerError(wire.code, wire.message);
  }

  end(): void {
    this.#left?.();
    this.#reportEvents();
    this.#span.setAttribute(RpcAttribute.status, this.#status);
    const seconds = (this.#options.clock.monotonicMs() - this.#startedMs) / 1_000;
    const outcome = this.#hasFailed
      ? { [RpcAttribute.status]: this.#status, [RpcAttribute.error]: this.#status }
      : { [RpcAttribute.status]: this.#status };
    this.#duration.record(seconds, attributesOfCall(this.#method, outcome));
    this.#span.end();
  }

  /** Names the events that the handler appended, as far as they fit, to a caller whose own next event follows from them. */
  #reportEvents(): void {
    const fields = this.#fields;
    if (this.#status !== 'OK' || fields?.cause.tracker === undefined || !isService(fields.caller)) return;
    const ids = fields.cause.tracker.appended();
    const events = [ids.map(writeEvent), ids]
      .map((all) => all.join(','))
      .find(({ length }) => length <= EVENTS_LENGTH_MAX);
    if (events) this.#context.trailer.set(EVENTS_TRAILER, events);
  }

  /** `package.Service/Method`. */
  get #method(): string {
    return this.#call.method.path.slice(1);
  }
}

/**
 * The context of a handler. Its signal is created when it is first read, which most handlers never do. A class, because
 * creating an object literal with a getter for each call costs more than the signal.
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

  constructor(context: CallContext, fields: CallFields, timer: CallTimer, peerOf: PipelineOptions['peerOf']) {
    this.metadata = context.metadata;
    this.peer = peerOf === undefined ? context.peer : peerOf(context);
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

/** Longest list of events in a trailer; HTTP/2 peers take 8 KiB of headers at least. Batches name events in their outcomes. */
const EVENTS_LENGTH_MAX = 4_096;

const deadlineExceeded = (): ServerError =>
  new ServerError(Status.DEADLINE_EXCEEDED, 'the deadline passed before the answer was ready');

/** The trace and the baggage of the caller. */
const parentOf = (metadata: CallContext['metadata']): Context => {
  const parent = contextFromTraceparent(metadata.get(CallMetadata.traceparent), metadata.get(CallMetadata.tracestate));
  return withBaggage(parent, metadata.get(CallMetadata.baggage));
};

/** The caller's own deadline, but never longer than ours. */
function wantedTimeoutMs(context: CallContext, longestMs: number): number {
  const wanted = context.metadata.get(CallMetadata.timeoutMs);
  return wanted !== undefined && TIMEOUT.test(wanted) ? Math.min(Number(wanted), longestMs) : longestMs;
}

/** Codes of a failure of the server. Others are refusals and do not fail the span, as the conventions require. */
const SERVER_FAULTS: readonly Status[] = [
  Status.UNKNOWN,
  Status.DEADLINE_EXCEEDED,
  Status.UNIMPLEMENTED,
  Status.INTERNAL,
  Status.UNAVAILABLE,
  Status.DATA_LOSS,
];

/** The resource that a request names, including one to be created in a vault. */
function requestedName(request: unknown): string | undefined {
  const { name, vaultId, parent, keyId } = Object(request);
  if (typeof name === 'string' && name !== '') return name;
  if (typeof vaultId === 'string') return `vaults/${vaultId}`;
  return typeof parent === 'string' && typeof keyId === 'string' ? `${parent}/keys/${keyId}` : undefined;
}

/** The error of a call: if it was ended from outside, the reason for that, whatever its handler threw. */
function outcome(thrown: unknown, timer: CallTimer): unknown {
  if (thrown instanceof Rejection) return thrown;
  if (timer.ended() === 'deadline') return deadlineExceeded();
  if (timer.ended() === 'stopping') return serverStopping();
  if (timer.ended() === 'cancelled') return new ServerError(Status.CANCELLED, 'the caller cancelled the call');
  return thrown;
}
