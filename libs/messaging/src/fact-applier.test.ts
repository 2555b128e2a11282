import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection, type StreamName } from '@interlock/event-store';
import { FactApplier } from './fact-applier.ts';
import { renderFact } from './facts.ts';
import type { Handler } from './handlers.ts';
import { parkedFacts } from './parked.ts';
import { partitionOf } from './subjects.ts';
import { copyHandler, testWorld, toFact } from './test-world.ts';

/** `count` streams of partition 0 of 2: their facts arrive together. */
const streamsOf = (count: number): readonly StreamName[] =>
  Array.from({ length: count * 8 }, (_, n): StreamName => `disk-${n}`)
    .filter((stream) => partitionOf(stream, 2) === 0)
    .slice(0, count);

/** One commit with an event of each stream: one batch of facts for the consumer. */
const appendAtOnce = (
  world: ReturnType<typeof testWorld>,
  streams: readonly StreamName[],
  type = 'Created',
  expected = 0,
) =>
  world.source.commit(
    { appends: streams.map((stream) => ({ stream, expected, events: [{ type, schema: 1, data: {} }] })) },
    { correlationId: 'c', causes: [], caller: 'principals/p' },
  );

test('effects of different streams are committed concurrently, each with its own fact as the cause', async () => {
  const world = testWorld();
  const streams = streamsOf(4);
  let asked = 0;
  const all = Promise.withResolvers<void>();
  // Each commit waits until the commits of all streams have started.
  world.faults.beforeCommit = async ({ appends = [] }) => {
    asked += appends.filter(({ stream }) => stream.startsWith('copy-')).length;
    if (asked === streams.length) all.resolve();
    if (appends.length > 0) await all.promise;
  };
  await appendAtOnce(world, streams);
  const parts = [world.startRelay(), world.startConsumer()];
  await world.clock.until(() => world.isComplete(streams));
  for (const stream of streams) {
    const [[told], [effect]] = await Promise.all([world.source.read(stream), world.sink.read(`copy-${stream}`)]);
    assert.deepEqual(effect?.cause.causes, [{ id: told?.id, kind: 'message' }]);
  }
  await Promise.all(parts.map((part) => part.stop()));
});

test('facts of one stream are handled one at a time, also between facts of other streams', async () => {
  const world = testWorld();
  const [one = 'disk-0', other = 'disk-1'] = streamsOf(2);
  const underWay = new Set<string>();
  const handler: Handler = async (fact, context) => {
    assert.equal(underWay.has(fact.stream), false);
    underWay.add(fact.stream);
    const effect = await copyHandler(world.sink)(fact, context);
    underWay.delete(fact.stream);
    return effect;
  };
  for (const stream of [one, other, one]) await world.append(stream, 'Created', 'Changed');
  const parts = [world.startRelay(), world.startConsumer(handler)];
  await world.clock.until(() => world.isComplete([one, other]));
  await Promise.all(parts.map((part) => part.stop()));
});

test('a fact that fails definitely in a batch parks only its stream; the others take effect once (G7)', async () => {
  const world = testWorld();
  const streams = streamsOf(5);
  const poisoned = streams[2] ?? 'disk-0';
  const handler: Handler = async (fact, context) => {
    if (fact.stream === poisoned) throw new Rejection('INVALID_ARGUMENT', 'POISON', 'never');
    return copyHandler(world.sink)(fact, context);
  };
  await appendAtOnce(world, streams);
  const parts = [world.startRelay(), world.startConsumer(handler)];
  const others = streams.filter((stream) => stream !== poisoned);
  await world.clock.until(() => world.isComplete(others));
  for (const stream of streams) await world.append(stream, 'Changed');
  await world.clock.until(() => world.isComplete(others));
  assert.deepEqual(await world.copied(poisoned), []);
  await Promise.all(parts.map((part) => part.stop()));
});

test('in a batch with other streams, a fact of a stream with a parked fact is not applied (G7)', async () => {
  const world = testWorld();
  const streams = streamsOf(5);
  const poisoned = streams[2] ?? 'disk-0';
  const handler: Handler = async (fact, context) => {
    if (fact.stream === poisoned && fact.type === 'Created') throw new Rejection('INVALID_ARGUMENT', 'POISON', 'never');
    return copyHandler(world.sink)(fact, context);
  };
  const parts = [world.startRelay(), world.startConsumer(handler)];
  const others = streams.filter((stream) => stream !== poisoned);
  for (const [expected, type] of ['Created', 'Changed'].entries()) {
    await appendAtOnce(world, streams, type, expected);
    await world.clock.until(() => world.isComplete(others));
  }
  assert.deepEqual(await world.copied(poisoned), []);
  await Promise.all(parts.map((part) => part.stop()));
});

test('if one of several concurrent commits fails, stored or not, each fact takes effect once (G7)', async () => {
  for (const fault of ['refuse', 'storeAndFail'] as const) {
    const world = testWorld();
    const streams = streamsOf(5);
    await appendAtOnce(world, streams);
    let effects = 0;
    // The third, for either applier.
    world.faults.beforeCommit = async ({ appends = [] }) => {
      if (appends.length > 0) effects += 1;
      world.faults[fault] = effects === 3 ? 1 : 0;
    };
    const parts = [world.startRelay(), world.startConsumer()];
    await world.clock.until(() => world.isComplete(streams));
    await Promise.all(parts.map((part) => part.stop()));
  }
});

test('facts without effect do not move the cursor past an earlier effect that is not stored', async () => {
  const world = testWorld();
  const streams = streamsOf(3);
  const [first = 'disk-0', , last = 'disk-1'] = streams;
  let isDown = true;
  world.faults.beforeCommit = async ({ appends = [] }) => {
    world.faults.refuse = isDown && appends.length > 0 ? 1 : 0;
  };
  const handler: Handler = async (fact, context) =>
    fact.stream === first ? copyHandler(world.sink)(fact, context) : {};
  await appendAtOnce(world, streams);
  const parts = [world.startRelay(), world.startConsumer(handler)];
  await world.clock.pass(30_000);
  assert.deepEqual([await world.copied(first), await world.copied(last)], [[], []]);
  isDown = false;
  await world.clock.until(() => world.isComplete([first]), 20_000);
  await Promise.all(parts.map((part) => part.stop()));
});

test('a fact is parked behind one of its stream that another replica has parked (G7)', async () => {
  const { append, source, sink, copied, clock, random, log } = testWorld();
  const [stream = 'disk-0'] = streamsOf(1);
  await append(stream, 'Poison', 'Changed');
  const facts = (await source.feed(0, 2)).flatMap((recorded) => renderFact(recorded, toFact) ?? []);
  const handlers = {
    Poison: () => Promise.reject(new Rejection('INVALID_ARGUMENT', 'POISON', 'never')),
    Changed: copyHandler(sink),
  };
  const { signal } = new AbortController();
  const parts = { service: 'dst', source: 'src', partition: 0, handlers, store: sink, clock, random, log, signal };
  const [one, other] = [new FactApplier({ ...parts, maxAttempts: 1 }), new FactApplier({ ...parts, maxAttempts: 1 })];
  await Promise.all([one.refresh(), other.refresh()]);
  await other.apply(facts.slice(0, 1));
  // Continues from the cursor that the other applier moved.
  await one.refresh();
  await one.apply(facts.slice(1));
  assert.deepEqual(await copied(stream), []);
  assert.equal((await parkedFacts(sink).ofPartition('src', 0)).count, 2);
});
