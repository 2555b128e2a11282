import type { Client } from 'nice-grpc';
import type { ClientMiddleware, ClientMiddlewareCall, CallOptions as NiceCallOptions } from 'nice-grpc-common';
import { answeredOnce, answerOf } from './answered-once.ts';
import type { CallOptions } from './client-pipeline.ts';
import { type Definition, type Method, methodsOf } from './service.ts';

/** Carries calls to a server and returns the responses; throws `ClientError`. */
export interface CallTransport {
  /** A call with one response. */
  once(method: Method, request: unknown, options: NiceCallOptions): Promise<unknown>;
  /** A call with a stream of responses. */
  stream(method: Method, request: unknown, options: NiceCallOptions): AsyncGenerator<unknown, void>;
}

/** The same client as nice-grpc creates for a channel, for calls that `carry` brings to the server. */
export function inProcessClient<D extends Definition>(
  definition: D,
  middleware: ClientMiddleware<CallOptions>,
  carry: CallTransport,
): Client<D, CallOptions> {
  const methods: Record<string, unknown> = {};
  for (const [name, method] of methodsOf(definition)) {
    const begin = (request: unknown, options: NiceCallOptions & CallOptions = {}) =>
      middleware(clientCall(method, request, carry), options);
    methods[name] = method.responseStream
      ? begin
      : (...call: Parameters<typeof begin>) => {
          try {
            return answerOf(begin(...call));
          } catch (error) {
            return Promise.reject(error);
          }
        };
  }
  assertClient(methods, definition);
  return methods;
}

function clientCall(method: Method, request: unknown, carry: CallTransport): ClientMiddlewareCall<unknown, unknown> {
  const asked = isStream(method, request)
    ? ({ requestStream: true, request } as const)
    : ({ requestStream: false, request } as const);
  const answered = method.responseStream
    ? ({
        responseStream: true,
        next: (message: unknown, callOptions: NiceCallOptions) => carry.stream(method, message, callOptions),
      } as const)
    : ({
        responseStream: false,
        next: (message: unknown, callOptions: NiceCallOptions) =>
          answeredOnce(() => carry.once(method, message, callOptions)),
      } as const);
  return { method, ...asked, ...answered };
}

const isStream = (method: Method, request: unknown): request is AsyncIterable<unknown> => {
  if (!method.requestStream) return false;
  if (typeof request === 'object' && request !== null && Symbol.asyncIterator in request) return true;
  throw new TypeError(`${method.path}: the request must be an async iterable of messages`);
};

/** Type assertion only: the loop above has created a function of the right shape for each method. */
function assertClient<D extends Definition>(
  methods: Record<string, unknown>,
  definition: D,
): asserts methods is Client<D, CallOptions> {
  for (const name of methodsOf(definition).keys()) {
    if (typeof methods[name] !== 'function') throw new Error(`no client function for ${name}`);
  }
}
