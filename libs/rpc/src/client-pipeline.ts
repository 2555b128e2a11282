import { type Cause, callingEvent, Rejection, readEvent, writeEvent } from '@interlock/event-store';
import {
  baggageOf,
  type Clock,
  DomainAttribute,
  failSpan,
  openSpan,
  type Random,
  traceparentOf,
} from '@interlock/runtime';
import { type Context, context as otel, type Span, type SpanContext, SpanKind, type Tracer } from '@opentelemetry/api';
import {
  ClientError,
  type ClientMiddleware,
  type ClientMiddlewareCall,
  type Metadata,
  type MethodDescriptor,
  type CallOptions as NiceCallOptions,
  Status,
} from 'nice-grpc-common';
import { answeredOnce, answerOf } from './answered-once.ts';
import { CallMetadata, currentCall, EVENTS_TRAILER } from './call.ts';
import { CallEntries } from './call-entries.ts';
import { type CallTimer, startTimer } from './call-timer.ts';
import { DETAILS_TRAILER, fromWire, RETRY_AFTER_MS } from './errors.ts';
import { attributesOfCall, RpcAttribute, serverAttributes } from './rpc-attributes.ts';
import { RpcFailure } from './rpc-failure.ts';
import type { TokenSource } from './token-source.ts';

/** Options of a single call, in addition to nice-grpc's `signal` and `metadata`. */
export interface CallOptions {
  /** How long to wait for the whole response, retries included. */
  deadlineMs?: number;
  /** A bearer token for this call in place of the client's own: to act with the authority of another principal. */
  token?: string;
  /**
   * Why the call is made: its correlation id and its event are passed on, and its tracker receives the events that the call caused.
   * By default that of the running call; without one the server creates a correlation id.
   */
  cause?: CallCause | undefined;
}

/** As much of a cause as a call needs: a caller outside of our services has only a correlation id. */
export type CallCause = Pick<Cause, 'correlationId'> & Partial<Cause>;

/** How often and how fast a call is retried. */
export interface RetryPolicy {
  /** Tries in all, the first included. */
  readonly attemptsMax: number;
  /** Pause before the second try, in milliseconds; it doubles with each further one. */
  readonly backoffMs: number;
  readonly backoffMsMax: number;
  /**
   * Whether an unreachable server is retried until the deadline, without a limit of tries. For a caller that has time, such as a
   * CLI: while a pod is replaced, nothing responds for 7 to 13 s. Default false: a service reports soon that another one is
   * unreachable.
   */
  readonly unreachableUntilDeadline?: boolean;
}

/** Retries of a caller that prefers waiting to failing. */
export const PATIENT_RETRY: RetryPolicy = {
  attemptsMax: 4,
  backoffMs: 50,
  backoffMsMax: 1_000,
  unreachableUntilDeadline: true,
};

export interface ClientPipelineOptions {
  readonly peer: string;
  readonly clock: Clock;
  readonly random: Pick<Random, 'fraction'>;
  readonly tracer: Tracer;
  /** Source of tokens; `undefined` if only public methods are called. */
  readonly credentials: TokenSource | undefined;
  /** Audience of the service that is called, for example `interlock:key-vault`. */
  readonly audience: string;
  /** Deadline of a call without its own, streams included: a watch sets its own. Default 10,000 ms. */
  readonly defaultDeadlineMs?: number;
  readonly retry?: RetryPolicy;
}

const RETRY_DEFAULT: RetryPolicy = { attemptsMax: 4, backoffMs: 50, backoffMsMax: 1_000 };

/** For streams too: a watch sets its own deadline. */
const DEADLINE_DEFAULT_MS = 10_000;

/**
 * The client's side of a call: span, correlation, token, deadline, retries, errors. One middleware, which passes the messages of
 * streams on unread.
 *
 * A call is retried only if its definition marks it as idempotent (or without side effects), only on UNAVAILABLE (AIP-194) and
 * within the deadline. A call that sends a stream, or has received a message of one, is never retried.
 */
export function clientPipeline(options: ClientPipelineOptions): ClientMiddleware<CallOptions> {
  return (call, callOptions) =>
    call.responseStream
      ? streamed(options, call, callOptions)
      : answeredOnce(() => answered(options, call, callOptions));
}

type Call<Request, Response> = ClientMiddlewareCall<Request, Response>;

/** A call with one response. */
async function answered<Request, Response>(
  options: ClientPipelineOptions,
  call: Call<Request, Response> & { readonly responseStream: false },
  callOptions: NiceCallOptions & CallOptions,
): Promise<Response> {
  const tries = new Tries(options, call.method, callOptions);
  try {
    for (;;) {
      try {
        const token = tries.token();
        const answers = call.next(call.request, tries.begin(token instanceof Promise ? await token : token));
        const answer = await otel.with(tries.spanContext, () => answerOf(answers));
        tries.succeeded();
        return answer;
      } catch (error) {
        await tries.failed(error, false);
      }
    }
  } catch (error) {
    tries.gaveUp(error);
    throw error;
  } finally {
    tries.end();
  }
}

