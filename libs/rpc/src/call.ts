import { AsyncLocalStorage } from 'node:async_hooks';
import { type Cause, Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { context as otel, ROOT_CONTEXT } from '@opentelemetry/api';
import type { CallContext } from 'nice-grpc-common';

/** Names of the metadata entries that carry a call's context, and of those services read themselves. */
export const CallMetadata = {
  authorization: 'authorization',
  traceparent: 'traceparent',
  tracestate: 'tracestate',
  baggage: 'baggage',
  /** The request or timer that started the chain; at most 64 letters, digits, `-` or `_`. */
  correlationId: 'x-interlock-correlation-id',
  /** The event that led to the call, in the form of `writeEvent`. Read from our own services only. */
  cause: 'x-interlock-cause',
  /** How long the caller waits, in milliseconds. */
  timeoutMs: 'x-interlock-timeout-ms',
} as const;

/** Trailer entry with the events that the called service appended, in the form of `writeEvent`, separated by commas. */
export const EVENTS_TRAILER = 'x-interlock-events';

/** A caller whose token was verified. */
export interface Principal {
  readonly kind: 'user' | 'app' | 'managed_identity' | 'workload';
  /** UUID. */
  readonly id: string;
  /** `principals/<id>`. */
  readonly name: string;
  /** Id of the tenant. */
  readonly tenant: string;
  /** Service name (`disk`), for principals of our own services. */
  readonly workload?: string;
}

/** Whether a caller is one of our own services, or acts for one: only their claims about causes are used. */
export const isService = ({ kind }: Caller): boolean => kind === 'workload' || kind === 'managed_identity';

/** Who calls. */
export type Caller = Principal | { readonly kind: 'anonymous'; readonly name: 'system:anonymous' };

/** What this library adds to nice-grpc's context. */
export interface CallFields {
  readonly caller: Caller;
  /** Copied onto every event of the request; its tracker lists them, and the caller receives that list. */
  readonly cause: Cause;
  /** Unique to this request. */
  readonly requestId: string;
  /** Wall-clock time by which the response must be sent. */
  readonly deadline: Instant;
  /** Milliseconds until the deadline, by the monotonic clock; negative afterwards. */
  remainingMs(): number;
  /** The raw bearer token, for a service that passes its caller's authority on; absent for anonymous callers. */
  readonly token?: string;
}

/**
 * The second argument of every handler: the caller, the cause and the deadline. `signal` is aborted when the caller cancels, the
 * deadline has passed, or (for streams) the server stops. `metadata`, `peer` and the rest are nice-grpc's.
 */
export type Call = CallContext & CallFields;

/**
 * The caller as a principal.
 * @throws Rejection UNAUTHENTICATED TOKEN_MISSING for an anonymous caller (only a public method has one). Rule KV-80.
 */
export function principalOf(call: Pick<Call, 'caller'>): Principal {
  if (call.caller.kind === 'anonymous') throw tokenMissing();
  return call.caller;
}

/** @returns the refusal of a request without a bearer token. Rule KV-80. */
export const tokenMissing = (): Rejection =>
  new Rejection(
    'UNAUTHENTICATED',
    'TOKEN_MISSING',
    `the request has no bearer token: metadata "${CallMetadata.authorization}" must be "Bearer <token>"`,
  );

const running = new AsyncLocalStorage<CallFields | undefined>();

/** The call whose handler is running here; outgoing calls take correlation id and deadline from it. */
export const currentCall = (): CallFields | undefined => running.getStore();

/** Runs `fn`, and everything it awaits, as part of that call; `undefined`: of none. */
export const runAsCall = <Result>(call: CallFields | undefined, fn: () => Result): Result => running.run(call, fn);

/** Runs `fn`, and everything it awaits, outside of any call and trace: for work that continues after the response to its caller. */
export const outsideOfCalls = <Result>(fn: () => Result): Result =>
  otel.with(ROOT_CONTEXT, () => runAsCall(undefined, fn));

/**
 * Captures the current call and trace. Nothing else of the async context is used, and a snapshot of all of it costs many times as
 * much.
 * @returns runs a function later, and everything it awaits, as part of that call and trace
 */
export const resumption = (): (<Result>(fn: () => Result) => Result) => {
  const call = currentCall();
  const trace = otel.active();
  return (fn) => otel.with(trace, () => runAsCall(call, fn));
};
