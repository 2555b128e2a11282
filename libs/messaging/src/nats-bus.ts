import { headerGetter } from '@interlock/otel-jetstream';
import { type Clock, type FailureLog, failureLog, type Logger, type Outage } from '@interlock/runtime';
import {
  AckPolicy,
  type Consumer,
  type ConsumerMessages,
  DeliverPolicy,
  JetStreamApiError,
  type JetStreamManager,
  type JsMsg,
  jetstream,
  jetstreamManager,
} from '@nats-io/jetstream';
import { type NatsConnection, nanos, PermissionViolationError, TimeoutError } from '@nats-io/transport-node';
import { propagation, ROOT_CONTEXT } from '@opentelemetry/api';
import { type AcknowledgedPublishing, acknowledgedPublishing, NoStream } from './acknowledged.ts';
import type { Bus, Delivery, Interest } from './bus.ts';
import { connectNats, type NatsAccess, placesOf } from './nats-connection.ts';
import { natsTail } from './nats-tail.ts';
import { missingStream, STREAM_NOT_FOUND, watchStream } from './stream-watch.ts';
import { streamNameIn, subjectNameIn } from './streams.ts';
import { serviceOf, streamOf, subjectsOf } from './subjects.ts';

/** Messages that a subscription requests at once: with 512 KiB per batch, at most 4 MiB wait in memory. */
const PORTION = 8;
/** Deliveries of one durable that may be unacknowledged. */
const MAX_ACK_PENDING = 64;
/** An idle request for messages is renewed after this time. */
const FETCH_EXPIRES_MS = 30_000;
/** Pause before a failed subscription is set up again. */
const RESUBSCRIBE_MS = 250;
const ACK_WAIT_MS = 30_000;
const PUBLISH_TIMEOUT_MS = 5_000;

/** What the bus on NATS needs. */
export interface NatsBusOptions extends NatsAccess {
  readonly clock: Clock;
  /** The stream of this process, which it checks and never changes; by default it checks none. */
  readonly own?: {
    readonly service: string;
    /** Copies the stream should have. */
    readonly replicas: number;
  };
  /** Time without a response of its receiver after which a message is delivered again; default 30,000. */
  readonly ackWaitMs?: number;
  /** How long a publish waits for its acknowledgement; default 5,000. */
  readonly publishTimeoutMs?: number;
  /** Prefix of the names of streams and subjects: separates several systems on one server. Letters, digits and `_`. */
  readonly namespace?: string;
  /** For failures from which the bus recovers. */
  readonly log?: Logger;
  /** Ends the wait for a server that is not up yet. */
  readonly signal?: AbortSignal;
}

/** The bus on NATS, with the state of its connection. */
export interface NatsBus extends Bus {
  /** Whether the client is connected; it notices a silent server within some 20 s. */
  isConnected(): boolean;
}

/**
 * Opens the bus on NATS JetStream: one file-storage stream for each source, which an operator creates (`ensureStreams`) and this
 * process never changes. Waits until the server is up, reconnects without a limit, and ends only on `close`.
 * @throws Error when a server refuses us: see `connectNats`
 */
export const natsBus = async (options: NatsBusOptions): Promise<NatsBus> => {
  const { clock, log, own, publishTimeoutMs = PUBLISH_TIMEOUT_MS, inboxPrefix } = options;
  const connection = await connectNats(options, { clock, log, signal: options.signal });
  const publishing = acknowledgedPublishing(connection, {
    clock,
    timeoutMs: publishTimeoutMs,
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
  });
  // The server may be up before its JetStream is; every call finds out, and its caller repeats it.
  const manager = await jetstreamManager(connection, { timeout: publishTimeoutMs, checkAPI: false });
  const closing = new AbortController();
  const names = new Names(options);
  const watch =
    own &&
    watchStream(
      () => manager.streams.info(names.streamOfService(own.service)),
      {
        name: names.streamOfService(own.service),
        subject: names.subject(subjectsOf(own.service)),
        copies: own.replicas,
      },
      { clock, log, signal: closing.signal },
    );
  const link = new Link(connection, publishing, options);
  const subscriptions = new Subscriptions(connection, manager, link, names, options);
  const { session, outage, isConnected } = link;

  return {
    publish: (subject, messageId, bytes) =>
      link.call(names.streamOfService(serviceOf(subject)), () =>
        publishing.publish(names.subject(subject), messageId, bytes),
      ),
    async lastMessage(subject) {
      const stream = names.streamOfService(serviceOf(subject));
      const query = { last_by_subj: names.subject(subject) };
      const found = await link.call(stream, () => manager.streams.getMessage(stream, query));
      return found?.data;
    },
    subscribe: (interest) => subscriptions.open(interest),
    tail: (subject, signal) => natsTail(connection, names.subject(subject), { clock, log, signal }),
    session,
    outage,
    isConnected,
    connection,
    ...(watch && { stream: watch.state }),
    async close() {
      closing.abort();
      await connection.close();
      publishing.interrupted();
      await Promise.all([link.ended, watch?.done]);
    },
  };
};

