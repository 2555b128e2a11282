import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Fact, FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { RecordedEvent } from '@interlock/event-store';
import { currentTraceparent, inSpan, seededRandom, traceIdOf, virtualClock } from '@interlock/runtime';
import { startTelemetry } from '@interlock/runtime/telemetry';
import { type Attributes, type Context, context, propagation, SpanKind, trace } from '@opentelemetry/api';
import { messageIdOf } from './batches.ts';
import type { Delivery } from './bus.ts';
import { renderFact } from './facts.ts';
import { causeOf } from './handlers.ts';
import { memoryBus } from './memory-bus.ts';
import { factSpans } from './spans.ts';
import { streamOf, subjectOf } from './subjects.ts';

interface Ended {
  readonly attributes: Attributes;
  readonly name: string;
  readonly kind: SpanKind;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | undefined;
  readonly linked: readonly string[];
}

const ended: Ended[] = [];
const telemetry = startTelemetry({
  service: 'test',
  random: seededRandom(1),
  processors: [
    {
      onStart: () => undefined,
      onEnd: (span) => {
        const { traceId, spanId } = span.spanContext();
        const linked = span.links.map((link) => link.context.spanId);
        ended.push({
          name: span.name,
          kind: span.kind,
          attributes: span.attributes,
          traceId,
          spanId,
          parentId: span.parentSpanContext?.spanId,
          linked,
        });
      },
      forceFlush: async () => undefined,
      shutdown: async () => undefined,
    },
  ],
});
after(() => telemetry.shutdown());
const { tracer } = telemetry;
const spans = factSpans({ tracer, clock: virtualClock(), consumer: 'dst' });

const decide = async (): Promise<string> => (await inSpan(tracer, 'decide', {}, currentTraceparent)) ?? '';
const factOf = (position: number, traceparent: string): Fact => ({
  position,
  stream: 'disk-1',
  version: position,
  eventTime: undefined,
  type: 'Changed',
  payload: Buffer.alloc(0),
  correlationId: 'correlation',
  causes: [],
  caller: '',
  traceparent,
});
const batchOf = (...facts: Fact[]): FactBatch => ({
  source: 'src',
  partition: 0,
  partitionCount: 4,
  previousPosition: 0,
  firstPosition: facts[0]?.position ?? 0,
  lastPosition: facts.at(-1)?.position ?? 0,
  facts,
});
const spanIdOf = (traceparent: string | undefined): string | undefined => traceparent?.split('-')[2];
const last = (): Ended => ended.at(-1) ?? assert.fail('no span ended');

/** Publishes over the memory bus: the delivery has the context of the span that published it. */
const overBus = async (batch: FactBatch): Promise<Delivery> => {
  const bus = memoryBus({ clock: virtualClock(), random: seededRandom(1) });
  const subject = subjectOf(batch.source, batch.partition);
  await spans.publish(batch, () => bus.publish(subject, messageIdOf(batch), new Uint8Array()));
  const interest = { stream: streamOf(batch.source), subject, durable: 'dst', signal: new AbortController().signal };
  for await (const delivery of bus.subscribe(interest)) return delivery;
  return assert.fail('nothing was delivered');
};

test('trace state and baggage of a request reach the message of its fact, the consumer and the effect', async () => {
  const fact = { ...factOf(1, await decide()), tracestate: 'vendor=a', baggage: 'tenant=b' };
  const batch = batchOf(fact);
  const delivery = await overBus(batch);
  const seen = (active: Context) => [
    trace.getSpanContext(active)?.traceState?.serialize(),
    propagation.getBaggage(active)?.getEntry('tenant')?.value,
  ];
  assert.deepEqual(seen(delivery.context), ['vendor=a', 'b']);
  const cause = await spans.process(batch, [delivery], {}, async () => {
    assert.deepEqual(seen(context.active()), ['vendor=a', 'b']);
    return causeOf(fact, 'dst');
  });
  assert.deepEqual([cause.tracestate, cause.baggage], ['vendor=a', 'tenant=b']);
  const stored = {
    position: 1,
    stream: 'disk-1',
    version: 1,
    type: 'Changed',
    schema: 1,
    data: {},
    id: 'x',
    time: 0,
    cause,
  };
  const published = renderFact(stored as RecordedEvent, () => ({ type: 'Changed', payload: Buffer.alloc(0) }));
  assert.deepEqual([published?.tracestate, published?.baggage], ['vendor=a', 'tenant=b']);
});

