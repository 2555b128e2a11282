import { type Clock, failureLog, type Logger, type Outage } from '@interlock/runtime';
import {
  AckPolicy,
  type Consumer,
  type ConsumerMessages,
  DeliverPolicy,
  JetStreamApiError,
  type JsMsg,
  jetstream,
  jetstreamManager,
} from '@nats-io/jetstream';
import { nanos, PermissionViolationError, TimeoutError } from '@nats-io/transport-node';
import { acknowledgedPublishing, NoStream } from './acknowledged.ts';
import type { Bus, Delivery, Interest } from './bus.ts';
import { connectNats, type NatsAccess, placesOf } from './nats-connection.ts';
import { missingStream, STREAM_NOT_FOUND, watchStream } from './stream-watch.ts';
import { streamNameIn, subjectNameIn } from './streams.ts';
import { serviceOf, streamOf, subjectsOf } from './subjects.ts';

const SECOND_MS = 1_000;

/** Messages asked for at once by a subscription: with 512 KiB a batch, at most 4 MiB wait in memory. */
const PORTION = 8;
/** Deliveries of one durable that may be unacknowledged. */
const MAX_ACK_PENDING = 64;
/** An idle request for messages is renewed after this time. */
const FETCH_EXPIRES_MS = 30 * SECOND_MS;
/** Pause before a failed subscription is set up again. */
const RESUBSCRIBE_MS = 250;
export interface NatsBusOptions extends NatsAccess {
  readonly clock: Clock;
  /** The stream of this process, which it looks at and never changes; without it none is looked at. */
  readonly own?: {
    readonly service: string;
    /** Copies the stream should have. */
    readonly replicas: number;
  };
  /** After this time without a word from its receiver a message is delivered again; default 30,000. */
  readonly ackWaitMs?: number;
  /** How long a publish waits for its acknowledgement; default 5,000. */
  readonly publishTimeoutMs?: number;
  /** Begins the names of streams and subjects: keeps several systems apart on one server. Letters, digits and `_`. */
  readonly namespace?: string;
  /** For failures the bus recovers from by itself. */
  readonly log?: Logger;
  /** Ends the wait for a server that is not there yet. */
  readonly signal?: AbortSignal;
}

/** The bus on NATS, which also knows how its connection is. */
export interface NatsBus extends Bus {
  /** Whether the connection stands, as far as the client knows: a server that fell silent is noticed within some 20 s. */
  isConnected(): boolean;
}

/**
 * The bus on NATS JetStream: one file-storage stream per source, which an operator creates (`ensureStreams`) and this process never
 * changes. Waits for the server to come up, reconnects for ever, and gives up only on `close`.
 * @throws Error when a server refuses us: see `connectNats`
 */
