import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { logger } from './logger.ts';
import { systemRandom } from './random.ts';
import { startTelemetry, type Telemetry } from './telemetry.ts';
import { contextFromTraceparent, currentTraceparent, inSpan, linkTo, sharedSpans, traceIdOf } from './tracing.ts';

const REMOTE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

const spans = new InMemorySpanExporter();
let telemetry: Telemetry;
before(() => {
  const processors = [new SimpleSpanProcessor({ exporter: spans })];
  telemetry = startTelemetry({ service: 'test', random: systemRandom, processors });
});
after(() => telemetry.shutdown());
afterEach(() => spans.reset());

describe('spans', () => {
  test('spans nest across await, and currentTraceparent names the running span', async () => {
    const traceparent = await inSpan(telemetry.tracer, 'outer', { attributes: { a: 1 } }, async () => {
      await new Promise(setImmediate);
      return inSpan(telemetry.tracer, 'inner', { kind: SpanKind.PRODUCER }, async () => {
        await new Promise(setImmediate);
        return currentTraceparent();
      });
    });
    const [inner, outer] = spans.getFinishedSpans();
    assert.equal(inner?.parentSpanContext?.spanId, outer?.spanContext().spanId);
    assert.equal(inner?.kind, SpanKind.PRODUCER);
    assert.equal(traceparent, `00-${inner?.spanContext().traceId}-${inner?.spanContext().spanId}-01`);
    assert.equal(currentTraceparent(), undefined);
  });

  test('a traceparent continues its trace, as parent and as link', async () => {
    const link = linkTo(REMOTE);
    assert.ok(link);
    const parent = contextFromTraceparent(REMOTE);
    await inSpan(telemetry.tracer, 'consume', { parent, links: [link] }, () => undefined);
    const [span] = spans.getFinishedSpans();
    assert.equal(span?.spanContext().traceId, traceIdOf(REMOTE));
    assert.equal(span?.parentSpanContext?.spanId, 'b7ad6b7169203331');
    assert.equal(span?.links[0]?.context.spanId, 'b7ad6b7169203331');
  });

  test('work that starts in one turn under one parent shares a span, which ends with the last piece', async () => {
    const shared = sharedSpans(telemetry.tracer);
    const { promise: held, resolve: letGo } = Promise.withResolvers<void>();
    const step = (id: string, work: () => Promise<string | undefined>) =>
      shared('step', { attributes: { id }, count: 'steps' }, work);
    const traceparents = await inSpan(telemetry.tracer, 'outer', {}, async () => {
      const together = [step('a', async () => currentTraceparent()), step('b', () => held.then(currentTraceparent))];
      await new Promise(setImmediate);
      assert.deepEqual(spans.getFinishedSpans(), [], 'b is not done');
      const later = step('c', async () => currentTraceparent());
      letGo();
      return Promise.all([...together, later]);
    });
    assert.equal(traceparents[0], traceparents[1]);
    assert.notEqual(traceparents[1], traceparents[2], 'work that starts later has its own span');
    const found = spans.getFinishedSpans().filter(({ name }) => name === 'step');
    assert.deepEqual(found.map(({ attributes }) => attributes).toSorted(), [{ id: 'c' }, { steps: 2 }]);
    const [outer] = spans.getFinishedSpans().filter(({ name }) => name === 'outer');
    for (const { parentSpanContext } of found) assert.equal(parentSpanContext?.spanId, outer?.spanContext().spanId);
  });

  test('work under different parents, or without one, shares no span', async () => {
    const shared = sharedSpans(telemetry.tracer);
    const step = (parent = contextFromTraceparent(undefined)) =>
      shared('step', { parent, count: 'steps' }, async () => currentTraceparent());
    const traceparents = await Promise.all([step(), step(), step(contextFromTraceparent(REMOTE))]);
    assert.equal(new Set(traceparents).size, 3);
    assert.equal(spans.getFinishedSpans().length, 3);
  });

  test('a failure of work that shares a span fails that work alone, and marks the span as failed', async () => {
    const shared = sharedSpans(telemetry.tracer);
    const outcomes = await inSpan(telemetry.tracer, 'outer', {}, () =>
      Promise.allSettled([
        shared('step', { count: 'steps' }, async () => 1),
        shared('step', { count: 'steps' }, async () => Promise.reject(new RangeError('no'))),
      ]),
    );
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
    const [step] = spans.getFinishedSpans();
    assert.equal(step?.status.code, SpanStatusCode.ERROR);
    assert.deepEqual(step?.attributes, { 'error.type': 'RangeError', steps: 2 });
  });

  test('an error marks its span as failed, with its reason, and is thrown to the caller', async () => {
    const error = Object.assign(new Error('key k1 is disabled'), { name: 'Rejection', reason: 'KEY_DISABLED' });
    const failing = inSpan(telemetry.tracer, 'a', {}, () => {
      throw error;
    });
    await assert.rejects(failing, error);
    const [span] = spans.getFinishedSpans();
    assert.equal(span?.status.code, SpanStatusCode.ERROR);
    assert.equal(span?.attributes['error.type'], 'Rejection');
    assert.equal(span?.attributes['interlock.rejection.reason'], 'KEY_DISABLED');
  });
});

describe('traceparents', () => {
  for (const malformed of [
    undefined,
    '',
    'x',
    '00-00000000000000000000000000000000-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01',
    '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333:-01',
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x',
    '00-0af7651916cd43dd8448eb211c80319c0b7ad6b7169203331-01',
    'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  ]) {
    test(`traceparent ${JSON.stringify(malformed)} starts a new trace`, async () => {
      await inSpan(telemetry.tracer, 'a', { parent: contextFromTraceparent(malformed) }, () => undefined);
      assert.equal(spans.getFinishedSpans()[0]?.parentSpanContext, undefined);
      assert.equal(traceIdOf(malformed), undefined);
      assert.equal(linkTo(malformed), undefined);
    });
  }

  test('the trace id is read from a traceparent of a later version with more fields', () => {
    const later = 'cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later';
    assert.equal(traceIdOf(later), '0af7651916cd43dd8448eb211c80319c');
  });

  test('a log line carries the running trace', async () => {
    const lines: string[] = [];
    const log = logger({ service: 'test', clock: { now: () => 0 }, write: (line) => lines.push(line) });
    await inSpan(telemetry.tracer, 'a', {}, () => log.info('x'));
    assert.equal(JSON.parse(lines[0] ?? '').trace, spans.getFinishedSpans()[0]?.spanContext().traceId);
  });
});