/** Names on the server. */
class Names {
  readonly #namespace: string | undefined;
  constructor({ namespace }: Pick<NatsBusOptions, 'namespace'>) {
    this.#namespace = namespace;
  }
  stream(stream: string): string {
    return streamNameIn(this.#namespace, stream);
  }
  streamOfService(service: string): string {
    return this.stream(streamOf(service));
  }
  subject(subject: string): string {
    return subjectNameIn(this.#namespace, subject);
  }
}

/** The connection: its sessions and outages, and calls over it. */
class Link {
  /** Resolves when the connection is closed. */
  readonly ended: Promise<void>;
  readonly session = (): number => this.#session;
  readonly outage = (): Outage | undefined => this.#outage;
  readonly isConnected = (): boolean => this.#outage === undefined && !this.#connection.isClosed();
  /** Running requests for messages. A request dies with its connection; stopped on a reconnect it is repeated at once. */
  readonly fetching = new Set<ConsumerMessages>();
  readonly #connection: NatsConnection;
  readonly #options: NatsBusOptions;
  #session = 1;
  #outage: Outage | undefined;

  constructor(connection: NatsConnection, publishing: AcknowledgedPublishing, options: NatsBusOptions) {
    this.#connection = connection;
    this.#options = options;
    this.ended = this.#watch(publishing);
  }

  /** Runs a call on a stream, with errors that name the server and the stream. */
  async call<T>(stream: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw isMissing(error) ? new Error(missingStream(stream), { cause: error }) : this.#explain(error);
    }
  }

  async #watch(publishing: AcknowledgedPublishing): Promise<void> {
    const { clock } = this.#options;
    for await (const status of this.#connection.status()) {
      if (status.type === 'disconnect')
        this.#outage ??= { since: clock.now(), failures: 1, error: this.#unreachable() };
      if (status.type === 'error' && status.error instanceof PermissionViolationError) {
        publishing.forbidden(status.error.subject, status.error);
      }
      // On a reconnect too: the library drops what was published during each attempt to connect.
      if (status.type === 'disconnect' || status.type === 'reconnect') publishing.interrupted();
      if (status.type !== 'reconnect') continue;
      this.#outage = undefined;
      this.#session += 1;
      for (const messages of this.fetching) messages.stop();
    }
  }

  /** The library's own message for a missing response is only `timeout`. */
  #explain(error: unknown): unknown {
    const isSilence = !(error instanceof JetStreamApiError || error instanceof PermissionViolationError);
    if (this.#outage && isSilence) return this.#unreachable(error);
    if (!(error instanceof TimeoutError)) return error;
    const { servers, publishTimeoutMs = PUBLISH_TIMEOUT_MS } = this.#options;
    return new Error(`NATS (${placesOf(servers)}) did not respond within ${publishTimeoutMs} ms`, { cause: error });
  }

  #unreachable(cause?: unknown): Error {
    return new Error(`NATS is not reachable at ${placesOf(this.#options.servers)}`, { cause });
  }
}

class Subscriptions {
  readonly #connection: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #link: Link;
  readonly #names: Names;
  readonly #options: NatsBusOptions;

  constructor(
    connection: NatsConnection,
    manager: JetStreamManager,
    link: Link,
    names: Names,
    options: NatsBusOptions,
  ) {
    this.#connection = connection;
    this.#manager = manager;
    this.#link = link;
    this.#names = names;
    this.#options = options;
  }

  async *open(interest: Interest): AsyncGenerator<Delivery, void> {
    const { clock, log } = this.#options;
    const { durable, signal } = interest;
    const attempts: FailureLog | undefined =
      log && failureLog({ log, clock, failing: 'subscription is set up again', back: 'subscription is back' });
    let consumer: Consumer | undefined;
    while (!signal.aborted && !this.#connection.isClosed()) {
      try {
        consumer ??= await this.#openConsumer(interest);
        yield* this.#fetch(consumer, signal);
        attempts?.succeeded();
      } catch (error) {
        consumer = undefined;
        if (signal.aborted || this.#connection.isClosed()) return;
        const missing = () => new Error(missingStream(this.#names.stream(interest.stream)), { cause: error });
        attempts?.failed(isMissing(error) ? missing() : error, { durable });
        await clock.sleep(RESUBSCRIBE_MS, signal);
      }
    }
  }

  async #openConsumer({ stream: interesting, durable, subject }: Interest): Promise<Consumer> {
    const { ackWaitMs = ACK_WAIT_MS, publishTimeoutMs = PUBLISH_TIMEOUT_MS } = this.#options;
    const stream = this.#names.stream(interesting);
    await this.#manager.consumers.add(stream, {
      durable_name: durable,
      filter_subject: this.#names.subject(subject),
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      ack_wait: nanos(ackWaitMs),
      max_ack_pending: MAX_ACK_PENDING,
      max_deliver: -1,
    });
    return jetstream(this.#connection, { timeout: publishTimeoutMs }).consumers.get(stream, durable);
  }

  async *#fetch(consumer: Consumer, signal: AbortSignal): AsyncGenerator<Delivery, void> {
    const { fetching } = this.#link;
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
  }
}

/** Whether a call failed because its stream does not exist. */
const isMissing = (error: unknown): boolean =>
  error instanceof NoStream || (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND);

const asDelivery = (message: JsMsg): Delivery => ({
  bytes: message.data,
  context: propagation.extract(ROOT_CONTEXT, message.headers, headerGetter),
  deliveryCount: message.info.deliveryCount,
  ack: () => message.ack(),
  nak: (delayMs) => message.nak(delayMs),
  refuse: (reason) => message.term(reason),
  working: () => message.working(),
});
