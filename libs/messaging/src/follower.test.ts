import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StreamName } from '@interlock/event-store';
import type { Bus } from './bus.ts';
import { startFollower } from './follower.ts';
import { TailQueue } from './tail-queue.ts';
import { CATEGORIES, testWorld, type World } from './test-world.ts';

const stream: StreamName = 'disk-1';

/** Version of the newest fact of each stream: what a process keeps in memory. */
const startTestFollower = async (world: World, bus: Bus = world.bus) => {
  const { sink, clock, log } = world;
  const ending = new AbortController();
  const newest = new Map<string, number>();
  const note = (of: string, version: number): void => {
    newest.set(of, Math.max(version, newest.get(of) ?? 0));
  };
  let recalls = 0;
  const correlations: string[] = [];
  await startFollower({
    ...{ service: 'dst', source: 'src', categories: CATEGORIES, store: sink, bus, clock, log, partitionCount: 2 },
    apply: (fact, cause) => {
      note(fact.stream, fact.version);
      correlations.push(cause.correlationId);
    },
    recall: async () => {
      recalls += 1;
      for (const { data } of await sink.read(`copy-${stream}`)) note(stream, Number(data.version));
      return true;
    },
    signal: ending.signal,
  });
  return { newest: () => newest.get(stream) ?? 0, recalls: () => recalls, correlations, stop: () => ending.abort() };
};

test('G7: every process that follows a source gets each fact as it is published, without a timer', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  const followers = [await startTestFollower(world), await startTestFollower(world)];
  await world.clock.pass(10_000);
  const recallsBefore = followers.map(({ recalls }) => recalls());
  await world.append(stream, 'Created', 'Secret', 'Changed');
  await world.clock.pass(0);
  assert.deepEqual(
    followers.map(({ newest }) => newest()),
    [3, 3],
  );
  assert.deepEqual(followers[0]?.correlations, ['correlation-disk-1', 'correlation-disk-1']);
  await world.clock.pass(60_000);
  assert.deepEqual(
    followers.map(({ recalls }) => recalls()),
    recallsBefore,
    'a bus with watermarks needs no recall',
  );
  for (const { stop } of followers) stop();
  await relay.stop();
});

test('G7: a process that starts has what was stored before', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  await world.append(stream, 'Created', 'Changed');
  await world.clock.until(() => world.isComplete([stream]));
  const follower = await startTestFollower(world);
  assert.equal(follower.newest(), 2);
  follower.stop();
  await Promise.all(parts.map((part) => part.stop()));
});

test('G7: a process that missed a message recalls at the next one, and again until the store has what it missed', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  const follower = await startTestFollower(world);
  await world.clock.pass(1_000);
  world.bus.faults.loseAfterAck = 1;
  await world.append(stream, 'Created', 'Changed');
  await world.clock.pass(0);
  world.bus.faults.loseAfterAck = 0;
  const recalls = follower.recalls();
  await world.clock.until(() => follower.recalls() > recalls, 2_001);
  assert.equal(follower.newest(), 0, 'no process has stored the facts');
  const consumer = world.startConsumer();
  await world.clock.until(() => follower.newest() === 2, 10_000);
  const enough = follower.recalls();
  await world.clock.pass(60_000);
  assert.equal(follower.recalls(), enough, 'then it recalls no more');
  follower.stop();
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('G7: while the bus is silent, a process has each stored fact within 10 s, and messages again afterwards', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  const follower = await startTestFollower(world);
  await world.clock.pass(1_000);
  world.bus.disconnect();
  await world.append(stream, 'Created');
  // The consumer reads the feed of the source after 5 s.
  await world.clock.until(() => world.isComplete([stream]), 10_000);
  await world.clock.until(() => follower.newest() === 1, 10_000);
  world.bus.reconnect();
  await world.clock.pass(10_000);
  const recalls = follower.recalls();
  await world.append(stream, 'Changed');
  await world.clock.until(() => follower.newest() === 2, 2_000);
  await world.clock.pass(30_000);
  assert.equal(follower.recalls(), recalls);
  follower.stop();
  await Promise.all(parts.map((part) => part.stop()));
});

test('G7: one silent partition is enough for a recall', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  const isSilent = (subject: string): boolean => subject.endsWith('.1');
  const tail: Bus['tail'] = (subject, signal) =>
    isSilent(subject) ? new TailQueue(signal) : world.bus.tail(subject, signal);
  const follower = await startTestFollower(world, { ...world.bus, tail });
  const before = follower.recalls();
  await world.clock.pass(30_000);
  assert.ok(follower.recalls() >= before + 5, `${follower.recalls()} recalls`);
  follower.stop();
  await relay.stop();
});

test('a recall that fails is repeated, and messages that it was to replace are not lost', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  await world.append(stream, 'Created');
  await world.clock.until(() => world.isComplete([stream]));
  const ending = new AbortController();
  const { bus, clock, log, sink } = world;
  let failures = 0;
  let recalled = 0;
  await startFollower({
    ...{ service: 'dst', source: 'src', categories: CATEGORIES, store: sink, bus, clock, log, partitionCount: 2 },
    apply: () => undefined,
    recall: async () => {
      recalled += 1;
      if (recalled > 1 && failures < 3) {
        failures += 1;
        throw new Error('the store did not respond');
      }
      return true;
    },
    signal: ending.signal,
  });
  world.bus.faults.loseAfterAck = 1;
  await world.append(stream, 'Changed');
  await clock.pass(0);
  world.bus.faults.loseAfterAck = 0;
  await clock.until(() => failures === 3 && recalled > 4, 60_000);
  ending.abort();
  await Promise.all(parts.map((part) => part.stop()));
});

test('G7: a recall after a gap that left something out is repeated, and one without a gap is not', async () => {
  const world = testWorld();
  const parts = [world.startRelay(), world.startConsumer()];
  const ending = new AbortController();
  const { bus, clock, log, sink } = world;
  let recalled = 0;
  let isWhole = false;
  await startFollower({
    ...{ service: 'dst', source: 'src', categories: CATEGORIES, store: sink, bus, clock, log, partitionCount: 2 },
    apply: () => undefined,
    recall: async () => {
      recalled += 1;
      return isWhole;
    },
    signal: ending.signal,
  });
  await clock.pass(60_000);
  assert.equal(recalled, 1, 'nothing is missing');
  world.bus.faults.loseAfterAck = 1;
  await world.append(stream, 'Created');
  await clock.pass(0);
  world.bus.faults.loseAfterAck = 0;
  await clock.until(() => recalled > 4, 30_000);
  isWhole = true;
  await clock.pass(10_000);
  const enough = recalled;
  await clock.pass(60_000);
  assert.equal(recalled, enough, 'the last one left nothing out');
  ending.abort();
  await Promise.all(parts.map((part) => part.stop()));
});
