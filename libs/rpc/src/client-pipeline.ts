import { Rejection } from '@interlock/event-store';
import { type Clock, DomainAttribute, failSpan, openSpan, type Random, traceparentOf } from '@interlock/runtime';
import { context as otel, SpanKind, type Tracer } from '@opentelemetry/api';
import {
  ClientError,
  type ClientMiddleware,
  Metadata,
  type MethodDescriptor,
  type CallOptions as NiceCallOptions,
  Status,
} from 'nice-grpc-common';
import { CallMetadata, currentCall } from './call.ts';
import { type CallTimer, startTimer } from './call-timer.ts';
import { DETAILS_TRAILER, fromWire, RETRY_AFTER_MS, RpcFailure } from './errors.ts';
import { RpcAttribute } from './rpc-attributes.ts';
import type { TokenSource } from './token-source.ts';

/** What a single call may set, beside nice-grpc's `signal` and `metadata`. */
export interface CallOptions {
  /** How long to wait for the whole answer, retries included. */
  deadlineMs?: number;
  /** A bearer token for this call in place of the client's own: to act with somebody else's authority. */
  token?: string;
  /** Correlation id of the work this call belongs to; by default that of the running call, else the server makes one. */
  correlationId?: string;
}

/** How often and how fast a call is repeated. */
export interface RetryPolicy {
  /** Tries in all, the first included. */
  readonly attemptsMax: number;
  /** The wait before the second try; it doubles with each further one. Milliseconds. */
  readonly backoffMs: number;
  readonly backoffMsMax: number;
}

export interface ClientPipelineOptions {
  readonly peer: string;
  readonly clock: Clock;
  readonly random: Pick<Random, 'fraction'>;
  readonly tracer: Tracer;
  /** Where tokens come from; `undefined` for methods that are public. */
  readonly credentials: TokenSource | undefined;
  /** Audience of the service that is called, for example `interlock:key-vault`. */
  readonly audience: string;
  /** Deadline of a call that sets none, streams included: a watch sets its own. Default 10,000 ms. */
  readonly defaultDeadlineMs?: number;
  readonly retry?: RetryPolicy;
}

const RETRY_DEFAULT: RetryPolicy = { attemptsMax: 4, backoffMs: 50, backoffMsMax: 1_000 };

/** Streams too: a watch says how long it wants to last. */
const DEADLINE_DEFAULT_MS = 10_000;

/**
 * The client's side of a call: span, correlation, token, deadline, retries, errors. One middleware, which hands the
 * messages of streams on without looking at them.
 *
 * Repeated is only what its definition marks as idempotent (or without side effects), only on UNAVAILABLE (AIP-194),
 * only within the deadline, and never a call that sends a stream or has begun to receive one.
 */
export function clientPipeline(options: ClientPipelineOptions): ClientMiddleware<CallOptions> {
  const { peer, clock, tracer, defaultDeadlineMs = DEADLINE_DEFAULT_MS, retry = RETRY_DEFAULT } = options;

  return async function* pipeline(call, callOptions) {
    const method = call.method.path.slice(1);
    const { span, spanContext } = openSpan(tracer, method, {
      kind: SpanKind.CLIENT,
      attributes: {
        [RpcAttribute.system]: 'grpc',
        [RpcAttribute.method]: method,
        [RpcAttribute.serverAddress]: peer,
      },
    });
    const timer = startTimer(clock, timeoutMs(callOptions, defaultDeadlineMs), callOptions.signal);
    const traceparent = traceparentOf(span.spanContext());
    let token: string | undefined;
    let begun = false;
    try {
      for (let attempt = 1; ; attempt++) {
        let details: Uint8Array | undefined;
        try {
          token = callOptions.token ?? (await options.credentials?.token(options.audience));
          const attemptOptions = {
            ...callOptions,
            metadata: metadataFor(callOptions, timer, traceparent, token),
            signal: timer.signal,
            onTrailer: (trailer: Metadata) => {
              details = trailer.get(DETAILS_TRAILER);
              callOptions.onTrailer?.(trailer);
            },
          };
          if (!call.responseStream) {
            const answers = call.next(call.request, attemptOptions);
            const answer = await otel.with(spanContext, () => answers.next());
            span.setAttribute(RpcAttribute.status, 'OK');
            return answer.value;
          }
          for await (const message of call.next(call.request, attemptOptions)) {
            begun = true;
            yield message;
          }
          span.setAttribute(RpcAttribute.status, 'OK');
          return;
        } catch (thrown) {
          const error = received(thrown, details, timer, method, peer);
          const waitMs = begun ? undefined : waitBeforeRetry(error, call.method, attempt, retry, options.random);
          if (waitMs === undefined || waitMs >= timer.remainingMs()) throw error;
          span.addEvent('retry', { attempt, waitMs, code: error instanceof Rejection ? error.code : 'UNAVAILABLE' });
          await clock.sleep(waitMs, timer.signal);
        }
      }
    } catch (error) {
      if (
        error instanceof Rejection &&
        error.code === 'UNAUTHENTICATED' &&
        token !== undefined &&
        callOptions.token === undefined
      ) {
        options.credentials?.refused(options.audience, token);
      }
      if (error instanceof Rejection) span.setAttribute(DomainAttribute.rejectionReason, error.reason);
      if (error instanceof Rejection || error instanceof RpcFailure) span.setAttribute(RpcAttribute.status, error.code);
      failSpan(span, error);
      throw error;
    } finally {
      timer.stop();
      span.end();
    }
  };
}

