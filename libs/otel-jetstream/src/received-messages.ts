import type { ConsumerCallbackFn, ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import { context } from '@opentelemetry/api';
import { MessagingAttribute } from './conventions.ts';
import { overriding } from './overriding.ts';
import { receivedOf, startProcessing, tracedMessage } from './received-message.ts';
import { type JetStreamTracing, linksTo, type OpenOperation } from './tracing.ts';

/** How an iteration makes spans. */
export interface IterationOptions {
  /** Whether each iterated message has a span `process`, from its delivery to the next one. */
  readonly processEach: boolean;
  /** The span of the request for the messages, which gets a link to each and ends with the iteration. */
  readonly request?: OpenOperation;
}

/** Links the span of a request to the span that published a message it received. */
export const noteReceived = ({ span }: OpenOperation, message: JsMsg): void => {
  span.addLinks([...linksTo(receivedOf([message]).contexts)]);
};

/** The iterator with spans. An error of the loop's body ends its span, without the error: `processMessage` records it. */
export const tracedMessages = (
  tracing: JetStreamTracing,
  messages: ConsumerMessages,
  { processEach, request }: IterationOptions,
): ConsumerMessages => {
  const iterate = async function* (): AsyncGenerator<JsMsg, void, void> {
    let count = 0;
    let failure: unknown;
    try {
      for await (const one of messages) {
        count += 1;
        const message = tracedMessage(tracing, one);
        if (request !== undefined) noteReceived(request, message);
        const open = processEach ? startProcessing(message) : undefined;
        try {
          yield message;
        } finally {
          open?.end();
        }
      }
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      request?.span.setAttribute(MessagingAttribute.batchCount, count);
      request?.end(failure);
    }
  };
  return overriding(messages, { [Symbol.asyncIterator]: iterate });
};

/** A callback for each message that runs in the span `process` of its message. */
export const tracedCallback =
  (tracing: JetStreamTracing, callback: ConsumerCallbackFn) =>
  (one: JsMsg): void => {
    const message = tracedMessage(tracing, one);
    const open = startProcessing(message);
    let result: unknown;
    try {
      result = context.with(open.context, callback, undefined, message);
    } catch (error) {
      open.end(error);
      throw error;
    }
    if (!(result instanceof Promise)) open.end();
    else result.then(() => open.end(), open.end);
  };
