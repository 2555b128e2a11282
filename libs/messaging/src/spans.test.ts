import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Fact, FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { currentTraceparent, inSpan, seededRandom, startTelemetry, traceIdOf } from '@interlock/runtime';
import { SpanKind } from '@opentelemetry/api';
import { causeOf } from './handlers.ts';
import { inProcessSpan, inSendSpan } from './spans.ts';

interface Ended {
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

const decide = async (): Promise<string> => (await inSpan(tracer, 'decide', {}, currentTraceparent)) ?? '';
const factOf = (position: number, traceparent: string): Fact => ({
  position,
  eventId: `event-${position}`,
  stream: 'disk-1',
  version: position,
  eventTime: undefined,
  type: 'Changed',
  payload: Buffer.alloc(0),
  correlationId: 'correlation',
  causationId: 'request',
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

test('one fact: decided → sent → processed is one trace, parent to child', async () => {
  const traceparent = await decide();
  let sent: FactBatch | undefined;
  await inSendSpan(tracer, batchOf(factOf(1, traceparent)), async (batch) => {
    sent = batch;
  });
  const send = last();
  assert.deepEqual([send.name, send.kind], ['send src', SpanKind.PRODUCER]);
  assert.equal(send.parentId, spanIdOf(traceparent));
  const received = sent ?? assert.fail('nothing was sent');
  const cause = await inProcessSpan(tracer, received, {}, async () =>
    causeOf(received.facts[0] ?? assert.fail(), 'dst'),
  );
  const process = last();
  assert.deepEqual([process.name, process.kind], ['process src', SpanKind.CONSUMER]);
  assert.deepEqual([process.parentId, process.linked], [send.spanId, [send.spanId]]);
  assert.equal(process.traceId, traceIdOf(traceparent));
  assert.equal(spanIdOf(cause.traceparent), process.spanId);
  assert.deepEqual([cause.causationId, cause.correlationId, cause.caller], ['event-1', 'correlation', 'system:dst']);
});

test('several facts of one trace stay in it, with links', async () => {
  const traceparent = await decide();
  const batch = batchOf(factOf(1, traceparent), factOf(2, traceparent));
  await inProcessSpan(tracer, batch, {}, async () => undefined);
  assert.equal(last().traceId, traceIdOf(traceparent));
  assert.deepEqual(last().linked, [spanIdOf(traceparent)]);
});

test('facts of several traces are linked, at most 128; what follows from each stays in its own trace (G10)', async () => {
  const traceparents = await Promise.all(Array.from({ length: 200 }, decide));
  const facts = traceparents.map((traceparent, index) => factOf(index + 1, traceparent));
  const causes = await inProcessSpan(tracer, batchOf(...facts), {}, async () =>
    facts.map((fact) => causeOf(fact, 'dst')),
  );
  assert.equal(last().parentId, undefined);
  assert.equal(last().linked.length, 128);
  assert.deepEqual(
    causes.map((cause) => traceIdOf(cause.traceparent)),
    traceparents.map(traceIdOf),
  );
  await inSendSpan(tracer, batchOf(...facts), async (batch) => assert.deepEqual(batch.facts, facts));
  assert.equal(last().linked.length, 128);
});
