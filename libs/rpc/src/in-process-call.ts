import {
  type CallContext,
  ClientError,
  Metadata,
  type CallOptions as NiceCallOptions,
  ServerError,
  type ServerMiddleware,
  type ServerMiddlewareCall,
  Status,
} from 'nice-grpc-common';
import { answeredOnce, answerOf } from './answered-once.ts';
import type { CallFields } from './call.ts';
import type { Handler, Method } from './service.ts';

/** A method of the server and its handler. */
interface Implementation {
  readonly method: Method;
  readonly handle: Handler;
}

/** State that the calls of one server share. */
interface Server {
  readonly name: string;
  readonly pipeline: ServerMiddleware<CallFields>;
  /** By path. */
  readonly handlers: ReadonlyMap<string, Implementation>;
  readonly messageBytesMax: number;
  readonly isEncoded: boolean;
  readonly stopping: AbortSignal;
  readonly inFlight: Set<ServedCall>;
}

/** One call at the server, as its caller sees it: what gRPC does between the pipelines of client and server. */
export class ServedCall {
  readonly #server: Server;
  /** As the client knows it: it encodes the request and decodes the responses. */
  readonly #method: Method;
  readonly #implementation: Implementation;
  readonly #options: NiceCallOptions;
  /** Aborted when the caller leaves. The caller of a single response leaves only by its own signal, which is passed to the handler. */
  readonly #gone: AbortController | undefined;
  readonly #context: ServerContext;
  readonly #answers: AsyncGenerator<unknown, unknown, undefined>;
  /** Why the call ended early. */
  #over: unknown;
  #reject: ((error: unknown) => void) | undefined;

  /** @throws ClientError UNAVAILABLE after the server stopped, UNIMPLEMENTED, RESOURCE_EXHAUSTED */
  constructor(server: Server, method: Method, request: unknown, options: NiceCallOptions) {
    const { signal, metadata } = options;
    this.#server = server;
    this.#method = method;
    this.#options = options;
    if (server.stopping.aborted) throw this.#error(Status.UNAVAILABLE, 'the server has stopped');
    const found = server.handlers.get(method.path);
    if (found === undefined) throw this.#error(Status.UNIMPLEMENTED, 'the server does not implement this method');
    this.#implementation = found;
    this.#gone = signal === undefined || method.responseStream ? new AbortController() : undefined;
    this.#context = new ServerContext(server.name, metadata, this.#gone?.signal ?? signal ?? NEVER);
    const call = serverCall(found, request, (message) => this.#copyRequest(message));
    this.#answers = server.pipeline(call, this.#context);
    if (signal?.aborted) this.#leave();
    signal?.addEventListener('abort', this.#leave, { once: true });
    server.inFlight.add(this);
  }

  /** The next of several responses. */
  next(): Promise<IteratorResult<unknown>> {
    return this.#orEnd(() => this.#answers.next());
  }

  /** The only response. */
  only(): Promise<unknown> {
    return this.#orEnd(() => answerOf<unknown>(this.#answers));
  }

  /** A response as it arrives at the caller. */
  copy(message: unknown): unknown {
    const { method } = this.#implementation;
    if (!this.#server.isEncoded) return method.responseCopy(message);
    return this.#method.responseDeserialize(this.#carried(method.responseSerialize(message)));
  }

  /** An error as it arrives at the caller. */
  failure(error: unknown): unknown {
    return error instanceof ServerError ? this.#error(error.code, error.details) : error;
  }

  /** Ends the call as lost. */
  lose(): void {
    this.#endEarly(this.#error(Status.UNAVAILABLE, 'the connection was lost'));
  }

  /** @param isOver whether the caller has received every response */
  end(isOver: boolean): void {
    // A lost connection carries no trailer.
    if (this.#over === undefined) this.#context.passTrailer(this.#options.onTrailer);
    this.#server.inFlight.delete(this);
    this.#options.signal?.removeEventListener('abort', this.#leave);
    if (isOver) return;
    // The caller reads no more: the handler sees an aborted signal, and this call does not wait for its end.
    this.#gone?.abort(LEFT);
    void Promise.allSettled([this.#answers.return(undefined)]);
  }

  readonly #leave = (): void => this.#endEarly(new DOMException('The call was aborted', 'AbortError'));

  #endEarly(error: unknown): void {
    this.#over ??= error;
    this.#gone?.abort(LEFT);
    this.#reject?.(this.#over);
  }

  /** The result of `ask`, or a rejection if the call ends before: the caller left, or the server died. */
  #orEnd<Result>(ask: () => Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      if (this.#over !== undefined) reject(this.#over);
      ask().then(resolve, reject);
    });
  }

  #copyRequest(message: unknown): unknown {
    if (!this.#server.isEncoded) return this.#method.requestCopy(message);
    return this.#implementation.method.requestDeserialize(this.#carried(this.#method.requestSerialize(message)));
  }

  /** Copies the bytes, as a network does: the sender may release its memory at once. */
  #carried(bytes: Uint8Array): Uint8Array {
    const { messageBytesMax } = this.#server;
    if (bytes.length <= messageBytesMax) return Buffer.from(new Uint8Array(bytes).buffer);
    const details = `message larger than max (${bytes.length} vs ${messageBytesMax})`;
    throw this.#error(Status.RESOURCE_EXHAUSTED, details);
  }

  #error(code: Status, details: string): ClientError {
    return new ClientError(this.#method.path, code, details);
  }
}

/** Abort reason. It is never read, but without it each abort would create a DOMException with its stack. */
const LEFT = 'the caller has left';
const NEVER = new AbortController().signal;

/** The server's context of a call. Creates its header and trailer on first use, because most calls have none. */
class ServerContext implements CallContext {
  readonly metadata: Metadata;
  readonly peer: string;
  readonly signal: AbortSignal;
  #header: Metadata | undefined;
  #trailer: Metadata | undefined;

