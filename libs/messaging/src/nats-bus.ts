import { type Clock, failureLog, type Logger, type Outage } from '@interlock/runtime';
import {
  AckPolicy,
  type Consumer,
  type ConsumerMessages,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  type JsMsg,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from '@nats-io/jetstream';
import { connect, nanos, PermissionViolationError, TimeoutError } from '@nats-io/transport-node';
import { acknowledgedPublishing } from './acknowledged.ts';
import type { Bus, Delivery, Interest } from './bus.ts';
import { connectNats, type NatsAccess, placesOf } from './nats-connection.ts';
import { serviceOf, streamOf, subjectsOf } from './subjects.ts';

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;

/** For how long a fact stays in its stream by default; an older one is read from its source. */
export const STREAM_AGE_MAX_DEFAULT_MS = 24 * HOUR_MS;
/** Disk space of one service's stream by default. */
export const STREAM_BYTES_MAX_DEFAULT = 1024 ** 3;
/** How long the server recognises a message id. A courtesy: nothing depends on it. */
const DUPLICATE_WINDOW_MS = 120 * SECOND_MS;
/** Messages asked for at once by a subscription: with 512 KiB a batch, at most 4 MiB wait in memory. */
const PORTION = 8;
/** Deliveries of one durable that may be unacknowledged. */
const MAX_ACK_PENDING = 64;
/** An idle request for messages is renewed after this time. */
const FETCH_EXPIRES_MS = 30 * SECOND_MS;
/** Pause before a failed subscription is set up again. */
const RESUBSCRIBE_MS = 250;
/** JetStream's answer to a stream that exists with another configuration. */
const STREAM_CONFIGURED_OTHERWISE = 10058;
/** JetStream's answer about a stream that does not exist. */
const STREAM_NOT_FOUND = 10059;
/** JetStream's answer where it knows of fewer servers than a stream wants copies. */
const TOO_FEW_SERVERS = 10005;
/** After this time more copies are asked for again, with the next message. */
const COPIES_RETRY_MS = 5 * SECOND_MS;
/** JetStream's answer where the space for a stream cannot be reserved. */
const NO_ROOM_FOR_STREAM = 10047;

export interface NatsBusOptions extends NatsAccess {
  readonly clock: Clock;
  /** Copies of each stream in a cluster; default 1. */
  readonly replicas?: number;
  /** After this time without a word from its receiver a message is delivered again; default 30,000. */
  readonly ackWaitMs?: number;
  /** How long a publish waits for its acknowledgement; default 5,000. */
  readonly publishTimeoutMs?: number;
  /** Disk space the server reserves for one service's stream; the oldest messages make room. Default 1 GiB. */
  readonly streamBytesMax?: number;
  /** How long messages stay at most, in milliseconds; consumers read what is older from its source. Default 24 hours. */
  readonly streamAgeMaxMs?: number;
  /** Keeps several systems apart on one server: put before every stream and subject. Letters and digits. */
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
 * The bus on NATS JetStream: one file-storage stream per source, created when the source first uses it and created again when
 * the server forgot it. Waits for the server to come up, reconnects for ever, and gives up only on `close`.
 * @throws Error when a server refuses us: see `connectNats`
 */
export const natsBus = async (options: NatsBusOptions): Promise<NatsBus> => {
  const { clock, replicas = 1, ackWaitMs = 30 * SECOND_MS, publishTimeoutMs = 5 * SECOND_MS, log } = options;
  const { streamBytesMax = STREAM_BYTES_MAX_DEFAULT, streamAgeMaxMs = STREAM_AGE_MAX_DEFAULT_MS } = options;
  const prefix = options.namespace ? { stream: `${options.namespace}_`, subject: `${options.namespace}.` } : undefined;
  const streamName = (stream: string): string => `${prefix?.stream ?? ''}${stream}`;
  const subjectName = (subject: string): string => `${prefix?.subject ?? ''}${subject}`;

  const connection = await connectNats(options, { clock, log, signal: options.signal });
  const publishing = acknowledgedPublishing(connection, {
    clock,
    timeoutMs: publishTimeoutMs,
    ...(options.inboxPrefix === undefined ? {} : { inboxPrefix: options.inboxPrefix }),
  });
  const consumers = jetstream(connection, { timeout: publishTimeoutMs }).consumers;
  // The server may be up before its JetStream is; every call finds out for itself, and is repeated by its caller.
  const manager = await jetstreamManager(connection, { timeout: publishTimeoutMs, checkAPI: false });
  const created = new Map<string, Ensured>();
  const copies =
    log &&
    failureLog({
      log,
      clock,
      failing: 'stream has one copy until NATS has more servers',
      back: 'stream has its copies',
    });
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
      created.clear();
      // A request for messages dies with its connection; stopped here it is made anew at once instead of timing out.
      for (const messages of fetching) messages.stop();
    }
  };
  const watching = watchConnection();

  /** @returns whether the stream has as many copies as it should */
  const createStream = async (service: string): Promise<boolean> => {
    const config: Partial<StreamConfig> & { name: string } = {
      name: streamName(streamOf(service)),
      subjects: [subjectName(subjectsOf(service))],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.Old,
      max_age: nanos(streamAgeMaxMs),
      max_bytes: streamBytesMax,
      // The server takes none that is longer than messages stay.
      duplicate_window: nanos(Math.min(DUPLICATE_WINDOW_MS, streamAgeMaxMs)),
      num_replicas: replicas,
    };
    try {
      await manager.streams.add(config).catch((error: unknown) => {
        if (codeOf(error) !== STREAM_CONFIGURED_OTHERWISE) throw error;
        return manager.streams.update(config.name, config);
      });
    } catch (error) {
      if (codeOf(error) === NO_ROOM_FOR_STREAM) throw noRoom(config.name, streamBytesMax, error);
      if (codeOf(error) !== TOO_FEW_SERVERS || replicas === 1) throw error;
      copies?.failed(error, { stream: config.name, replicas });
      // One is down at the moment; or servers that came up slowly have formed a cluster without one of theirs, which they take
      // in when that one starts again, and never before. Facts are told meanwhile.
      await manager.streams.add({ ...config, num_replicas: 1 }).catch((failure: unknown) => {
        // It is there, as it was made before.
        if (codeOf(failure) !== STREAM_CONFIGURED_OTHERWISE) throw failure;
      });
      return false;
    }
    copies?.succeeded();
    return true;
  };

  /** Sees to it that the stream of a service exists; what succeeded once is trusted until something fails. */
  const ensureStream = (service: string): Promise<void> => {
    const known = created.get(service);
    if (known && clock.monotonicMs() < known.untilMs) return known.done;
    const ensured: Ensured = { untilMs: Number.POSITIVE_INFINITY, done: Promise.resolve() };
    ensured.done = createStream(service).then(
      (isWhole) => {
        if (!isWhole) ensured.untilMs = clock.monotonicMs() + COPIES_RETRY_MS;
      },
      (error: unknown) => {
        created.delete(service);
        throw error;
      },
    );
    created.set(service, ensured);
    return ensured.done;
  };

  /** Runs a call on a service's stream; a failure makes the next call create the stream again, should it be gone. */
  const onStream = async <T>(service: string, call: () => Promise<T>): Promise<T> => {
    try {
      await ensureStream(service);
      return await call();
    } catch (error) {
      created.delete(service);
      throw named(error);
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
          // Its source has not come up yet; nobody else may make its stream.
          const isToCome = error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND;
          if (!isToCome) attempts?.failed(error, { durable });
          await clock.sleep(RESUBSCRIBE_MS, interest.signal);
        }
      }
    },
    session: () => session,
    outage: () => lost,
    isConnected: () => lost === undefined && !connection.isClosed(),
    async close() {
      await connection.close();
      publishing.interrupted();
      await watching;
    },
  };
};

