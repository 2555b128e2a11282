import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import {
  type Cause,
  type Commit,
  CursorConflict,
  Rejection,
  StoreUnavailable,
  VersionConflict,
} from '@interlock/event-store';
import { traceparentAfter } from './spans.ts';

/** What a fact leads to: stored together with the consumer's place, so that it happens exactly once (G7). */
export type Effect = Pick<Commit, 'appends' | 'rows'>;

/** The effect of a fact that leads to nothing, or whose handler has already done its idempotent work. */
export const NO_EFFECT: Effect = {};

export interface FactContext {
  /** Cause of the effect: the fact's event id as causation id, its correlation id and caller carried on. */
  readonly cause: Cause;
  /** Aborted when the consumer stops: give up, the fact comes again. */
  readonly signal: AbortSignal;
}

/**
 * Decides what a fact leads to. May run several times for one fact; only one effect is stored. Work that does not fit
 * in one commit (a fleet of machines) is done by the handler itself, idempotently, before it returns `NO_EFFECT`.
 * @throws Rejection: one that is retryable repeats the fact until it works, and so does one of a token that a peer did not take;
 *   any other parks it at once
 * @throws StoreUnavailable, or the failure of a call that got no answer: the fact is tried again for as long as it lasts
 * @throws anything else: tried again, and parked after several attempts
 */
export type Handler = (fact: Fact, context: FactContext) => Promise<Effect>;

/** What a service does about the facts of one source, by fact type. A type without a handler is passed over. */
export type Handlers = Readonly<Record<string, Handler>>;

export const causeOf = (fact: Fact, service: string): Cause => {
  const traceparent = traceparentAfter(fact);
  return {
    correlationId: fact.correlationId,
    causationId: fact.eventId,
    caller: fact.caller || `system:${service}`,
    ...(traceparent === undefined ? {} : { traceparent }),
  };
};

/** What to do about a failure: decide again at once, try again for ever, give up at once, or after several attempts. */
export type Verdict = 'conflict' | 'passing' | 'final' | 'unknown';

/**
 * Outcomes of a call that say nothing about the request: it never arrived, or ran out of time. Anything else a peer
 * fails with (an internal error) may be the fact's own fault, and is not repeated for ever.
 */
const PASSING_CALLS: ReadonlySet<unknown> = new Set([
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'CANCELLED',
  'RESOURCE_EXHAUSTED',
  'UNAUTHENTICATED',
]);

/** Failures of calls are known by their name: this package does not depend on the one that calls. */
const isPassingCall = (error: unknown): boolean =>
  error instanceof Error && error.name === 'RpcFailure' && 'code' in error && PASSING_CALLS.has(error.code);

export const verdictOn = (error: unknown): Verdict => {
  if (error instanceof VersionConflict || error instanceof CursorConflict) return 'conflict';
  // A token of ours that was not taken says nothing about the fact, and the next one is another.
  if (error instanceof Rejection) {
    return error.retryable() || error.code === 'UNAUTHENTICATED' ? 'passing' : 'final';
  }
  return error instanceof StoreUnavailable || isPassingCall(error) ? 'passing' : 'unknown';
};

/** Machine-readable reason of a failure. */
export const reasonOf = (error: unknown): string => (error instanceof Rejection ? error.reason : 'INTERNAL');

/** A failure in words, without its stack. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
