import type {
  ConsumeOptions,
  Consumer,
  ConsumerMessages,
  Consumers,
  FetchOptions,
  JetStreamClient,
  JsMsg,
  PushConsumer,
} from '@nats-io/jetstream';
import { headers as createHeaders } from '@nats-io/nats-core';
import type { JetStreamTracingOptions } from './options.ts';
import { overriding } from './overriding.ts';
import { receivedOf, tracedMessage } from './received-message.ts';
import { noteReceived, tracedCallback, tracedMessages } from './received-messages.ts';
import { type JetStreamTracing, jetStreamTracing } from './tracing.ts';

/** Options of `instrumentJetStream`. */
export interface InstrumentOptions extends JetStreamTracingOptions {
  /**
   * Whether each iterated message has a span `process`, from its delivery to the next one; default true. Turn it off for messages
   * that are processed in batches, with `processBatch`.
   */
  readonly processEach?: boolean;
}

/** A client of JetStream with spans. */
export type InstrumentedJetStream = JetStreamClient & {
  /** Runs `work` in one span for several received messages, with a link to each. */
  processBatch<Result>(messages: readonly JsMsg[], work: () => Promise<Result> | Result): Promise<Result>;
};

/**
 * Adds OpenTelemetry's spans and metrics to a client of JetStream: `publish`, and everything that consumers of `consumers` receive.
 * The client itself is not changed.
 */
export const instrumentJetStream = (
  client: JetStreamClient,
  { processEach = true, ...options }: InstrumentOptions = {},
): InstrumentedJetStream => {
  const tracing = jetStreamTracing(options);
  const publish: JetStreamClient['publish'] = (subject, payload, given = {}) =>
    tracing.publish({ subject, messageId: given.msgID }, () => {
      const headers = createHeaders();
      // The caller may publish the same headers again, so they are copied.
      for (const key of given.headers?.keys() ?? [])
        for (const value of given.headers?.values(key) ?? []) headers.append(key, value);
      tracing.inject(headers);
      return client.publish(subject, payload, { ...given, headers });
    });
  const processBatch: InstrumentedJetStream['processBatch'] = (messages, work) =>
    tracing.process(receivedOf(messages), work);
  const consumers = tracedConsumers(tracing, client.consumers, processEach);
  return overriding(client as InstrumentedJetStream, { publish, consumers, processBatch });
};

const tracedConsumers = (tracing: JetStreamTracing, consumers: Consumers, processEach: boolean): Consumers =>
  overriding(consumers, {
    get: async (stream, name) => tracedConsumer(tracing, await consumers.get(stream, name), processEach),
    getConsumerFromInfo: (info) => tracedConsumer(tracing, consumers.getConsumerFromInfo(info), processEach),
    getPushConsumer: async (stream, name) =>
      tracedPushConsumer(tracing, await consumers.getPushConsumer(stream, name), processEach),
    getBoundPushConsumer: async (bound) =>
      tracedPushConsumer(tracing, await consumers.getBoundPushConsumer(bound), processEach),
  });

/** The name of a consumer and its stream, without a request to the server. */
const placeOf = async (consumer: Consumer): Promise<{ readonly stream: string; readonly consumer: string }> => {
  const { stream_name: stream, name } = await consumer.info(true);
  return { stream, consumer: name };
};

const tracedConsumer = (tracing: JetStreamTracing, consumer: Consumer, processEach: boolean): Consumer =>
  overriding(consumer, {
    async next(options) {
      const place = await placeOf(consumer);
      const request = tracing.receive('next', { subject: place.stream, ...place });
      try {
        const one = await consumer.next(options);
        const message = one && tracedMessage(tracing, one);
        if (message !== null) noteReceived(request, message);
        request.end();
        return message;
      } catch (error) {
        request.end(error);
        throw error;
      }
    },
    async fetch(options?: FetchOptions) {
      const place = await placeOf(consumer);
      const request = tracing.receive('fetch', { subject: place.stream, ...place });
      const messages = await consumer.fetch(options);
      return tracedMessages(tracing, messages, { processEach, request });
    },
    consume: (options) => consume(tracing, consumer, options, processEach),
  });

const tracedPushConsumer = (tracing: JetStreamTracing, consumer: PushConsumer, processEach: boolean): PushConsumer =>
  overriding(consumer, { consume: (options) => consume(tracing, consumer, options, processEach) });

const consume = async <Options extends ConsumeOptions | undefined>(
  tracing: JetStreamTracing,
  consumer: { consume(options?: Options): Promise<ConsumerMessages> },
  options: Options,
  processEach: boolean,
): Promise<ConsumerMessages> => {
  const callback = options?.callback;
  if (options === undefined || callback === undefined)
    return tracedMessages(tracing, await consumer.consume(options), { processEach });
  return consumer.consume({ ...options, callback: tracedCallback(tracing, callback) });
};
