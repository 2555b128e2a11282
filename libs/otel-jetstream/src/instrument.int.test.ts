import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { AckPolicy, type JsMsg, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import { context, propagation, trace } from '@opentelemetry/api';
import { startTestNatsServer, type TestNatsServer } from '../../messaging/src/test-nats-server.ts';
import { contextOf, type InstrumentOptions, instrumentJetStream, processMessage } from './index.ts';
import { type Recorded, startRecording } from './test-recording.ts';

const recording = startRecording();
const { tracer, meter, take } = recording;
let server: TestNatsServer;
let connection: NatsConnection;

before(async () => {
  server = await startTestNatsServer();
  connection = await connect({ servers: server.url });
});
after(async () => {
  await connection?.close();
  await server?.remove();
  await recording.stop();
});

let streams = 0;
/** A stream with a consumer, and an instrumented client. */
const open = async (options: InstrumentOptions = {}) => {
  streams += 1;
  const stream = `s${streams}`;
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: stream, subjects: [`${stream}.>`] });
  await manager.consumers.add(stream, { durable_name: 'worker', ack_policy: AckPolicy.Explicit });
  const js = instrumentJetStream(jetstream(connection), { tracer, meter, connection, ...options });
  return { js, subject: `${stream}.created`, consumer: await js.consumers.get(stream, 'worker'), stream };
};

const named = (spans: readonly Recorded[], name: string): Recorded =>
  spans.find((span) => span.name === name) ?? assert.fail(`no span ${name} in ${spans.map((span) => span.name)}`);

