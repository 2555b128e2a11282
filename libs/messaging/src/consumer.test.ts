import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { Rejection, type StreamName, VersionConflict } from '@interlock/event-store';
import { NO_EFFECT } from './handlers.ts';
import { UNCONFIRMED_MAX } from './partition.ts';
import { fnv1a32, partitionOf, subjectOf } from './subjects.ts';
import { copyHandler, testWorld } from './test-world.ts';

const streamsOf = (count: number): readonly StreamName[] =>
  Array.from({ length: count }, (_, index): StreamName => `disk-${index}`);

test('every published fact takes effect once, in the order of its stream (G7)', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  const consumer = world.startConsumer();
  const streams = streamsOf(5);
  for (const stream of streams) await world.append(stream, 'Created', 'Secret', 'Changed', 'Gone');
  await world.clock.until(() => world.isComplete(streams));
  assert.deepEqual(await world.copied('disk-0'), ['1 Created', '3 Changed', '4 Gone']);
  assert.equal(world.feedCalls(), 0);
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('the effect names the fact as its cause, and keeps its correlation id and caller', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  await world.append('disk-1', 'Created');
  await world.clock.until(() => world.isComplete(['disk-1']));
  const [told] = await world.source.read('disk-1');
  const [effect] = await world.sink.read('copy-disk-1');
  assert.deepEqual(effect?.cause.causes, [{ id: told?.id, kind: 'message' }]);
  assert.equal(effect?.cause.correlationId, 'correlation-disk-1');
  assert.equal(effect?.cause.caller, 'principals/p');
  await Promise.all(parts.map((part) => part.stop()));
});

test('no timer delays a fact on its way from the source to its effect', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  await world.clock.pass(10_000);
  const before = world.clock.monotonicMs();
  await world.append('disk-1', 'Created');
  await world.clock.pass(0);
  assert.ok(await world.isComplete(['disk-1']));
  assert.equal(world.clock.monotonicMs(), before);
  await Promise.all(parts.map((part) => part.stop()));
});

test('a consumer notices a lost message at the next one, and reads its facts from the source', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  await world.clock.pass(0);
  world.bus.faults.loseAfterAck = 1;
  await world.append('disk-1', 'Created', 'Changed');
  await world.clock.pass(0);
  world.bus.faults.loseAfterAck = 0;
  await world.append('disk-1', 'Gone');
  await world.clock.pass(0);
  assert.ok(await world.isComplete(['disk-1']));
  assert.ok(world.feedCalls() > 0);
  await Promise.all(parts.map((part) => part.stop()));
});

test('a consumer notices the loss of the newest message at the next watermark', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  await world.clock.pass(0);
  world.bus.faults.loseAfterAck = 1;
  await world.append('disk-1', 'Created');
  await world.clock.pass(0);
  world.bus.faults.loseAfterAck = 0;
  assert.deepEqual(await world.copied('disk-1'), []);
  await world.clock.pass(1_100);
  assert.ok(await world.isComplete(['disk-1']));
  await Promise.all(parts.map((part) => part.stop()));
});

test('a consumer that stops while facts are missing does not apply the facts behind them (G7)', async () => {
  const world = testWorld();
  const streams = Array.from({ length: 20 }, (_, n): StreamName => `disk-${n}`)
    .filter((stream) => partitionOf(stream, 2) === 0)
    .slice(0, 2);
  const appendToEach = (expected: number, type: string) =>
    world.source.commit(
      { appends: streams.map((stream) => ({ stream, expected, events: [{ type, schema: 1, data: {} }] })) },
      { correlationId: 'c', causes: [], caller: 'principals/p' },
    );
  const relay = world.startRelay();
  world.bus.faults.loseAfterAck = 1;
  await appendToEach(0, 'Created');
  await world.clock.pass(0);
  world.bus.faults.loseAfterAck = 0;
  await appendToEach(1, 'Changed');
  await world.clock.pass(0);
  world.faults.feed = 1;
  const heard: string[] = [];
  const consumer = world.startConsumer(async ({ type }) => {
    heard.push(type);
    return NO_EFFECT;
  });
  await world.clock.until(() => world.lines.some((line) => line.includes('feed is read again')));
  await world.clock.drive(consumer.stop());
  assert.deepEqual(heard, []);
  await relay.stop();
});

test('a consumer reads the source if the bus delivers nothing', async () => {
  const world = testWorld();
  const consumer = world.startConsumer();
  await world.append('disk-1', 'Created');
  await world.clock.until(() => world.isComplete(['disk-1']), 6_000);
  await consumer.stop();
});

