import {
  type CallContext,
  ClientError,
  Metadata,
  type CallOptions as NiceCallOptions,
  ServerError,
  type ServerMiddlewareCall,
  Status,
} from 'nice-grpc-common';
import type { CallFields } from './call.ts';
import type { Channel } from './channel.ts';
import { inProcessClient } from './in-process-client.ts';
import { CONTROL_MESSAGE_BYTES_MAX } from './server.ts';
import { type PipelineOptions, serverPipeline } from './server-pipeline.ts';
import { type BoundService, type Handler, type Method, rulesOf } from './service.ts';

export interface InProcessOptions extends PipelineOptions {
  /** Stands for the address, in errors and spans. */
  readonly name: string;
  readonly services: readonly BoundService[];
  /** Largest message taken or sent, in bytes. Default `CONTROL_MESSAGE_BYTES_MAX`. */
  readonly messageBytesMax?: number;
}

/** A server without a socket. */
export interface InProcessServer {
  /** The way to it, for `connect`. */
  readonly channel: Channel;
  /** Ends streams of answers; calls made afterwards are UNAVAILABLE. */
  stop(): void;
}

/**
 * Serves services to clients in the same process, so that a whole cloud can run in one. Calls go through the same
 * pipelines as over gRPC, and messages are encoded and decoded on the way: nobody gets hold of another's objects.
 */
export function serveInProcess(options: InProcessOptions): InProcessServer {
  const stopping = new AbortController();
  const pipeline = serverPipeline(options, rulesOf(options.services), stopping.signal);
  const handlers = new Map(options.services.flatMap((service) => [...service.handlers]));
  const { messageBytesMax = CONTROL_MESSAGE_BYTES_MAX } = options;

  /** The far side of one call: what gRPC does between a client's pipeline and a server's. */
  async function* carry(
    method: Method,
    request: unknown,
    callOptions: NiceCallOptions,
  ): AsyncGenerator<unknown, unknown> {
    const refuse = (code: Status, details: string): ClientError => new ClientError(method.path, code, details);
    if (stopping.signal.aborted) throw refuse(Status.UNAVAILABLE, 'the server has stopped');
    const found = handlers.get(method.path);
    if (found === undefined) throw refuse(Status.UNIMPLEMENTED, 'the server does not implement this method');
    const within = (bytes: Uint8Array): Uint8Array => {
      if (bytes.length <= messageBytesMax) return bytes;
      throw refuse(Status.RESOURCE_EXHAUSTED, `message larger than max (${bytes.length} vs ${messageBytesMax})`);
    };
    const copyRequest = (message: unknown): unknown =>
      found.method.requestDeserialize(within(method.requestSerialize(message)));
    const copyResponse = (message: unknown): unknown =>
      method.responseDeserialize(within(found.method.responseSerialize(message)));

    const gone = new AbortController();
    const leave = (): void => gone.abort();
    if (callOptions.signal?.aborted) leave();
    callOptions.signal?.addEventListener('abort', leave, { once: true });
    const context = callContext(options.name, callOptions, gone.signal);
    let isOver = false;
    const answers = pipeline(serverCall(found, request, copyRequest), context);
    try {
      for (;;) {
        const answer = await orAborted(answers.next(), gone.signal);
        if (answer.done !== true) {
          yield copyResponse(answer.value);
          continue;
        }
        isOver = true;
        callOptions.onTrailer?.(context.trailer);
        return method.responseStream ? undefined : copyResponse(answer.value);
      }
    } catch (error) {
      callOptions.onTrailer?.(context.trailer);
      throw error instanceof ServerError ? refuse(error.code, error.details) : error;
    } finally {
      callOptions.signal?.removeEventListener('abort', leave);
      if (!isOver) {
        // Nobody listens any more: the server's side sees that its caller is gone, and ends in its own time.
        leave();
        void Promise.allSettled([answers.return(undefined)]);
      }
    }
  }

  return {
    channel: {
      peer: options.name,
      client: (definition, middleware) => inProcessClient(definition, middleware, carry),
      close: () => undefined,
    },
    stop: () => stopping.abort(),
  };
}

function callContext(peer: string, { metadata }: NiceCallOptions, signal: AbortSignal): CallContext {
  return {
    metadata: Metadata(metadata),
    peer,
    header: Metadata(),
    trailer: Metadata(),
    // Headers of answers are not used by anything here.
    sendHeader: () => undefined,
    signal,
  };
}

/** The call as the server's pipeline sees it, with the handler at its end. */
function serverCall(
  { method, handle }: { readonly method: Method; readonly handle: Handler },
  request: unknown,
  copyRequest: (message: unknown) => unknown,
): ServerMiddlewareCall<unknown, unknown, CallFields> {
  const { path, options } = method;
  const descriptor = { path, requestStream: method.requestStream, responseStream: method.responseStream, options };
  const asked = method.requestStream
    ? ({ requestStream: true, request: mapped(iterableFrom(request, path), copyRequest) } as const)
    : ({ requestStream: false, request: copyRequest(request) } as const);
  const answered = method.responseStream
    ? ({
        responseStream: true,
        next: async function* (message: unknown, context: unknown) {
          yield* iterableFrom(handle(message, context), path);
        },
      } as const)
    : ({
        responseStream: false,
        // biome-ignore lint/correctness/useYield: a unary answer is what the generator returns.
        next: async function* (message: unknown, context: unknown) {
          return await handle(message, context);
        },
      } as const);
  return { method: descriptor, ...asked, ...answered };
}

async function* mapped(
  messages: AsyncIterable<unknown>,
  map: (message: unknown) => unknown,
): AsyncGenerator<unknown, void> {
  for await (const message of messages) yield map(message);
}

function iterableFrom(value: unknown, path: string): AsyncIterable<unknown> {
  if (isAsyncIterable(value)) return value;
  throw new TypeError(`${path}: expected an async iterable of messages`);
}

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;

/** `work`, unless the signal comes first: then the caller is let go while `work` ends in its own time. */
function orAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new DOMException('The call was aborted', 'AbortError'));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
