import type { Channel } from './channel.ts';
import { ServedCall } from './in-process-call.ts';
import { type CallTransport, inProcessClient } from './in-process-client.ts';
import { CONTROL_MESSAGE_BYTES_MAX } from './message-size.ts';
import { type PipelineOptions, serverPipeline } from './server-pipeline.ts';
import { type BoundService, rulesOf } from './service.ts';

export interface InProcessOptions extends PipelineOptions {
  /** Used as the address in errors and spans. */
  readonly name: string;
  readonly services: readonly BoundService[];
  /** Largest message in each direction, in bytes. Default `CONTROL_MESSAGE_BYTES_MAX`. */
  readonly messageBytesMax?: number;
  /**
   * Whether messages are encoded, measured and decoded, as over a network (the default), or only copied. A copy takes a fraction of
   * the time and has no size limit.
   */
  readonly isEncoded?: boolean;
}

/** A faulty link between a client and a server in the same process: it may pass a call on late, twice, or not at all. */
export type Link = (carry: CallTransport) => CallTransport;

/** A server without a socket. */
export interface InProcessServer {
  /** Its channel, for `connect`. */
  readonly channel: Channel;
  /** Another channel to it, over a link. */
  channelOver(link?: Link): Channel;
  /** Ends response streams; later calls are UNAVAILABLE. */
  stop(): void;
  /** As `stop`, and calls in flight are UNAVAILABLE at once, as when the process of the server dies. */
  crash(): void;
}

/**
 * Serves services to clients in the same process, so that a whole cloud can run in one. Calls go through the same
 * pipelines as over gRPC. Messages are copied: client and server share no objects.
 */
export function serveInProcess(options: InProcessOptions): InProcessServer {
  const { name, services, messageBytesMax = CONTROL_MESSAGE_BYTES_MAX, isEncoded = true } = options;
  const stopping = new AbortController();
  const inFlight = new Set<ServedCall>();
  const server = {
    name,
    pipeline: serverPipeline({ ...options, address: name }, rulesOf(services), stopping.signal),
    handlers: new Map(services.flatMap((service) => [...service.handlers])),
    messageBytesMax,
    isEncoded,
    stopping: stopping.signal,
    inFlight,
  };
  const carry: CallTransport = {
    once: (...call) => answerOnce(() => new ServedCall(server, ...call)),
    stream: (...call) => answersOf(() => new ServedCall(server, ...call)),
  };
  const channelOver = (link?: Link): Channel => ({
    peer: name,
    client: (definition, middleware) => inProcessClient(definition, middleware, link?.(carry) ?? carry),
    close: () => undefined,
  });
  return {
    channel: channelOver(),
    channelOver,
    stop: () => stopping.abort(),
    crash() {
      stopping.abort();
      for (const call of [...inFlight]) call.lose();
    },
  };
}

/** The only response of a call. */
async function answerOnce(begin: () => ServedCall): Promise<unknown> {
  const call = begin();
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
}

/** The stream of responses. The call starts with the first `next`: an unread stream calls nothing. */
async function* answersOf(begin: () => ServedCall): AsyncGenerator<unknown, void> {
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