/** A stream that is looked after. */
interface Ensured {
  /** Monotonic time from which on it is looked after again. */
  untilMs: number;
  /** Resolves once it is there. */
  done: Promise<void>;
}

const codeOf = (error: unknown): number | undefined => (error instanceof JetStreamApiError ? error.code : undefined);

const asDelivery = (message: JsMsg): Delivery => ({
  bytes: message.data,
  deliveryCount: message.info.deliveryCount,
  ack: () => message.ack(),
  nak: (delayMs) => message.nak(delayMs),
  working: () => message.working(),
});

const noRoom = (stream: string, bytes: number, cause: unknown): Error =>
  new Error(
    `the NATS server has no room for stream ${stream}, which reserves ${bytes} bytes: give JetStream more space, delete ` +
      'streams nobody needs, or lower NATS_STREAM_BYTES_MAX',
    { cause },
  );

/** Deletes every stream whose name begins so, with its messages and consumers. For systems that are gone for good. */
export const deleteStreams = async (server: string, prefix: string): Promise<void> => {
  const connection = await connect({ servers: server });
  try {
    const { streams } = await jetstreamManager(connection);
    const names: string[] = [];
    for await (const name of streams.names()) if (name.startsWith(prefix)) names.push(name);
    for (const name of names) await streams.delete(name);
  } finally {
    await connection.close();
  }
};