/** A call with a stream of responses. */
async function* streamed<Request, Response>(
  options: ClientPipelineOptions,
  call: Call<Request, Response> & { readonly responseStream: true },
  callOptions: NiceCallOptions & CallOptions,
): AsyncGenerator<Awaited<Response>, void, undefined> {
  const tries = new Tries(options, call.method, callOptions);
  let hasReceived = false;
  try {
    for (;;) {
      try {
        for await (const message of call.next(call.request, tries.begin(await tries.token()))) {
          hasReceived = true;
          yield message;
        }
        tries.succeeded();
        return;
      } catch (error) {
        await tries.failed(error, hasReceived);
      }
    }
  } catch (error) {
    tries.gaveUp(error);
    throw error;
  } finally {
    tries.end();
  }
}

/** One call with all its tries: span, timer, token, and translation of errors. */
class Tries {
  readonly spanContext: Context;
  readonly #options: ClientPipelineOptions;
  readonly #descriptor: MethodDescriptor;
  readonly #callOptions: NiceCallOptions & CallOptions;
  readonly #method: string;
  readonly #span: Span;
  readonly #trace: SpanContext;
  readonly #timer: CallTimer;
  #attempt = 0;
  #token: string | undefined;
  #details: Uint8Array | undefined;
  readonly #cause: CallCause | undefined;
  /** Error of the previous try. */
  #before: Tried;
  /** The initial value is for a caller that stops reading a stream between two messages. */
  #status = 'CANCELLED';

  constructor(options: ClientPipelineOptions, method: MethodDescriptor, callOptions: NiceCallOptions & CallOptions) {
    const { peer, clock, tracer, defaultDeadlineMs = DEADLINE_DEFAULT_MS } = options;
    this.#options = options;
    this.#descriptor = method;
    this.#callOptions = callOptions;
    this.#method = method.path.slice(1);
    const { span, spanContext } = openSpan(tracer, this.#method, {
      kind: SpanKind.CLIENT,
      attributes: attributesOfCall(this.#method, serverAttributes(peer)),
    });
    this.#span = span;
    this.spanContext = spanContext;
    this.#trace = span.spanContext();
    this.#cause = callOptions.cause ?? currentCall()?.cause;
    this.#timer = startTimer(clock, timeoutMs(callOptions, defaultDeadlineMs), callOptions.signal);
  }

