import { type Cause, callingEvent, readEvent, writeEvent } from '@interlock/event-store';
import { type Clock, currentTraceparent, inSpan, linkTo } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { ItemOrigin } from './batch-item.ts';
import { currentCall, outsideOfCalls, resumption } from './call.ts';

/** A request that waits to be sent, and the work it belongs to, as in `interlock.access.v1.ItemOrigin`. */
export interface BatchItem<Request> {
  readonly request: Request;
  readonly origin: ItemOrigin;
}

/** The outcome of one request. */
export type BatchOutcome<Answer> =
  /** `events`: those that the called service appended for the request, in the form of `writeEvent`. */
  { readonly answer: Answer; readonly events?: readonly string[] } | { readonly error: unknown };

/**
 * Sends requests together and returns their outcomes in the same order. If it throws, all requests fail with that error.
 * @param within how long the call may take, if the running call does not limit it
 */
export type SendBatch<Request, Answer> = (
  items: readonly BatchItem<Request>[],
  within: { readonly deadlineMs?: number },
) => Promise<readonly BatchOutcome<Answer>[]>;

/**
 * Sends one request, alone or with others.
 * @param cause of the work that the request belongs to; by default that of the running call
 */
export type Batching<Request, Answer> = (request: Request, cause?: Cause) => Promise<Answer>;

interface Waiting<Request, Answer> extends BatchItem<Request> {
  /** Runs a function with the trace and the deadline of the caller. */
  readonly asCaller: <Result>(fn: () => Result) => Result;
  /** Milliseconds until the caller's deadline. */
  readonly remainingMs: () => number;
  readonly cause: Cause | undefined;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (cause: unknown) => void;
}

/** Most calls in flight; further requests wait. Two, so that the other side never waits for us. */
const underWayMax = 2;
/** Requests wait at most this long for a call to end, so that a lost call does not block the queue. */
const lingerMs = 20;

/**
 * Batches requests that arrive in one turn of the event loop and, under load, while earlier calls are in flight.
 * A single request is sent at once, as part of its caller. A batch of several runs outside of any call, with a link to each
 * trace. It has the longest deadline of its requests: a short deadline does not cancel the others, and all of them
 * receive the reason of a failure (a vault that is too busy) before they time out.
 * @param name span name of a batch of several requests
 */
export const openBatching = <Request, Answer>(parts: {
  readonly name: string;
  readonly sizeMax: number;
  readonly send: SendBatch<Request, Answer>;
  readonly clock: Pick<Clock, 'alarm'>;
  readonly tracer: Tracer;
  /** Called when no request waits and no call is in flight. */
  readonly onIdle?: () => void;
}): Batching<Request, Answer> => {
  const { name, sizeMax, send, clock, tracer, onIdle } = parts;
  const waiting: Waiting<Request, Answer>[] = [];
  let underWay = 0;
  let isPlanned = false;
  let patience: { cancel(): void } | undefined;

  const sendApart = (batch: readonly Waiting<Request, Answer>[]) => {
    const links = batch.slice(0, linksMax).flatMap(({ origin }) => linkTo(origin.traceparent) ?? []);
    const longestMs = Math.max(...batch.map(({ remainingMs }) => remainingMs()));
    const within = Number.isFinite(longestMs) ? { deadlineMs: longestMs } : {};
    return outsideOfCalls(() => inSpan(tracer, name, { links }, () => send(batch, within)));
  };

  const settle = async (batch: readonly Waiting<Request, Answer>[]): Promise<void> => {
    underWay += 1;
    const [first] = batch;
    try {
      const outcomes = await (first && batch.length === 1 ? first.asCaller(() => send(batch, {})) : sendApart(batch));
      for (const [n, { cause, resolve, reject }] of batch.entries()) {
        const outcome = outcomes[n];
        if (outcome && 'answer' in outcome) {
          if (outcome.events !== undefined) cause?.tracker?.answered(outcome.events.map(readEvent));
          resolve(outcome.answer);
        } else
          reject(outcome ? outcome.error : new Error(`a batch of ${batch.length} returned no outcome number ${n}`));
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    underWay -= 1;
    if (waiting.length > 0) sendWaiting();
    else if (underWay === 0) onIdle?.();
  };

  const sendWaiting = (isPatient = true): void => {
    isPlanned = false;
    patience?.cancel();
    patience = undefined;
    while (waiting.length > 0 && (underWay < underWayMax || !isPatient)) void settle(waiting.splice(0, sizeMax));
    if (waiting.length > 0) patience = clock.alarm(lingerMs, () => sendWaiting(false));
  };

  return (request, given) =>
    new Promise((resolve, reject) => {
      const call = currentCall();
      const traceparent = currentTraceparent() ?? '';
      const cause = given ?? call?.cause;
      const event = cause && callingEvent(cause);
      const origin = {
        correlationId: cause?.correlationId ?? '',
        traceparent,
        cause: event === undefined ? '' : writeEvent(event),
      };
      const remainingMs = call?.remainingMs ?? (() => Number.POSITIVE_INFINITY);
      waiting.push({
        request,
        origin,
        cause,
        asCaller: resumption(),
        remainingMs,
        resolve,
        reject,
      });
      if (isPlanned || patience !== undefined) return;
      isPlanned = true;
      // A microtask later, so that requests of one turn are sent together.
      queueMicrotask(() => outsideOfCalls(sendWaiting));
    });
};

/** Most links of a span: OpenTelemetry drops further ones. */
const linksMax = 128;