export const natsBus = async (options: NatsBusOptions): Promise<NatsBus> => {
  const { clock, ackWaitMs = 30 * SECOND_MS, publishTimeoutMs = 5 * SECOND_MS, log, namespace, own } = options;
  const streamName = (stream: string): string => streamNameIn(namespace, stream);
  const subjectName = (subject: string): string => subjectNameIn(namespace, subject);

  const connection = await connectNats(options, { clock, log, signal: options.signal });
  const publishing = acknowledgedPublishing(connection, {
    clock,
    timeoutMs: publishTimeoutMs,
    ...(options.inboxPrefix === undefined ? {} : { inboxPrefix: options.inboxPrefix }),
  });
  const consumers = jetstream(connection, { timeout: publishTimeoutMs }).consumers;
  // The server may be up before its JetStream is; every call finds out for itself, and is repeated by its caller.
  const manager = await jetstreamManager(connection, { timeout: publishTimeoutMs, checkAPI: false });
  const fetching = new Set<ConsumerMessages>();
  let session = 1;
  let lost: Outage | undefined;

  const watchConnection = async (): Promise<void> => {
    for await (const status of connection.status()) {
      if (status.type === 'disconnect') lost ??= { since: clock.now(), failures: 1, error: unreachable() };
      if (status.type === 'error' && status.error instanceof PermissionViolationError) {
        publishing.forbidden(status.error.subject, status.error);
      }
      // Also of what was published in between: the library forgets it with each attempt to connect.
      if (status.type === 'disconnect' || status.type === 'reconnect') publishing.interrupted();
      if (status.type !== 'reconnect') continue;
      lost = undefined;
      session += 1;
      // A request for messages dies with its connection; stopped here it is made anew at once instead of timing out.
      for (const messages of fetching) messages.stop();
    }
  };
  const watching = watchConnection();

  const closing = new AbortController();
  const watch =
    own &&
    watchStream(
      () => manager.streams.info(streamName(streamOf(own.service))),
      {
        name: streamName(streamOf(own.service)),
        subject: subjectName(subjectsOf(own.service)),
        copies: own.replicas,
      },
      { clock, log, signal: closing.signal },
    );

  /** Runs a call on the stream of a service. */
  const onStream = async <T>(service: string, call: () => Promise<T>): Promise<T> => {
    try {
      return await call();
    } catch (error) {
      throw isMissing(error) ? new Error(missingStream(streamName(streamOf(service))), { cause: error }) : named(error);
    }
  };

  const where = (): string => placesOf(options.servers);
  const unreachable = (cause?: unknown): Error => new Error(`NATS is not reachable at ${where()}`, { cause });

  /** A silence in words that say whose it is: the library's own are `timeout`. */
  const named = (error: unknown): unknown => {
    const isSilence = !(error instanceof JetStreamApiError || error instanceof PermissionViolationError);
    if (lost && isSilence) return unreachable(error);
    const isTimeout = error instanceof TimeoutError;
    return isTimeout
      ? new Error(`NATS (${where()}) did not answer within ${publishTimeoutMs} ms`, { cause: error })
      : error;
  };

  const openConsumer = async (interest: Interest): Promise<Consumer> => {
    const stream = streamName(interest.stream);
    await manager.consumers.add(stream, {
      durable_name: interest.durable,
      filter_subject: subjectName(interest.subject),
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      ack_wait: nanos(ackWaitMs),
      max_ack_pending: MAX_ACK_PENDING,
      max_deliver: -1,
    });
    return consumers.get(stream, interest.durable);
  };

  const pull = async function* (consumer: Consumer, signal: AbortSignal): AsyncIterable<Delivery> {
    const messages = await consumer.fetch({ max_messages: PORTION, expires: FETCH_EXPIRES_MS });
    const stop = (): void => messages.stop();
    fetching.add(messages);
    signal.addEventListener('abort', stop);
    try {
      if (signal.aborted) return;
      for await (const message of messages) {
        if (signal.aborted) return;
        yield asDelivery(message);
      }
    } finally {
      signal.removeEventListener('abort', stop);
      fetching.delete(messages);
      stop();
    }
  };

  return {
    async publish(subject, messageId, bytes) {
      await onStream(serviceOf(subject), () => publishing.publish(subjectName(subject), messageId, bytes));
    },
    async lastMessage(subject) {
      const service = serviceOf(subject);
      const query = { last_by_subj: subjectName(subject) };
      const found = await onStream(service, () => manager.streams.getMessage(streamName(streamOf(service)), query));
      return found?.data;
    },
    async *subscribe(interest) {
      let consumer: Consumer | undefined;
      const { durable } = interest;
      const attempts =
        log && failureLog({ log, clock, failing: 'subscription is set up again', back: 'subscription is back' });
      while (!interest.signal.aborted && !connection.isClosed()) {
        try {
          consumer ??= await openConsumer(interest);
          yield* pull(consumer, interest.signal);
          attempts?.succeeded();
        } catch (error) {
          consumer = undefined;
          if (interest.signal.aborted || connection.isClosed()) return;
          const stream = streamName(interest.stream);
          attempts?.failed(isMissing(error) ? new Error(missingStream(stream), { cause: error }) : error, { durable });
          await clock.sleep(RESUBSCRIBE_MS, interest.signal);
        }
      }
    },
    session: () => session,
    outage: () => lost,
    ...(watch && { stream: watch.state }),
    isConnected: () => lost === undefined && !connection.isClosed(),
    async close() {
      closing.abort();
      await connection.close();
      publishing.interrupted();
      await Promise.all([watching, watch?.done]);
    },
  };
};

/** Whether a call failed because its stream does not exist. */
const isMissing = (error: unknown): boolean =>
  error instanceof NoStream || (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND);

const asDelivery = (message: JsMsg): Delivery => ({
  bytes: message.data,
  deliveryCount: message.info.deliveryCount,
  ack: () => message.ack(),
  nak: (delayMs) => message.nak(delayMs),
  refuse: (reason) => message.term(reason),
  working: () => message.working(),
});
