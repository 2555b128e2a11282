import type { JsMsg } from '@nats-io/jetstream';
import { type Context, context, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { overriding } from './overriding.ts';
import type { JetStreamTracing, OpenOperation, Received } from './tracing.ts';

/** Header of JetStream with the id that a publisher gave its message. */
const MESSAGE_ID = 'Nats-Msg-Id';

interface Known {
  readonly tracing: JetStreamTracing;
  readonly received: Received;
  /** The span that processes the message, while it runs. */
  processing?: OpenOperation;
}

const known = new WeakMap<JsMsg, Known>();

const factsOf = (message: JsMsg): Known => {
  const facts = known.get(message);
  if (facts === undefined) throw new TypeError('the message was not received through instrumentJetStream');
  return facts;
};

/** What is known of received messages. @throws TypeError for a message of another client, and for no message */
export const receivedOf = (messages: readonly JsMsg[]): Received => {
  const all = messages.map((message) => factsOf(message).received);
  const [first] = all;
  if (first === undefined) throw new TypeError('a batch must have at least one message');
  if (all.length === 1) return first;
  const { subject, consumer, stream } = first;
  const isOneSubject = all.every((one) => one.subject === subject);
  return {
    subject: isOneSubject ? subject : (stream ?? subject),
    consumer,
    stream,
    batchCount: all.length,
    contexts: all.flatMap(({ contexts }) => contexts),
  };
};

/**
 * The context of a received message, for work outside of its loop: of its span `process` while that runs, otherwise of the span that
 * published it.
 * @returns the root context for a message of another client
 */
export const contextOf = (message: JsMsg): Context => {
  const facts = known.get(message);
  return facts?.processing?.context ?? facts?.received.contexts[0] ?? ROOT_CONTEXT;
};

/** Starts the span `process` of a message, which ends with the returned function. */
export const startProcessing = (message: JsMsg): OpenOperation => {
  const facts = factsOf(message);
  const open = facts.tracing.startProcessing(facts.received);
  facts.processing = open;
  return {
    ...open,
    end(error) {
      delete facts.processing;
      open.end(error);
    },
  };
};

/**
 * Runs `work` in the span `process` of a message, which records its error. In a loop that has started the span, that one is used.
 * @throws TypeError for a message of another client
 */
export const processMessage = async <Result>(message: JsMsg, work: () => Promise<Result> | Result): Promise<Result> => {
  const running = factsOf(message).processing;
  const open = running ?? startProcessing(message);
  try {
    const result = await context.with(open.context, work);
    if (running === undefined) open.end();
    return result;
  } catch (error) {
    if (running === undefined) open.end(error);
    else open.fail(error);
    throw error;
  }
};

/** The message with a settle span for each `ack`, `nak`, `term` and `ackAck`. */
export const tracedMessage = (tracing: JetStreamTracing, message: JsMsg): JsMsg => {
  const { consumer, stream, deliveryCount } = message.info;
  const headers = message.headers;
  const received: Received = {
    subject: message.subject,
    consumer,
    stream,
    messageId: headers?.has(MESSAGE_ID) ? headers.get(MESSAGE_ID) : undefined,
    deliveryCount,
    contexts: [tracing.contextOf(headers)],
  };
  const facts: Known = { tracing, received };
  const begin = (operation: string): OpenOperation => {
    const running = context.active();
    const hasSpan = trace.getSpanContext(running) !== undefined;
    return tracing.settle(operation, received, hasSpan ? running : facts.processing?.context);
  };
  const settle = (operation: string, call: () => void): void => {
    const open = begin(operation);
    let failure: unknown;
    try {
      call();
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      open.end(failure);
    }
  };
  const traced = overriding(message, {
    ack: () => settle('ack', () => message.ack()),
    nak: (millis) => settle('nak', () => message.nak(millis)),
    term: (reason) => settle('term', () => message.term(reason)),
    async ackAck(opts) {
      const open = begin('ack');
      try {
        const isAcknowledged = await message.ackAck(opts);
        open.end();
        return isAcknowledged;
      } catch (error) {
        open.end(error);
        throw error;
      }
    },
  });
  known.set(traced, facts);
  return traced;
};
