import type { Fact, FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { contextFromTraceparent, currentTraceparent, inSpan, linkTo, traceIdOf } from '@interlock/runtime';
import { type Attributes, type Context, type Link, ROOT_CONTEXT, SpanKind, type Tracer } from '@opentelemetry/api';

/** Most links on the span of a batch. */
const LINKS_MAX = 128;

const linksOf = (facts: readonly Fact[]): readonly Link[] => {
  const causes = new Set<string>();
  for (const { traceparent } of facts) {
    if (causes.size === LINKS_MAX) break;
    causes.add(traceparent);
  }
  return [...causes].flatMap((traceparent) => linkTo(traceparent) ?? []);
};

/** Attributes by OpenTelemetry's conventions for messaging. */
const attributesOf = (batch: FactBatch, operation: 'send' | 'process'): Attributes => ({
  'messaging.system': 'nats',
  'messaging.operation.name': operation,
  'messaging.operation.type': operation,
  'messaging.destination.name': batch.source,
  'messaging.destination.partition.id': String(batch.partition),
  'messaging.message.id': `${batch.firstPosition}-${batch.lastPosition}`,
  'messaging.batch.message_count': batch.facts.length,
});

/** Parent of a batch's span: the first fact's span if all facts belong to one trace, otherwise no parent. */
const parentOf = ([first, ...others]: readonly Fact[]): Context => {
  const traceId = traceIdOf(first?.traceparent);
  // Facts of one change have the same text, which need not be parsed again.
  const isOfTrace = ({ traceparent }: Fact): boolean =>
    traceparent === first?.traceparent || traceIdOf(traceparent) === traceId;
  const isOneTrace = others.every(isOfTrace);
  return isOneTrace ? contextFromTraceparent(first?.traceparent) : ROOT_CONTEXT;
};

/**
 * Runs `send` in a PRODUCER span `send <service>`, linked to the spans of its facts, and their child if they belong to one trace. If
 * the batch has one fact, that carries the sending span as its trace context, so that its processing is a child of it.
 */
export const inSendSpan = (
  tracer: Tracer,
  batch: FactBatch,
  send: (batch: FactBatch) => Promise<void>,
): Promise<void> => {
  const [first] = batch.facts;
  const only = batch.facts.length === 1 ? first : undefined;
  const options = {
    kind: SpanKind.PRODUCER,
    attributes: attributesOf(batch, 'send'),
    parent: parentOf(batch.facts),
    links: only ? [] : linksOf(batch.facts),
  };
  return inSpan(tracer, `send ${batch.source}`, options, () => {
    const traceparent = currentTraceparent();
    return send(only && traceparent ? { ...batch, facts: [{ ...only, traceparent }] } : batch);
  });
};

/**
 * Runs `process` in a CONSUMER span `process <service>`, linked to the spans of its facts, and their child if they belong to one
 * trace.
 */
export const inProcessSpan = <Result>(
  tracer: Tracer,
  batch: FactBatch,
  extra: Attributes,
  process: () => Promise<Result>,
): Promise<Result> => {
  const options = {
    kind: SpanKind.CONSUMER,
    attributes: { ...attributesOf(batch, 'process'), ...extra },
    parent: parentOf(batch.facts),
    links: linksOf(batch.facts),
  };
  return inSpan(tracer, `process ${batch.source}`, options, process);
};

/** Trace context of the effect of a fact: the current span if it belongs to the fact's trace, else the fact's own. */
export const traceparentAfter = (fact: Fact): string | undefined => {
  const current = currentTraceparent();
  if (!fact.traceparent || traceIdOf(current) === traceIdOf(fact.traceparent)) return current;
  return fact.traceparent;
};