/** A call made while serving another waits no longer than the caller of that one does. */
function timeoutMs(callOptions: CallOptions, defaultDeadlineMs: number): number {
  const wanted = callOptions.deadlineMs ?? defaultDeadlineMs;
  const inherited = currentCall()?.remainingMs() ?? wanted;
  return Math.max(0, Math.min(wanted, inherited));
}

function metadataFor(
  callOptions: NiceCallOptions & CallOptions,
  timer: CallTimer,
  traceparent: string | undefined,
  token: string | undefined,
): Metadata {
  const metadata = Metadata(callOptions.metadata);
  const correlationId = callOptions.correlationId ?? currentCall()?.cause.correlationId;
  if (correlationId !== undefined) metadata.set(CallMetadata.correlationId, correlationId);
  if (traceparent !== undefined) metadata.set(CallMetadata.traceparent, traceparent);
  if (token !== undefined) metadata.set(CallMetadata.authorization, `Bearer ${token}`);
  metadata.set(CallMetadata.timeoutMs, String(Math.max(0, Math.ceil(timer.remainingMs()))));
  return metadata;
}

/** What the caller gets for what went wrong below: our own errors stay, a status becomes one, an abort says why. */
function received(
  thrown: unknown,
  details: Uint8Array | undefined,
  timer: CallTimer,
  method: string,
  peer: string,
): unknown {
  if (thrown instanceof ClientError) return fromWire(thrown.code, thrown.details, details, { method, peer });
  if (timer.ended() === 'deadline') {
    return fromWire(Status.DEADLINE_EXCEEDED, 'no answer before the deadline', undefined, { method, peer });
  }
  if (timer.ended() === 'cancelled') {
    return fromWire(Status.CANCELLED, 'the call was cancelled here', undefined, { method, peer });
  }
  return thrown;
}

/** Milliseconds to wait before the next try, with full jitter on the upper half; `undefined` for an error that stays. */
function waitBeforeRetry(
  error: unknown,
  method: MethodDescriptor,
  attempt: number,
  { attemptsMax, backoffMs, backoffMsMax }: RetryPolicy,
  random: Pick<Random, 'fraction'>,
): number | undefined {
  if (method.options.idempotencyLevel === undefined || method.requestStream || attempt >= attemptsMax) return undefined;
  if (!((error instanceof RpcFailure || error instanceof Rejection) && error.code === 'UNAVAILABLE')) return undefined;
  const backoff = Math.min(backoffMsMax, backoffMs * 2 ** (attempt - 1)) * (0.5 + random.fraction() / 2);
  const asked = error instanceof Rejection ? Number(error.metadata[RETRY_AFTER_MS] ?? 0) : 0;
  return Math.max(backoff, Number.isFinite(asked) ? asked : 0);
}