test('a consumer retries reading the feed until the source responds, and misses no fact', async () => {
  const world = testWorld();
  world.faults.feed = 1;
  const consumer = world.startConsumer();
  await world.append('disk-1', 'Created', 'Changed');
  await world.clock.pass(60_000);
  assert.deepEqual(await world.copied('disk-1'), []);
  world.faults.feed = 0;
  await world.clock.until(() => world.isComplete(['disk-1']), 10_000);
  await consumer.stop();
});

test('a commit that was stored although it failed is not repeated', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  world.faults.storeAndFail = 1;
  await world.append('disk-1', 'Created', 'Changed', 'Gone');
  await world.clock.until(async () => (await world.copied('disk-1')).length === 3);
  world.faults.storeAndFail = 0;
  await world.clock.pass(60_000);
  assert.ok(await world.isComplete(['disk-1']));
  await Promise.all(parts.map((part) => part.stop()));
});

test('after a conflict the fact is decided again at once', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  let attempts = 0;
  const consumer = world.startConsumer(async (fact, context) => {
    attempts += 1;
    if (attempts <= 5) throw new VersionConflict(['copy-disk-1']);
    return copyHandler(world.sink)(fact, context);
  });
  await world.append('disk-1', 'Created');
  await world.clock.pass(0);
  assert.ok(await world.isComplete(['disk-1']));
  assert.equal(attempts, 6);
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('a fact with a temporary failure is retried until it succeeds; the other partition continues', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  const [here, there] = [
    'disk-1',
    partitionOf('disk-1', 2) === partitionOf('disk-2', 2) ? 'disk-3' : 'disk-2',
  ] as const;
  assert.notEqual(fnv1a32(here) % 2, fnv1a32(there) % 2);
  let isDown = true;
  let attempts = 0;
  const consumer = world.startConsumer(async (fact, context) => {
    if (fact.stream === here) attempts += 1;
    if (isDown && fact.stream === here) throw new Rejection('UNAVAILABLE', 'BUSY', 'come back later');
    return copyHandler(world.sink)(fact, context);
  });
  await world.append(here, 'Created');
  await world.append(there, 'Created');
  await world.clock.pass(300_000);
  assert.deepEqual([await world.isComplete([here]), await world.isComplete([there])], [false, true]);
  assert.ok(attempts > 50 && attempts < 200, `${attempts} attempts in five minutes`);
  const [status] = consumer.status().filter(({ gap }) => gap > 0);
  assert.ok(status && status.gap === 1 && status.lagMs > 290_000);
  isDown = false;
  await world.clock.until(() => world.isComplete([here]), 10_000);
  for (const { gap, lagMs } of consumer.status()) assert.deepEqual([gap, lagMs], [0, 0]);
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('facts without effect move the cursor too, and are not handled again', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  let seen = 0;
  const handler = async () => {
    seen += 1;
    return NO_EFFECT;
  };
  const first = world.startConsumer(handler);
  await world.append('disk-1', 'Created', 'Ignored', 'Gone');
  await world.clock.until(async () =>
    (await Promise.all([0, 1].map((p) => world.sink.cursor(`consumer:src:${p}`)))).includes(3),
  );
  await first.stop();
  const second = world.startConsumer(handler);
  await world.clock.pass(60_000);
  assert.equal(seen, 2);
  await Promise.all([relay.stop(), second.stop()]);
});

test('a cursor that only facts without effect moved is stored within a second, once for all of them', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer(async () => NO_EFFECT)];
  await world.clock.pass(10_000);
  let commits = 0;
  world.faults.beforeCommit = async ({ cursors = [] }) => {
    if (cursors.some(({ name }) => name.startsWith('consumer:'))) commits += 1;
  };
  const stream: StreamName = 'disk-1';
  for (let n = 0; n < 5; n++) {
    await world.append(stream, 'Changed');
    await world.clock.pass(100);
  }
  assert.equal(commits, 0);
  const place = `consumer:src:${partitionOf(stream, 2)}`;
  await world.clock.until(async () => (await world.sink.cursor(place)) === 5, 1_000);
  assert.equal(commits, 1);
  await Promise.all(parts.map((part) => part.stop()));
});

