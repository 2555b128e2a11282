import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import {
  type Cause,
  CauseTracker,
  type Commit,
  CursorConflict,
  eventId,
  noteEventSpan,
  Rejection,
  StoreUnavailable,
  VersionConflict,
} from '@interlock/event-store';
import { traceparentAfter } from './spans.ts';

/** The effect of a fact: stored together with the consumer's cursor, so that it happens exactly once (G7). */
export type Effect = Pick<Commit, 'appends' | 'rows'>;

/** The effect of an irrelevant fact, or of one whose handler has already done its idempotent work. */
export const NO_EFFECT: Effect = {};

export interface FactContext {
  /** Cause of the effect: the fact's event as its message, with its correlation id and caller. */
  readonly cause: Cause;
  /** Aborted when the consumer stops; the fact is delivered again. */
  readonly signal: AbortSignal;
}

/**
 * Decides the effect of a fact. May run several times for one fact; only one effect is stored. Work that does not fit in one
 * commit (a fleet of machines) is done by the handler itself, idempotently, before it returns `NO_EFFECT`.
 * @throws Rejection: a retryable one, or one of a token that a peer refused, repeats the fact until it succeeds; any other parks it
 *   at once
 * @throws StoreUnavailable, or the failure of a call without a response: the fact is repeated until that ends
 * @throws anything else: the fact is repeated, and parked after several attempts
 */
export type Handler = (fact: Fact, context: FactContext) => Promise<Effect>;

/** Handlers for the facts of one source, by fact type. Types without a handler are ignored. */
export type Handlers = Readonly<Record<string, Handler>>;

export const causeOf = (fact: Fact, service: string): Cause => {
  const traceparent = traceparentAfter(fact);
  const id = eventId(fact.stream, fact.version);
  noteEventSpan(fact.traceparent, id);
  return {
    correlationId: fact.correlationId,
    causes: [{ id, kind: 'message' }],
    caller: fact.caller || `system:${service}`,
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(fact.tracestate === undefined ? {} : { tracestate: fact.tracestate }),
    ...(fact.baggage === undefined ? {} : { baggage: fact.baggage }),
    tracker: new CauseTracker(),
  };
};

/** What to do about a failure: decide again at once, repeat until it ends, park at once, or park after several attempts. */
export type Verdict = 'conflict' | 'temporary' | 'definite' | 'unknown';

/**
 * Status codes of a call without a decision about the request: it did not arrive, or ran out of time. Any other failure of a peer
 * (an internal error) may be caused by the fact, and is repeated only a few times.
 */
const TEMPORARY_STATUSES: ReadonlySet<unknown> = new Set([
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'CANCELLED',
  'RESOURCE_EXHAUSTED',
  'UNAUTHENTICATED',
]);

/** Recognised by name, because this package does not depend on the rpc package. */
const isTemporaryCall = (error: unknown): boolean =>
  error instanceof Error && error.name === 'RpcFailure' && 'code' in error && TEMPORARY_STATUSES.has(error.code);

export const verdictOn = (error: unknown): Verdict => {
  if (error instanceof VersionConflict || error instanceof CursorConflict) return 'conflict';
  // A refused token is no failure of the fact, and the next attempt uses another token.
  if (error instanceof Rejection) {
    return error.retryable() || error.code === 'UNAUTHENTICATED' ? 'temporary' : 'definite';
  }
  return error instanceof StoreUnavailable || isTemporaryCall(error) ? 'temporary' : 'unknown';
};

/** Machine-readable reason of a failure. */
export const reasonOf = (error: unknown): string => (error instanceof Rejection ? error.reason : 'INTERNAL');

/** Message of a failure, without its stack. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
