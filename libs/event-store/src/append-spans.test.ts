import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { inSpan, systemClock, systemRandom, traceIdOf } from '@interlock/runtime';
import { startTelemetry, type Telemetry } from '@interlock/runtime/telemetry';
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { category } from './category.ts';
import { type Cause, followed } from './cause.ts';
import { forgetEventSpans, noteEventSpan, readEvent, writeEvent } from './event-spans.ts';
import { memoryStore } from './memory-store.ts';

const exporter = new InMemorySpanExporter();
let telemetry: Telemetry;
before(() => {
  const processors = [new SimpleSpanProcessor({ exporter })];
  telemetry = startTelemetry({ service: 'test', random: systemRandom, processors });
});
after(() => telemetry.shutdown());
afterEach(() => {
  exporter.reset();
  forgetEventSpans();
});

const root: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const happened = () => [{ type: 'Happened' } as const];
const open = (name = 'order') => {
  const store = memoryStore({ clock: systemClock });
  const definition = { name, stateVersion: 1, initial: 0, evolve: (count: number) => count + 1 };
  return { store, streams: category<number, { readonly type: 'Happened' }>(store, definition) };
};
const appends = (): readonly ReadableSpan[] =>
  exporter.getFinishedSpans().filter(({ name }) => name.startsWith('append '));
const idOf = (span: ReadableSpan | undefined): string => span?.spanContext().spanId ?? '';
const linksOf = (span: ReadableSpan | undefined) =>
  span?.links.map(({ context: { spanId }, attributes }) => [spanId, attributes]);
const partsOf = (span: ReadableSpan | undefined) =>
  span?.events.map(({ name, attributes }) => (name === 'part' ? attributes : name));

test('G10: an event has the trace context of the span that stored it, and that span lists the event', async () => {
  const { store, streams } = open();
  await inSpan(telemetry.tracer, 'call', {}, () => streams.transact('a', happened, root));
  const [append] = appends();
  assert.deepEqual(append?.attributes['interlock.event.ids'], ['order-a@1']);
  const [event] = await store.read('order-a');
  assert.equal(event?.cause.traceparent?.split('-')[2], idOf(append));
});

test('G10: the span of an append has a link to the span that stored each cause', async () => {
  const { streams } = open();
  const work = followed(root);
  await inSpan(telemetry.tracer, 'call', {}, async () => {
    await streams.transact('a', happened, work);
    // A called service reports its event in the response.
    noteEventSpan(`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, 'key-k@7');
    work.tracker?.answered(['key-k@7', 'key-unknown@1']);
    await streams.transact('a', happened, work);
  });
  const [first, second] = appends();
  assert.deepEqual(linksOf(first), []);
  assert.deepEqual(linksOf(second), [
    [idOf(first), { 'interlock.cause.ids': ['order-a@1'] }],
    ['b'.repeat(16), { 'interlock.cause.ids': ['key-k@7'] }],
  ]);
});

test('G10: a span that stores events of several streams lists each event with its cause', async () => {
  const { streams } = open();
  await inSpan(telemetry.tracer, 'call', {}, () => streams.transactMany(['a', 'b'], happened, root));
  const causesOf = (_state: number, id: string) => [{ id: `order-${id}@1`, kind: 'step' } as const];
  await inSpan(telemetry.tracer, 'run', {}, () => streams.transactMany(['a', 'b'], happened, root, { causesOf }));
  const [first, second] = appends();
  assert.deepEqual(linksOf(second), [[idOf(first), undefined]]);
  assert.deepEqual(partsOf(second), [
    { 'interlock.event.ids': ['order-a@2'], 'interlock.cause.ids': ['order-a@1'] },
    { 'interlock.event.ids': ['order-b@2'], 'interlock.cause.ids': ['order-b@1'] },
  ]);
});

test('G10: each of up to 128 streams that share a span has a span event with its event id', async () => {
  const { streams } = open();
  const share = (ids: readonly string[]) =>
    inSpan(telemetry.tracer, 'call', {}, () => Promise.all(ids.map((id) => streams.transact(id, happened, root))));
  await share(['a', 'b']);
  await share(Array.from({ length: 129 }, (_, n) => `many-${n}`));
  await share(['alone']);
  const [few, many, one] = appends();
  assert.deepEqual(partsOf(few), [{ 'interlock.event.ids': ['order-a@1'] }, { 'interlock.event.ids': ['order-b@1'] }]);
  assert.deepEqual([many?.events.length, many?.attributes['interlock.streams.count']], [0, 129]);
  assert.deepEqual([one?.events.length, one?.attributes['interlock.stream']], [0, 'order-alone']);
});

test('G10: only the span of the attempt that stored an event lists it, not those of failed attempts', async () => {
  for (const within of [
    (fn: () => Promise<unknown>) => inSpan(telemetry.tracer, 'call', {}, fn),
    (fn: () => Promise<unknown>) => fn(),
  ]) {
    exporter.reset();
    const { store, streams } = open();
    let failures = 2;
    const commit = store.commit.bind(store);
    store.commit = (...args) => {
      failures -= 1;
      return failures < 0 ? commit(...args) : Promise.reject(new Error('no connection'));
    };
    const all = () => streams.transactMany(['a', 'b'], happened, root);
    await within(async () => {
      await assert.rejects(() => streams.transact('a', happened, root));
      await assert.rejects(all);
      await all();
    });
    const lists = appends().map(({ attributes }) => attributes['interlock.event.ids']);
    assert.deepEqual(lists, [undefined, undefined, ['order-a@1', 'order-b@1']]);
  }
});

test('the span of an append belongs to the trace of its cause, also within a span of another trace', async () => {
  const { streams } = open();
  const traceparent = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;
  await inSpan(telemetry.tracer, 'batch', {}, () => streams.transact('a', happened, { ...root, traceparent }));
  const [append] = appends();
  assert.equal(append?.spanContext().traceId, traceIdOf(traceparent));
  assert.equal(append?.parentSpanContext?.spanId, '2'.repeat(16));
});

test('an event is written for another service with its span if that is known, and without it otherwise', async () => {
  const { streams } = open();
  await inSpan(telemetry.tracer, 'call', {}, () => streams.transact('a', happened, root));
  const [append] = appends();
  const text = writeEvent('order-a@1');
  const { traceId, spanId } = append?.spanContext() ?? {};
  assert.equal(text, `order-a@1;00-${traceId}-${spanId}-01`);
  forgetEventSpans();
  assert.equal(writeEvent('order-a@1'), 'order-a@1');
  assert.equal(readEvent(text), 'order-a@1');
  assert.equal(writeEvent('order-a@1'), text);
  assert.equal(readEvent('order-b@1;no trace context'), 'order-b@1');
  assert.equal(writeEvent('order-b@1'), 'order-b@1');
});

test('at least the last 8,192 events keep their span, and older ones are forgotten', () => {
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
  for (let n = 0; n < 3 * 8_192; n += 1) noteEventSpan(traceparent, `order-a@${n}`);
  const isKnown = (n: number): boolean => writeEvent(`order-a@${n}`) !== `order-a@${n}`;
  assert.ok(isKnown(3 * 8_192 - 1) && isKnown(2 * 8_192));
  assert.ok(!isKnown(0));
});