test('facts of waiting messages are stored concurrently, at most 16 at once, each once and in order (G7)', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  await world.clock.pass(0);
  const streams = streamsOf(60).filter((stream) => partitionOf(stream, 2) === 0);
  const busy = Promise.withResolvers<void>();
  let underWay = 0;
  const together: number[] = [];
  world.faults.beforeCommit = async ({ cursors = [] }) => {
    if (!cursors.some(({ name }) => name === 'consumer:src:0')) return;
    underWay += 1;
    together.push(underWay);
    await busy.promise;
    underWay -= 1;
  };
  // A message each: the first is being stored while the others arrive.
  for (const stream of streams) {
    await world.append(stream, 'Created');
    await world.clock.pass(1);
  }
  assert.deepEqual(together, [1]);
  busy.resolve();
  await world.clock.until(() => world.isComplete(streams));
  assert.equal(Math.max(...together), 16);
  assert.equal(world.feedCalls(), 0);
  await Promise.all(parts.map((part) => part.stop()));
});

test('a consumer reads the feed if the bus no longer has the messages that it missed', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  const streams = streamsOf(8);
  for (const stream of streams) await world.append(stream, 'Created', 'Changed');
  await world.clock.until(() => relay.position() === 16);
  for (let partition = 0; partition < 2; partition += 1) world.bus.forget(subjectOf('src', partition), 1_000);
  const consumer = world.startConsumer();
  await world.clock.until(() => world.isComplete(streams), 3_000);
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('a consumer applies nothing of a source with another partition count, and logs what to do', async () => {
  const world = testWorld();
  const consumer = world.startConsumer();
  const batch = {
    source: 'src',
    partition: 0,
    partitionCount: 8,
    previousPosition: 0,
    firstPosition: 9,
    lastPosition: 9,
    facts: [],
  };
  await world.bus.publish(subjectOf('src', 0), 'm', FactBatch.encode(batch).finish());
  await world.clock.until(() => world.lines.some((line) => line.includes('configure both sides with the same number')));
  assert.equal(await world.sink.cursor('consumer:src:0'), 0);
  await consumer.stop();
});

test('a consumer refuses and logs bytes that are no batch, and continues', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  await world.bus.publish(subjectOf('src', 0), 'x', Buffer.from([0xff, 0xff, 0xff]));
  await world.append('disk-1', 'Created');
  await world.append('disk-2', 'Created');
  await world.clock.until(() => world.isComplete(['disk-1', 'disk-2']), 10_000);
  assert.ok(world.lines.some((line) => line.includes('message is refused')));
  await Promise.all(parts.map((part) => part.stop()));
});

test('two consumers of one service apply each fact once', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer(), world.startConsumer()];
  const streams = streamsOf(6);
  for (let round = 0; round < 5; round += 1) for (const stream of streams) await world.append(stream, 'Changed');
  await world.clock.until(() => world.isComplete(streams));
  await Promise.all(parts.map((part) => part.stop()));
});

test('a consumer applies nothing, and its lag grows, if only its source was restored to an earlier moment (G7)', async () => {
  const { append, clock, sink, startRelay, startConsumer, lines, copied } = testWorld();
  await append('a-1', 'Created');
  const cause = { correlationId: 'c', causes: [], caller: 'system:dst' };
  await sink.commit(
    { cursors: [0, 1].map((partition) => ({ name: `consumer:src:${partition}`, from: 0, to: 50 })) },
    cause,
  );
  const consumer = startConsumer();
  const relay = startRelay();
  await clock.until(() =>
    lines.some((line) => line.includes('was restored to an earlier moment and this service was not')),
  );
  await append('a-1', ...Array<'Changed'>(60).fill('Changed'));
  await clock.pass(60_000);
  assert.deepEqual(await copied('a-1'), [], 'new events have positions that the cursor has passed, so none is applied');
  const lags = consumer.status().map(({ lagMs, gap }) => lagMs >= 50_000 && gap > 0);
  assert.ok(lags.includes(true), JSON.stringify(consumer.status()));
  await consumer.stop();
  await relay.stop();
});

/** Publishes a batch that the source never published, like an attacker who has overcome the permissions of the bus. */
const forge = (world: ReturnType<typeof testWorld>, change: Partial<FactBatch>) => {
  const at = change.lastPosition ?? 0;
  const batch = { source: 'src', partition: 0, partitionCount: 2, previousPosition: 0, firstPosition: at, facts: [] };
  const bytes = FactBatch.encode({ ...batch, lastPosition: at, ...change }).finish();
  return world.bus.publish(subjectOf('src', change.partition ?? 0), `forged ${world.random.uuid()}`, bytes);
};
/** Names of streams in one of the two partitions. */
const streamsIn = (partition: number): readonly StreamName[] =>
  streamsOf(20).filter((stream) => partitionOf(stream, 2) === partition);
const forgedFact = (position: number, stream: StreamName) => ({
  position,
  stream,
  version: 9,
  eventTime: undefined,
  type: 'Changed',
  payload: Buffer.from('{}'),
  correlationId: 'c',
  causes: [],
  caller: 'principals/p',
  traceparent: '',
});

