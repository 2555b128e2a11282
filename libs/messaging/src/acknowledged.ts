import type { Clock } from '@interlock/runtime';
import { JetStreamApiError, PubHeaders } from '@nats-io/jetstream';
import { createInbox, headers, type Msg, type NatsConnection } from '@nats-io/transport-node';

/** No stream takes the subject of a message, or the server runs without JetStream. */
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
   * @throws JetStreamApiError when it says that it has not; Error when it has said nothing
   */
  publish(subject: string, messageId: string, bytes: Uint8Array): Promise<void>;
  /** Gives up what is not acknowledged yet: the answers to it went where the connection was, or nobody waits for them any more. */
  interrupted(): void;
  /** Gives up what was published to a subject that we may not publish to: no answer comes to that. */
  forbidden(subject: string, error: Error): void;
}

interface Unacknowledged {
  readonly subject: string;
  readonly dueMs: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Of a message on an empty subject of answers: nobody was there to take it. */
const NO_RESPONDERS = 503;

/**
 * Publishes with all acknowledgements on one subject of our own. The library's `publish` is a request each: with a timer and
 * up to three errors made beforehand, should it fail, which is most of what it costs.
 * @param timeoutMs after so long without an acknowledgement it is not known whether a message was stored
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
  /** By the last token of the subject of the answer, in the order they were published, which is that of their time. */
  const unacknowledged = new Map<string, Unacknowledged>();
  let published = 0;
  let watching: { cancel(): void } | undefined;

  const take = (token: string): Unacknowledged | undefined => {
    const one = unacknowledged.get(token);
    unacknowledged.delete(token);
    return one;
  };

  /** One alarm for the oldest of all: most are answered long before it. */
  const watchTime = (): void => {
    const [oldest] = unacknowledged.values();
    watching = oldest && clock.alarm(Math.max(1, oldest.dueMs - clock.monotonicMs()), giveUpLate);
  };

  const giveUpLate = (): void => {
    const nowMs = clock.monotonicMs();
    for (const [token, { dueMs }] of unacknowledged) {
      if (dueMs > nowMs) break;
      take(token)?.reject(new Error(`JetStream has not acknowledged a message within ${timeoutMs} ms`));
    }
    watchTime();
  };

  connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      // What is wrong with the subscription itself shows as answers that do not come.
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

/** Never throws: in this place that would end the reading of the connection. */
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

/** Of what JetStream answers: where it has stored the message, or why it has not. */
interface Acknowledgement {
  readonly error?: ConstructorParameters<typeof JetStreamApiError>[0];
  readonly seq?: number;
}

/** Somebody else has answered, who took the message off the subject: whether it was stored is not known. */
const notAcknowledged = ({ headers: head, data }: Msg, cause?: unknown): Error =>
  new Error(
    `what answered is no acknowledgement of JetStream (status ${head?.code ?? 'none'}, ${data.length} bytes): ` +
      'something else listens to this subject',
    { cause },
  );
