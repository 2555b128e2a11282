import {
  type CallContext,
  ClientError,
  Metadata,
  type CallOptions as NiceCallOptions,
  ServerError,
  type ServerMiddlewareCall,
  Status,
} from 'nice-grpc-common';
import { answeredOnce, answerOf } from './answered-once.ts';
import type { CallFields } from './call.ts';
import type { Channel } from './channel.ts';
import { type Carry, inProcessClient } from './in-process-client.ts';
import { CONTROL_MESSAGE_BYTES_MAX } from './message-size.ts';
import { type PipelineOptions, serverPipeline } from './server-pipeline.ts';
import { type BoundService, type Handler, type Method, rulesOf } from './service.ts';

export interface InProcessOptions extends PipelineOptions {
  /** Stands for the address, in errors and spans. */
  readonly name: string;
  readonly services: readonly BoundService[];
  /** Largest message taken or sent, in bytes. Default `CONTROL_MESSAGE_BYTES_MAX`. */
  readonly messageBytesMax?: number;
  /**
   * Whether messages are encoded, measured and decoded on the way, as a network does it (the default), or copied, which
   * takes a fraction of the time and knows no size.
   */
  readonly isEncoded?: boolean;
}

/** What lies between a client and a server in the same process: hands a call on, late, twice, or not at all. */
export type Link = (carry: Carry) => Carry;

/** A server without a socket. */
export interface InProcessServer {
  /** The way to it, for `connect`. */
  readonly channel: Channel;
  /** Another way to it, with something in between. */
  channelOver(link?: Link): Channel;
  /** Ends streams of answers; calls made afterwards are UNAVAILABLE. */
  stop(): void;
  /** The same, and calls in flight are UNAVAILABLE at once, as when the process at the other end of a connection dies. */
  crash(): void;
}

/**
 * Serves services to clients in the same process, so that a whole cloud can run in one. Calls go through the same
 * pipelines as over gRPC. Messages are copied: client and server share no objects.
 */