for (const [what, change] of [
  ['an empty batch to position 10^9', { lastPosition: 1e9 }],
  ['an empty batch that claims facts before position 10^9', { previousPosition: 1e9, lastPosition: 1e9 }],
  ['a fact at position 10^9', { lastPosition: 1e9, facts: [forgedFact(1e9, streamsIn(0)[0] ?? 'disk-0')] }],
] as const)
  test(`G7: ${what} is refused and not redelivered, and every later fact takes effect`, async () => {
    const world = testWorld();
    const parts = [world.startRelay(), world.startConsumer()] as const;
    const [, consumer] = parts;
    const streams = streamsIn(0).slice(0, 3);
    for (const stream of streams) await world.append(stream, 'Created');
    await world.clock.until(() => world.isComplete(streams));
    await forge(world, { ...change, facts: [...('facts' in change ? change.facts : [])] });
    await world.clock.until(async () => consumer.refused() === 1);
    for (const stream of streams) await world.append(stream, 'Changed');
    await world.clock.until(() => world.isComplete(streams));
    const head = await world.source.head();
    for (const { position, gap } of consumer.status()) assert.ok(position <= head && gap === 0);
    const line = world.lines.find((one) => one.includes('message is refused')) ?? assert.fail('nothing is logged');
    assert.match(line, /"messageId":"src:0:1000000000-1000000000"/);
    assert.match(line, /position 1000000000 is beyond the feed of src/);
    assert.equal(JSON.parse(line).level, 'error');
    // Once: it is not delivered again.
    await world.clock.pass(120_000);
    assert.equal(consumer.refused(), 1);
    await Promise.all(parts.map((part) => part.stop()));
  });

test('G3: a consumer refuses a fact of a foreign stream or partition, or out of order, and does not apply it', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()] as const;
  const [, consumer] = parts;
  const [stream = 'disk-0'] = streamsIn(0);
  const [elsewhere = 'disk-0'] = streamsIn(1);
  await world.append(stream, 'Created');
  await world.clock.until(() => world.isComplete([stream]));
  const foreign = Array.from({ length: 20 }, (_, n): StreamName => `other-${n}`).find(
    (one) => partitionOf(one, 2) === 0,
  );
  const forged = [
    { lastPosition: 5, facts: [forgedFact(5, foreign ?? 'other-0')] },
    { lastPosition: 5, facts: [forgedFact(5, elsewhere)] },
    { lastPosition: 5, facts: [forgedFact(6, stream)] },
    { lastPosition: 6, facts: [forgedFact(6, stream), forgedFact(5, stream)] },
    { lastPosition: 5, source: 'other' },
    { lastPosition: 5, partitionCount: 3 },
  ];
  for (const change of forged) await forge(world, change);
  await world.bus.publish(
    subjectOf('src', 0),
    'no batch',
    Buffer.from('{"type":"io.nats.jetstream.api.v1.stream_info_response"}'),
  );
  await world.clock.until(async () => consumer.refused() === forged.length + 1);
  for (const name of [foreign ?? 'other-0', elsewhere]) assert.deepEqual(await world.copied(name), []);
  await world.append(stream, 'Changed', 'Changed', 'Changed', 'Changed');
  await world.clock.until(() => world.isComplete([stream]));
  await Promise.all(parts.map((part) => part.stop()));
});

test('a consumer confirms a watermark far ahead of its cursor with one call to the source, then moves the cursor', async () => {
  const world = testWorld();
  const [quiet = 'disk-0'] = streamsIn(0);
  const [busy = 'disk-1'] = streamsIn(1);
  const parts = [world.startRelay(), world.startConsumer()] as const;
  const [, consumer] = parts;
  await world.append(quiet, 'Created');
  await world.clock.until(() => world.isComplete([quiet]));
  const placeOf = () => consumer.status().find(({ partition }) => partition === 0)?.position ?? 0;
  await world.append(busy, ...Array.from({ length: UNCONFIRMED_MAX - 10 }, () => 'Secret'));
  await world.clock.pass(2_000);
  assert.equal(world.feedCalls(), 0, 'a watermark near the cursor needs no confirmation and moves nothing');
  assert.equal(placeOf(), 1);
  await world.append(busy, ...Array.from({ length: 100 }, () => 'Secret'));
  await world.clock.pass(2_000);
  assert.equal(placeOf(), await world.source.head());
  await world.append(quiet, 'Changed');
  await world.clock.until(() => world.isComplete([quiet]));
  assert.equal(consumer.refused(), 0);
  await Promise.all(parts.map((part) => part.stop()));
});