  constructor(peer: string, metadata: NiceCallOptions['metadata'], signal: AbortSignal) {
    this.metadata = metadata ?? Metadata();
    this.peer = peer;
    this.signal = signal;
  }
  get header(): Metadata {
    this.#header ??= Metadata();
    return this.#header;
  }
  get trailer(): Metadata {
    this.#trailer ??= Metadata();
    return this.#trailer;
  }
  /** Passes the trailer to the caller, unless it is empty. */
  passTrailer(listener: NiceCallOptions['onTrailer']): void {
    if (this.#trailer) listener?.(this.#trailer);
  }
  /** Nothing here uses response headers. */
  sendHeader(): void {}
}

/** The call as the server's pipeline sees it, with the handler at its end. */
function serverCall(
  { method, handle }: Implementation,
  request: unknown,
  copyRequest: (message: unknown) => unknown,
): ServerMiddlewareCall<unknown, unknown, CallFields> {
  const { path } = method;
  const asked = method.requestStream
    ? ({ requestStream: true, request: mapped(iterableFrom(request, path), copyRequest) } as const)
    : ({ requestStream: false, request: copyRequest(request) } as const);
  const answered = method.responseStream
    ? ({
        responseStream: true,
        next: (message: unknown, context: unknown) => streamed(() => iterableFrom(handle(message, context), path)),
      } as const)
    : ({
        responseStream: false,
        next: (message: unknown, context: unknown) => answeredOnce(() => handled(handle, message, context)),
      } as const);
  return { method, ...asked, ...answered };
}

/** The response of the handler: its own promise, without a second one around it. */
const handled = (handle: Handler, message: unknown, context: unknown): Promise<unknown> => {
  try {
    return Promise.resolve(handle(message, context));
  } catch (error) {
    return Promise.reject(error);
  }
};

async function* streamed(answers: () => AsyncIterable<unknown>): AsyncGenerator<unknown, void> {
  yield* answers();
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
