import type { Fact, FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type ConnectionFacts, jetStreamTracing, linksTo, type Received } from '@interlock/otel-jetstream';
import { type Clock, contextOfWork, currentTraceparent, traceIdOf } from '@interlock/runtime';
import { type Attributes, type Context, ROOT_CONTEXT, type Tracer } from '@opentelemetry/api';
import { messageIdOf } from './batches.ts';
import type { Bus, Delivery } from './bus.ts';
import { durableOf, streamOf, subjectOf } from './subjects.ts';

/** Spans of batches of facts, by OpenTelemetry's conventions for messaging. */
export interface FactSpans {
  /**
   * Runs `publish` in a span `publish <subject>`, linked to the spans of its facts. For one fact it is a PRODUCER span below that
   * of the fact. For several it is a CLIENT span without a parent, because each fact has a context of its own.
   */
  publish(batch: FactBatch, publish: () => Promise<void>): Promise<void>;
  /**
   * Runs `work` in a CONSUMER span `process <subject>`, linked to the spans of its facts. It is a child of the span that published
   * the batch; for facts from the feed of the source, of the span of the facts if they belong to one trace.
   */
  process<Result>(
    batch: FactBatch,
    received: readonly Pick<Delivery, 'context' | 'deliveryCount'>[],
    attributes: Attributes,
    work: () => Promise<Result>,
  ): Promise<Result>;
  /** Runs `respond` in a CLIENT span `<operation> <subject>`. A watermark has none: it settles nothing. */
  settle(operation: 'ack' | 'nak' | 'term', batch: FactBatch, delivery: Delivery, respond: () => void): void;
}

/** @param consumer the service that consumes; undefined for one that only publishes @param bus names its server, if it has one */
export const factSpans = (parts: {
  readonly tracer: Tracer;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly consumer?: string;
  readonly bus?: Pick<Bus, 'connection'>;
}): FactSpans => {
  const { tracer, clock, consumer, bus } = parts;
  const server: { readonly connection?: ConnectionFacts } =
    bus?.connection === undefined ? {} : { connection: bus.connection };
  const tracing = jetStreamTracing({ tracer, nowMs: () => clock.monotonicMs(), ...server });
  const receivedOf = (batch: FactBatch, contexts: readonly Context[]): Received => ({
    subject: subjectOf(batch.source, batch.partition),
    stream: streamOf(batch.source),
    // A message with one fact is no batch; a batch has no id of one message.
    ...(isBatch(batch) ? { batchCount: batch.facts.length } : { messageId: messageIdOf(batch) }),
    contexts,
    ...(consumer === undefined ? {} : { consumer: durableOf(consumer, batch.source, batch.partition) }),
  });
  return {
    publish(batch, publish) {
      const contexts = contextsOf(batch.facts);
      const parent = (isBatch(batch) ? undefined : contexts[0]) ?? ROOT_CONTEXT;
      const { subject, messageId, batchCount } = receivedOf(batch, contexts);
      const attributes = partitionAttribute(batch);
      return tracing.publish({ subject, messageId, batchCount, parent, links: linksTo(contexts), attributes }, publish);
    },
    process(batch, received, attributes, work) {
      const facts = contextsOf(batch.facts);
      const [first] = linksTo(received.map(({ context }) => context));
      const contexts = first === undefined ? facts : received.map(({ context }) => context);
      return tracing.process(
        {
          ...receivedOf(batch, contexts),
          deliveryCount: Math.max(1, ...received.map(({ deliveryCount }) => deliveryCount)),
          links: first === undefined ? [] : linksTo(facts),
          attributes: { ...partitionAttribute(batch), ...attributes },
        },
        work,
      );
    },
    settle(operation, batch, { context }, respond) {
      if (batch.facts.length === 0) return respond();
      const open = tracing.settle(
        operation,
        { ...receivedOf(batch, [context]), attributes: partitionAttribute(batch) },
        context,
      );
      try {
        respond();
      } finally {
        open.end();
      }
    },
  };
};

const isBatch = ({ facts }: FactBatch): boolean => facts.length > 1;

const partitionAttribute = ({ partition }: FactBatch): Attributes => ({
  'messaging.destination.partition.id': String(partition),
});

/** Contexts of facts, once for each text: facts of one change have the same. */
const contextsOf = (facts: readonly Fact[]): readonly Context[] =>
  [...new Map(facts.map((fact) => [fact.traceparent, fact])).values()].map(contextOfWork);

/** Trace context of the effect of a fact: the current span if it belongs to the fact's trace, else the fact's own. */
export const traceparentAfter = (fact: Fact): string | undefined => {
  const current = currentTraceparent();
  if (!fact.traceparent || traceIdOf(current) === traceIdOf(fact.traceparent)) return current;
  return fact.traceparent;
};
