import { headerSetter } from '@interlock/otel-jetstream';
import type { Clock } from '@interlock/runtime';
import { JetStreamApiError, PubHeaders } from '@nats-io/jetstream';
import { createInbox, headers, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { context, propagation } from '@opentelemetry/api';

/** No stream accepts the subject of a message, or the server runs without JetStream. */
export class NoStream extends Error {
  override readonly name = 'NoStream';

  constructor() {
    super('NATS has no stream for this subject, or runs without JetStream');
  }
}

/** Publishes to JetStream, with acknowledgements. */
export interface AcknowledgedPublishing {
  /**
   * Resolves once JetStream has stored the message.
   * @throws JetStreamApiError when it refuses the message; Error when it does not respond
   */
  publish(subject: string, messageId: string, bytes: Uint8Array): Promise<void>;
  /** Fails all unacknowledged messages: their acknowledgements were lost with the connection. */
  interrupted(): void;
  /** Fails messages to a subject that this process may not publish to: the server does not respond to them. */
  forbidden(subject: string, error: Error): void;
}

interface Unacknowledged {
  readonly subject: string;
  readonly dueMs: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Status of an empty response: no stream accepts the subject. */
const NO_RESPONDERS = 503;

/**
 * Publishes with all acknowledgements on one subject. The library's `publish` makes a request with a timer and up to three prepared
 * errors for each message, which is most of its cost.
 * @param timeoutMs after this time without an acknowledgement a message fails; it may be stored nevertheless
 */
export const acknowledgedPublishing = (
  connection: NatsConnection,
  {
    clock,
    timeoutMs,
    inboxPrefix,
  }: { readonly clock: Clock; readonly timeoutMs: number; readonly inboxPrefix?: string },
): AcknowledgedPublishing => {
  const inbox = createInbox(inboxPrefix);
  /** By the last token of the reply subject, in the order of publishing and so of their due times. */
  const unacknowledged = new Map<string, Unacknowledged>();
  let published = 0;
  let watching: { cancel(): void } | undefined;

  const take = (token: string): Unacknowledged | undefined => {
    const one = unacknowledged.get(token);
    unacknowledged.delete(token);
    return one;
  };

  /** One alarm, for the oldest: most are acknowledged long before. */
  const watchTime = (): void => {
    const [oldest] = unacknowledged.values();
    watching = oldest && clock.alarm(Math.max(1, oldest.dueMs - clock.monotonicMs()), failLate);
  };

  const failLate = (): void => {
    const nowMs = clock.monotonicMs();
    for (const [token, { dueMs }] of unacknowledged) {
      if (dueMs > nowMs) break;
      take(token)?.reject(new Error(`JetStream did not acknowledge a message within ${timeoutMs} ms`));
    }
    watchTime();
  };

  connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      // A failure of the subscription shows as missing acknowledgements.
      if (error) return;
      const one = take(message.subject.slice(inbox.length + 1));
      const refusal = refusalIn(message);
      if (refusal === undefined) one?.resolve();
      else one?.reject(refusal);
    },
  });

  return {
    publish: (subject, messageId, bytes) =>
      new Promise((resolve, reject) => {
        published += 1;
        const token = String(published);
        const head = headers();
        head.set(PubHeaders.MsgIdHdr, messageId);
        propagation.inject(context.active(), head, headerSetter);
        connection.publish(subject, bytes, { headers: head, reply: `${inbox}.${token}` });
        unacknowledged.set(token, { subject, dueMs: clock.monotonicMs() + timeoutMs, resolve, reject });
        if (watching === undefined) watchTime();
      }),
    interrupted() {
      watching?.cancel();
      watching = undefined;
      for (const token of [...unacknowledged.keys()]) take(token)?.reject(new Error('the connection to NATS was lost'));
    },
    forbidden(subject, error) {
      for (const [token, one] of unacknowledged) if (one.subject === subject) take(token)?.reject(error);
    },
  };
};

/** Never throws: an exception here would end the reading of the connection. */
const refusalIn = (message: Msg): Error | undefined => {
  if (message.data.length === 0 && message.headers?.code === NO_RESPONDERS) {
    return new NoStream();
  }
  try {
    const { error, seq } = message.json<Acknowledgement>();
    if (error) return new JetStreamApiError(error);
    return seq === undefined ? notAcknowledged(message) : undefined;
  } catch (cause) {
    return notAcknowledged(message, cause);
  }
};

/** Response of JetStream: the sequence of the stored message, or an error. */
interface Acknowledgement {
  readonly error?: ConstructorParameters<typeof JetStreamApiError>[0];
  readonly seq?: number;
}

/** Another subscriber of the subject has responded: whether the message was stored is unknown. */
const notAcknowledged = ({ headers: head, data }: Msg, cause?: unknown): Error =>
  new Error(
    `the response is no acknowledgement of JetStream (status ${head?.code ?? 'none'}, ${data.length} bytes): ` +
      'another subscriber consumes this subject; stop it',
    { cause },
  );