export function serveInProcess(options: InProcessOptions): InProcessServer {
  const stopping = new AbortController();
  const pipeline = serverPipeline(options, rulesOf(options.services), stopping.signal);
  const handlers = new Map(options.services.flatMap((service) => [...service.handlers]));
  const { messageBytesMax = CONTROL_MESSAGE_BYTES_MAX, isEncoded = true } = options;
  /** Each ends one call in flight as lost. */
  const inFlight = new Set<() => void>();

  /** The far side of one call, as its caller sees it: what gRPC does between a client's pipeline and a server's. */
  const begin = (method: Method, request: unknown, { signal, ...callOptions }: NiceCallOptions) => {
    const refuse = (code: Status, details: string): ClientError => new ClientError(method.path, code, details);
    if (stopping.signal.aborted) throw refuse(Status.UNAVAILABLE, 'the server has stopped');
    const found = handlers.get(method.path);
    if (found === undefined) throw refuse(Status.UNIMPLEMENTED, 'the server does not implement this method');
    /** Copies the bytes, as a network does: the sender may release its memory at once. */
    const within = (bytes: Uint8Array): Uint8Array => {
      if (bytes.length <= messageBytesMax) return Buffer.from(new Uint8Array(bytes).buffer);
      throw refuse(Status.RESOURCE_EXHAUSTED, `message larger than max (${bytes.length} vs ${messageBytesMax})`);
    };
    const copyRequest = (message: unknown): unknown =>
      isEncoded
        ? found.method.requestDeserialize(within(method.requestSerialize(message)))
        : method.requestCopy(message);

    /** Aborted when the caller leaves. A caller of one answer leaves only by its own signal, which then serves as it is. */
    const gone = signal === undefined || method.responseStream ? new AbortController() : undefined;
    const context = new ServerContext(options.name, callOptions.metadata, gone?.signal ?? signal ?? NEVER);
    const answers = pipeline(serverCall(found, request, copyRequest), context);
    let over: unknown;
    let reject: ((error: unknown) => void) | undefined;
    const endEarly = (error: unknown): void => {
      over ??= error;
      gone?.abort(LEFT);
      reject?.(over);
    };
    /** What comes of the answers, or what ends the call before: the caller left, or the server died. */
    const orEnd = <Result>(ask: () => Promise<Result>): Promise<Result> =>
      new Promise((resolve, rejectThis) => {
        reject = rejectThis;
        if (over !== undefined) rejectThis(over);
        ask().then(resolve, rejectThis);
      });
    const leave = (): void => endEarly(new DOMException('The call was aborted', 'AbortError'));
    const lose = (): void => endEarly(refuse(Status.UNAVAILABLE, 'the connection was lost'));
    if (signal?.aborted) leave();
    signal?.addEventListener('abort', leave, { once: true });
    inFlight.add(lose);
    return {
      /** The next of several answers. */
      next: () => orEnd(() => answers.next()),
      /** The only answer. */
      only: () => orEnd(() => answerOf<unknown>(answers)),
      copy: (message: unknown): unknown =>
        isEncoded
          ? method.responseDeserialize(within(found.method.responseSerialize(message)))
          : found.method.responseCopy(message),
      failure: (error: unknown): unknown => (error instanceof ServerError ? refuse(error.code, error.details) : error),
      end(isOver: boolean): void {
        // Nothing of a refusal arrives over a connection that was lost.
        if (over === undefined) context.tellTrailer(callOptions.onTrailer);
        inFlight.delete(lose);
        signal?.removeEventListener('abort', leave);
        if (isOver) return;
        // The caller reads no more: the handler sees an aborted signal, and this call does not wait for its end.
        gone?.abort(LEFT);
        void Promise.allSettled([answers.return(undefined)]);
      },
    };
  };

  const carry: Carry = {
    async once(method, request, callOptions) {
      const call = begin(method, request, callOptions);
      let isOver = false;
      try {
        const value = await call.only();
        isOver = true;
        return call.copy(value);
      } catch (error) {
        throw call.failure(error);
      } finally {
        call.end(isOver);
      }
    },
    stream: (method, request, callOptions) => answersOf(() => begin(method, request, callOptions)),
  };

  const channelOver = (link?: Link): Channel => ({
    peer: options.name,
    client: (definition, middleware) => inProcessClient(definition, middleware, link?.(carry) ?? carry),
    close: () => undefined,
  });
  return {
    channel: channelOver(),
    channelOver,
    stop: () => stopping.abort(),
    crash() {
      stopping.abort();
      for (const lose of [...inFlight]) lose();
    },
  };
}

/** The far side of a call that is answered with a stream. */
interface StreamedCall {
  next(): Promise<IteratorResult<unknown>>;
  copy(message: unknown): unknown;
  failure(error: unknown): unknown;
  end(isOver: boolean): void;
}

/** The stream of responses. The call starts with the first `next`: an unread stream calls nothing. */
async function* answersOf(begin: () => StreamedCall): AsyncGenerator<unknown, void> {
  const call = begin();
  let isOver = false;
  try {
    for (;;) {
      const answer = await call.next();
      isOver = answer.done === true;
      if (isOver) return;
      yield call.copy(answer.value);
    }
  } catch (error) {
    throw call.failure(error);
  } finally {
    call.end(isOver);
  }
}

/** Abort reason. It is never read, but without it each abort would create a DOMException with its stack. */
const LEFT = 'the caller has left';
const NEVER = new AbortController().signal;

/** The server's side of a call. What is rarely looked at is made when it is. */
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
  tellTrailer(listener: NiceCallOptions['onTrailer']): void {
    if (this.#trailer) listener?.(this.#trailer);
  }
  /** Headers of answers are not used by anything here. */
  sendHeader(): void {}
}

/** The call as the server's pipeline sees it, with the handler at its end. */
function serverCall(
  { method, handle }: { readonly method: Method; readonly handle: Handler },
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

/** What the handler answers: the promise it returns itself, without another around it. */
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