  /** The token of the next try, usually without a promise. @throws the error of the token source; an error at the deadline */
  token(): Promise<string> | string | undefined {
    const { audience, credentials } = this.#options;
    this.#attempt += 1;
    this.#details = undefined;
    const token = this.#callOptions.token ?? credentials?.token(audience);
    if (!(token instanceof Promise)) return token;
    const { path } = this.#descriptor;
    return this.#timer.race(
      token,
      () => new ClientError(path, Status.DEADLINE_EXCEEDED, 'no token before the deadline'),
    );
  }

  /** Starts a try. @returns its options for nice-grpc */
  begin(token: string | undefined): NiceCallOptions & CallOptions {
    const callOptions = this.#callOptions;
    this.#token = token;
    return {
      ...callOptions,
      metadata: metadataFor(callOptions, this.#cause, this.#timer, this.#trace, token),
      signal: this.#timer.signal,
      onTrailer: (trailer: Metadata) => {
        this.#details = trailer.get(DETAILS_TRAILER);
        const events = trailer.get(EVENTS_TRAILER);
        if (events !== undefined) this.#cause?.tracker?.answered(events.split(',').map(readEvent));
        callOptions.onTrailer?.(trailer);
      },
    };
  }

  succeeded(): void {
    this.#status = 'OK';
  }

  /** Waits until the next try. @param hasReceived whether messages were already received @throws the error for the caller if there is no next try */
  async failed(thrown: unknown, hasReceived: boolean): Promise<void> {
    const { peer, clock, random, retry = RETRY_DEFAULT } = this.#options;
    const call = { method: this.#method, peer, before: this.#before };
    const error = received(thrown, this.#details, this.#timer, call);
    const attempt = this.#attempt;
    const waitMs = hasReceived ? undefined : waitBeforeRetry(error, this.#descriptor, attempt, retry, random);
    if (waitMs === undefined || waitMs >= this.#timer.remainingMs()) throw error;
    const code = error instanceof Rejection ? error.code : 'UNAVAILABLE';
    this.#span.addEvent('retry', { attempt, waitMs, code });
    if (error instanceof Rejection || error instanceof RpcFailure) this.#before = error;
    await clock.sleep(waitMs, this.#timer.signal);
    // Without this, tries at an unreachable peer would follow each other without a pause until the deadline.
    if (this.#timer.ended() === 'cancelled') throw cancelledHere(call);
  }

  /** Notes the error that the caller receives. */
  gaveUp(error: unknown): void {
    const { audience, credentials } = this.#options;
    const isOwnToken = this.#token !== undefined && this.#callOptions.token === undefined;
    if (error instanceof Rejection && error.code === 'UNAUTHENTICATED' && isOwnToken) {
      credentials?.refused(audience, this.#token ?? '');
    }
    if (error instanceof Rejection) this.#span.setAttribute(DomainAttribute.rejectionReason, error.reason);
    const hasStatus = error instanceof Rejection || error instanceof RpcFailure;
    this.#status = hasStatus ? error.code : 'UNKNOWN';
    failSpan(this.#span, error);
    if (hasStatus) this.#span.setAttribute(RpcAttribute.error, error.code);
  }

  end(): void {
    this.#timer.stop();
    this.#span.setAttribute(RpcAttribute.status, this.#status);
    this.#span.end();
  }
}

/** A call made while serving another has at most the remaining time of that one. */
function timeoutMs(callOptions: CallOptions, defaultDeadlineMs: number): number {
  const wanted = callOptions.deadlineMs ?? defaultDeadlineMs;
  const inherited = currentCall()?.remainingMs() ?? wanted;
  return Math.max(0, Math.min(wanted, inherited));
}

function metadataFor(
  callOptions: NiceCallOptions & CallOptions,
  cause: CallCause | undefined,
  timer: CallTimer,
  trace: SpanContext,
  token: string | undefined,
): Metadata {
  const metadata = new CallEntries(callOptions.metadata);
  if (cause !== undefined) {
    const event = callingEvent(cause);
    metadata.put(CallMetadata.correlationId, cause.correlationId);
    if (event !== undefined) metadata.put(CallMetadata.cause, writeEvent(event));
  }
  const traceparent = traceparentOf(trace);
  if (traceparent !== undefined) metadata.put(CallMetadata.traceparent, traceparent);
  if (trace.traceState !== undefined) metadata.put(CallMetadata.tracestate, trace.traceState.serialize());
  const baggage = baggageOf(otel.active());
  if (baggage !== undefined) metadata.put(CallMetadata.baggage, baggage);
  if (token !== undefined) metadata.put(CallMetadata.authorization, `Bearer ${token}`);
  metadata.put(CallMetadata.timeoutMs, String(Math.max(0, Math.ceil(timer.remainingMs()))));
  return metadata;
}

/** The error for the caller: our own errors stay, a status becomes one of them, an abort becomes its reason. */
function received(
  thrown: unknown,
  details: Uint8Array | undefined,
  timer: CallTimer,
  { before, ...call }: { readonly method: string; readonly peer: string; readonly before: Tried },
): unknown {
  const isLate =
    thrown instanceof ClientError ? thrown.code === Status.DEADLINE_EXCEEDED : timer.ended() === 'deadline';
  if (isLate && before !== undefined) {
    // The error of the earlier try says more than the passed deadline.
    const message = `no answer before the deadline; the try before it: ${wordsOf(before)}`;
    return fromWire(Status.DEADLINE_EXCEEDED, message, undefined, { ...call, cause: before });
  }
  if (thrown instanceof ClientError) return fromWire(thrown.code, thrown.details, details, call);
  if (isLate) return fromWire(Status.DEADLINE_EXCEEDED, 'no answer before the deadline', undefined, call);
  if (timer.ended() === 'cancelled') {
    return cancelledHere(call);
  }
  return thrown;
}

const cancelledHere = (call: { readonly method: string; readonly peer: string }): unknown =>
  fromWire(Status.CANCELLED, 'the call was cancelled here', undefined, call);

/** Error of a try; undefined before the first. */
type Tried = Rejection | RpcFailure | undefined;

const wordsOf = (error: Rejection | RpcFailure): string =>
  error instanceof Rejection ? `${error.code} ${error.reason}: ${error.message}` : error.message;

/** Milliseconds until the next try, the upper half of them random; `undefined` if there is no next try. */
function waitBeforeRetry(
  error: unknown,
  method: MethodDescriptor,
  attempt: number,
  { attemptsMax, backoffMs, backoffMsMax, unreachableUntilDeadline = false }: RetryPolicy,
  random: Pick<Random, 'fraction'>,
): number | undefined {
  if (method.options.idempotencyLevel === undefined || method.requestStream) return undefined;
  // A Rejection is a response, so the server that sent it is reachable.
  const isUnreachable = error instanceof RpcFailure && error.code === 'UNAVAILABLE';
  if (attempt >= attemptsMax && !(isUnreachable && unreachableUntilDeadline)) return undefined;
  if (!((error instanceof RpcFailure || error instanceof Rejection) && error.code === 'UNAVAILABLE')) return undefined;
  const backoff = Math.min(backoffMsMax, backoffMs * 2 ** Math.min(attempt - 1, 30)) * (0.5 + random.fraction() / 2);
  const asked = error instanceof Rejection ? Number(error.metadata[RETRY_AFTER_MS] ?? 0) : 0;
  return Math.max(backoff, Number.isFinite(asked) ? asked : 0);
}