test('publish → process → ack is one trace, parent to child, over headers of the message', async () => {
  const { js, subject, consumer, stream } = await open();
  const caller = tracer.startSpan('caller');
  const callerContext = trace.setSpan(context.active(), caller);
  await context.with(callerContext, () => js.publish(subject, 'x', { msgID: 'one' }));
  for await (const message of await consumer.consume({ max_messages: 1 })) {
    assert.match(message.headers?.get('traceparent') ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    await processMessage(message, () => tracer.startSpan('work').end());
    message.ack();
    break;
  }
  const spans = take();
  const [publish, process, work, ack] = [`publish ${subject}`, `process ${subject}`, 'work', `ack ${subject}`].map(
    (name) => named(spans, name),
  );
  const parents = [publish, process, work, ack].map((span) => span?.parentId);
  assert.deepEqual(parents, [caller.spanContext().spanId, publish?.spanId, process?.spanId, process?.spanId]);
  assert.deepEqual(
    [publish, process, ack].map((span) => span?.kind),
    ['PRODUCER', 'CONSUMER', 'CLIENT'],
  );
  assert.deepEqual([process?.links, ack?.links], [[publish?.spanId], [publish?.spanId]]);
  assert.equal(new Set(spans.map(({ traceId }) => traceId)).size, 1);
  const { port } = new URL(server.url);
  const common = {
    'messaging.system.name': 'nats',
    'messaging.destination.name': subject,
    'messaging.message.id': 'one',
    'messaging.client.id': String(connection.info?.client_id),
    'server.address': '127.0.0.1',
    'server.port': Number(port),
  };
  assert.deepEqual(publish?.attributes, {
    ...common,
    'messaging.operation.name': 'publish',
    'messaging.operation.type': 'send',
  });
  assert.deepEqual(process?.attributes, {
    ...common,
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.destination.subscription.name': 'worker',
    'messaging.nats.stream': stream,
    'messaging.nats.message.delivery_count': 1,
  });
});

test('mode link: the process span starts a trace of its own, linked to the publisher', async () => {
  const { js, subject, consumer } = await open({ mode: 'link' });
  await js.publish(subject);
  const message = (await consumer.next()) ?? assert.fail('no message');
  await processMessage(message, () => undefined);
  const spans = take();
  const [publish, process] = [named(spans, `publish ${subject}`), named(spans, `process ${subject}`)];
  assert.equal(process.parentId, undefined);
  assert.notEqual(process.traceId, publish.traceId);
  assert.deepEqual(process.links, [publish.spanId]);
});

test('fetch has a receive span with a link to each publisher and the count; a batch has one process span', async () => {
  const { js, subject, consumer, stream } = await open({ processEach: false });
  for (const n of ['1', '2', '3']) await js.publish(subject, n);
  const batch: JsMsg[] = [];
  for await (const message of await consumer.fetch({ max_messages: 3, expires: 5_000 })) batch.push(message);
  await js.processBatch(batch, () => tracer.startSpan('work').end());
  for (const message of batch) message.ack();
  const spans = take();
  const published = spans.filter(({ kind }) => kind === 'PRODUCER').map(({ spanId }) => spanId);
  const [fetch, process] = [named(spans, `fetch ${stream}`), named(spans, `process ${subject}`)];
  assert.deepEqual(
    [fetch.links, fetch.kind, fetch.attributes['messaging.batch.message_count']],
    [published, 'CLIENT', 3],
  );
  assert.deepEqual([process.links, process.attributes['messaging.batch.message_count']], [published, 3]);
  assert.equal(process.parentId, undefined, 'the messages belong to three traces');
  assert.equal(named(spans, 'work').parentId, process.spanId);
  assert.equal(spans.filter(({ name }) => name.startsWith('ack')).length, 3);
});

test('a callback runs in the span of its message; nak and term are settle spans', async () => {
  const { js, subject, consumer } = await open();
  await js.publish(subject, 'a');
  await js.publish(subject, 'b');
  const done = Promise.withResolvers<void>();
  const seen: (string | undefined)[] = [];
  const messages = await consumer.consume({
    callback: (message) => {
      seen.push(trace.getSpanContext(context.active())?.spanId);
      if (message.string() === 'a') message.term('not wanted');
      else message.nak(60_000);
      if (seen.length === 2) done.resolve();
    },
  });
  await done.promise;
  await messages.close();
  const spans = take();
  const processing = spans.filter(({ kind }) => kind === 'CONSUMER').map(({ spanId }) => spanId);
  assert.deepEqual(processing, seen);
  assert.deepEqual(
    [`term ${subject}`, `nak ${subject}`].map((name) => named(spans, name).parentId),
    seen,
  );
});

test('an error in processMessage is recorded, in the span and in the metrics, and reaches the caller', async () => {
  const { js, subject, consumer } = await open();
  await recording.measured();
  await js.publish(subject);
  const looping = async () => {
    for await (const message of await consumer.consume({ max_messages: 1 }))
      await processMessage(message, () => Promise.reject(new RangeError('no')));
  };
  await assert.rejects(looping(), /no/);
  const process = named(take(), `process ${subject}`);
  assert.deepEqual([process.isFailed, process.attributes['error.type']], [true, 'RangeError']);
  assert.deepEqual(process.exceptions, ['no']);
  const metrics = await recording.measured();
  const [consumed] = metrics.get('messaging.client.consumed.messages') ?? [];
  assert.deepEqual([consumed?.value, consumed?.attributes['error.type']], [1, 'RangeError']);
  const [sent] = metrics.get('messaging.client.sent.messages') ?? [];
  assert.deepEqual([sent?.value, sent?.attributes['messaging.operation.name']], [1, 'publish']);
  for (const name of ['messaging.client.operation.duration', 'messaging.process.duration'])
    assert.ok((metrics.get(name)?.length ?? 0) > 0, name);
});

test('a publish that fails ends its span with the error', async () => {
  const { js } = await open();
  await assert.rejects(js.publish('no.stream.has.this'));
  const publish = named(take(), 'publish no.stream.has.this');
  assert.ok(publish.isFailed);
  assert.notEqual(publish.attributes['error.type'], undefined);
  assert.equal(publish.exceptions.length, 1);
});

test("tracestate and baggage are propagated; the caller's headers stay; header names may have capitals", async () => {
  const { js, subject, consumer } = await open();
  const own = headers();
  own.append('x-own', '1');
  own.append('x-own', '2');
  const baggage = propagation.createBaggage({ tenant: { value: 'a' } });
  const remote = propagation.extract(context.active(), {
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: 'vendor=1',
  });
  await context.with(propagation.setBaggage(remote, baggage), () => js.publish(subject, '', { headers: own }));
  assert.deepEqual(own.keys(), ['x-own']);
  const message = (await consumer.next()) ?? assert.fail('no message');
  assert.deepEqual(message.headers?.values('x-own'), ['1', '2']);
  const received = contextOf(message);
  assert.equal(trace.getSpanContext(received)?.traceState?.serialize(), 'vendor=1');
  assert.equal(propagation.getBaggage(received)?.getEntry('tenant')?.value, 'a');
  message.ack();

  const capitals = headers();
  capitals.set('Traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
  await jetstream(connection).publish(subject, '', { headers: capitals });
  const other = (await consumer.next()) ?? assert.fail('no message');
  assert.equal(trace.getSpanContext(contextOf(other))?.spanId, 'b7ad6b7169203331');
  take();
});

test('an unsampled publisher stays unsampled in its receivers', async () => {
  const { js, subject, consumer } = await open();
  const unsampled = propagation.extract(context.active(), {
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00',
  });
  await context.with(unsampled, () => js.publish(subject));
  const message = (await consumer.next()) ?? assert.fail('no message');
  assert.equal(trace.getSpanContext(contextOf(message))?.traceFlags, 0);
  assert.deepEqual(
    take().filter(({ name }) => name.startsWith('publish')),
    [],
  );
});

test('a message without context has a process span without parent and links', async () => {
  const { subject, consumer } = await open();
  await jetstream(connection).publish(subject);
  for await (const message of await consumer.consume({ max_messages: 1 })) {
    message.ack();
    break;
  }
  const process = named(take(), `process ${subject}`);
  assert.deepEqual([process.parentId, process.links], [undefined, []]);
});

test('OTEL_SEMCONV_STABILITY_OPT_IN=messaging/dup adds the attributes of 1.24; a template names the span', async () => {
  const both = await open({ stability: 'http,messaging/dup', template: (subject) => subject.replace(/^s\d+/, '{s}') });
  await both.js.publish(both.subject);
  const publish = named(take(), 'publish {s}.created');
  assert.deepEqual(
    ['messaging.system', 'messaging.operation', 'messaging.destination.template', 'messaging.destination.name'].map(
      (name) => publish.attributes[name],
    ),
    ['nats', 'publish', '{s}.created', both.subject],
  );
  const one = await open({ stability: 'messaging' });
  await one.js.publish(one.subject);
  assert.equal(named(take(), `publish ${one.subject}`).attributes['messaging.operation'], undefined);
});

test('a message of another client is refused by processMessage and processBatch', async () => {
  const { js, subject, stream } = await open();
  await jetstream(connection).publish(subject);
  const plain = await jetstream(connection).consumers.get(stream, 'worker');
  const message = (await plain.next()) ?? assert.fail('no message');
  await assert.rejects(
    processMessage(message, () => undefined),
    /not received through instrumentJetStream/,
  );
  assert.throws(() => js.processBatch([], () => undefined), /at least one message/);
  take();
});