test('an unsampled request stays unsampled in its message and its consumer', async () => {
  const count = ended.length;
  const fact = factOf(1, `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`);
  const delivery = await overBus(batchOf(fact));
  assert.equal(trace.getSpanContext(delivery.context)?.traceFlags, 0);
  const cause = await spans.process(batchOf(fact), [delivery], {}, async () => causeOf(fact, 'dst'));
  assert.match(cause.traceparent ?? '', /-00$/);
  assert.equal(ended.length, count, 'nothing is recorded');
});

test('one fact: decided → published → processed → acknowledged is one trace, parent to child', async () => {
  const traceparent = await decide();
  const batch = batchOf(factOf(1, traceparent));
  const delivery = await overBus(batch);
  const publish = last();
  assert.deepEqual([publish.name, publish.kind], ['publish interlock.src.0', SpanKind.PRODUCER]);
  assert.equal(publish.attributes['messaging.message.id'], messageIdOf(batch));
  assert.equal(publish.attributes['messaging.batch.message_count'], undefined);
  assert.deepEqual([publish.parentId, publish.linked], [spanIdOf(traceparent), [spanIdOf(traceparent)]]);
  const cause = await spans.process(batch, [delivery], {}, async () => causeOf(factOf(1, traceparent), 'dst'));
  const process = last();
  assert.deepEqual([process.name, process.kind], ['process interlock.src.0', SpanKind.CONSUMER]);
  assert.deepEqual([process.parentId, process.linked], [publish.spanId, [publish.spanId, spanIdOf(traceparent)]]);
  assert.equal(process.traceId, traceIdOf(traceparent));
  assert.equal(spanIdOf(cause.traceparent), process.spanId);
  assert.deepEqual(
    [cause.causes, cause.correlationId, cause.caller],
    [[{ id: 'disk-1@1', kind: 'message' }], 'correlation', 'system:dst'],
  );
  spans.settle('ack', batch, delivery, () => delivery.ack());
  assert.deepEqual(
    [last().name, last().kind, last().parentId],
    ['ack interlock.src.0', SpanKind.CLIENT, publish.spanId],
  );
});

test('facts of one trace that are read from the feed are processed in that trace, with a link', async () => {
  const traceparent = await decide();
  const batch = batchOf(factOf(1, traceparent), factOf(2, traceparent));
  await spans.process(batch, [], {}, async () => undefined);
  assert.equal(last().traceId, traceIdOf(traceparent));
  assert.deepEqual([last().parentId, last().linked], [spanIdOf(traceparent), [spanIdOf(traceparent)]]);
});

test('a span has links to at most 128 facts of several traces; each effect stays in its own trace (G10)', async () => {
  const traceparents = await Promise.all(Array.from({ length: 200 }, decide));
  const facts = traceparents.map((traceparent, index) => factOf(index + 1, traceparent));
  const delivery = await overBus(batchOf(...facts));
  const publish = last();
  assert.deepEqual([publish.parentId, publish.linked.length], [undefined, 128]);
  // Each message has a context of its own. The span of the batch is no such context, and the batch has no id of a message.
  assert.equal(publish.kind, SpanKind.CLIENT);
  assert.equal(publish.attributes['messaging.batch.message_count'], 200);
  assert.equal(publish.attributes['messaging.message.id'], undefined);
  const causes = await spans.process(batchOf(...facts), [delivery], {}, async () =>
    facts.map((fact) => causeOf(fact, 'dst')),
  );
  assert.deepEqual([last().parentId, last().linked.length], [publish.spanId, 128]);
  assert.deepEqual(
    causes.map((cause) => traceIdOf(cause.traceparent)),
    traceparents.map(traceIdOf),
  );
});

test('a watermark has no span for its acknowledgement', async () => {
  const before = ended.length;
  const delivery = await overBus(batchOf(factOf(1, await decide())));
  const made = ended.length;
  spans.settle('ack', batchOf(), delivery, () => delivery.ack());
  assert.ok(made > before);
  assert.equal(ended.length, made);
});
