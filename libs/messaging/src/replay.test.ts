import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EventStore, Rejection, StoreUnavailable, type StreamName } from '@interlock/event-store';
import type { Consumer } from './consumer.ts';
import { cursorOf } from './fact-applier.ts';
import type { Handler } from './handlers.ts';
import { messagingApi } from './messaging-api.ts';
import { partitionOf } from './subjects.ts';
import { copyHandler, idleRelay, testWorld, toFact, type World } from './test-world.ts';

const call = { signal: new AbortController().signal };
const POISONED: StreamName = 'disk-1';
const HEALTHY: StreamName = 'disk-2';

/** Copies every fact but `Poison` facts, which fail for as long as `cure` is not called. */
const poisonable = (world: World, failure: () => Error): { handler: Handler; cure: () => void } => {
  let isSick = true;
  const copy = copyHandler(world.sink);
  return {
    handler: async (fact, context) => {
      if (isSick && fact.type === 'Poison') throw failure();
      return copy(fact, context);
    },
    cure: () => {
      isSick = false;
    },
  };
};

const apiOf = (world: World, consumer: Consumer, store: EventStore = world.sink) =>
  messagingApi({
    service: 'dst',
    store,
    toFact,
    consumers: [consumer],
    relay: idleRelay,
    clock: world.clock,
    log: world.log,
  });

const parkedNames = async (world: World, consumer: Consumer): Promise<readonly string[]> => {
  const { parkedFacts } = await apiOf(world, consumer).listParkedFacts({ pageSize: 0, pageToken: '' });
  return parkedFacts.map(({ name, errorReason }) => `${name} ${errorReason}`);
};

const unknown = () => new Error('no such disk');
const definite = () => new Rejection('FAILED_PRECONDITION', 'DISK_GONE', 'the disk is gone');

test('a fact that fails definitely is parked with later facts of its stream, and a replay applies them in order', async () => {
  const world = testWorld();
  const { handler, cure } = poisonable(world, definite);
  const relay = world.startRelay();
  const consumer = world.startConsumer(handler);
  await world.append(POISONED, 'Created', 'Poison', 'Changed');
  await world.append(HEALTHY, 'Created');
  await world.append(POISONED, 'Gone');
  await world.clock.until(async () => (await parkedNames(world, consumer)).length === 3);
  assert.deepEqual(await parkedNames(world, consumer), [
    'parkedFacts/src-2 DISK_GONE',
    'parkedFacts/src-3 PARKED_BEHIND',
    'parkedFacts/src-5 PARKED_BEHIND',
  ]);
  assert.deepEqual(await world.copied(POISONED), ['1 Created']);
  await world.clock.until(() => world.isComplete([HEALTHY]));
  assert.ok(world.lines.some((line) => line.includes('fact parked') && line.includes('the disk is gone')));

  cure();
  const answer = await apiOf(world, consumer).replayParkedFact({ name: 'parkedFacts/src-2' }, call);
  assert.deepEqual(answer, { replayedCount: 3, stillParked: undefined });
  assert.ok(await world.isComplete([POISONED]));
  assert.deepEqual(await parkedNames(world, consumer), []);

  await world.append(POISONED, 'Changed');
  await world.clock.until(() => world.isComplete([POISONED]));
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('a fact with an unknown error is parked after 8 attempts, and the parked fact shows their number', async () => {
  const world = testWorld();
  const { handler } = poisonable(world, unknown);
  const relay = world.startRelay();
  const consumer = world.startConsumer(handler);
  await world.append(POISONED, 'Poison');
  await world.clock.until(async () => (await parkedNames(world, consumer)).length === 1);
  const { parkedFacts } = await apiOf(world, consumer).listParkedFacts({ pageSize: 0, pageToken: '' });
  const [parked] = parkedFacts;
  const [event] = await world.source.read(POISONED);
  assert.equal(parked?.attemptCount, 8);
  assert.equal(parked?.errorMessage, 'no such disk');
  assert.equal(parked?.errorReason, 'INTERNAL');
  assert.deepEqual([parked?.fact?.stream, parked?.fact?.version], [event?.stream, event?.version]);
  assert.equal(parked?.fact?.payload.toString(), '{}');
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('a failed replay leaves the fact parked with the new error, and the facts behind it too', async () => {
  const world = testWorld();
  const failures = [definite(), new Rejection('NOT_FOUND', 'SET_NOT_FOUND', 'no such set')];
  const { handler } = poisonable(world, () => failures.shift() ?? unknown());
  const relay = world.startRelay();
  const consumer = world.startConsumer(handler);
  await world.append(POISONED, 'Poison', 'Changed');
  await world.clock.until(async () => (await parkedNames(world, consumer)).length === 2);
  const { replayedCount, stillParked } = await apiOf(world, consumer).replayParkedFact(
    { name: 'parkedFacts/src-1' },
    call,
  );
  assert.equal(replayedCount, 0);
  assert.equal(stillParked?.errorReason, 'SET_NOT_FOUND');
  assert.equal(stillParked?.attemptCount, 2);
  assert.deepEqual(await parkedNames(world, consumer), [
    'parkedFacts/src-1 SET_NOT_FOUND',
    'parkedFacts/src-2 PARKED_BEHIND',
  ]);
  assert.deepEqual(await world.copied(POISONED), []);
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('a replay of a fact that is parked behind another is refused', async () => {
  const world = testWorld();
  const { handler } = poisonable(world, definite);
  const relay = world.startRelay();
  const consumer = world.startConsumer(handler);
  await world.append(POISONED, 'Poison', 'Changed');
  await world.clock.until(async () => (await parkedNames(world, consumer)).length === 2);
  await assert.rejects(apiOf(world, consumer).replayParkedFact({ name: 'parkedFacts/src-2' }, call), {
    code: 'FAILED_PRECONDITION',
    reason: 'PARKED_BEHIND',
    metadata: { name: 'parkedFacts/src-2', first: 'parkedFacts/src-1', stream: POISONED },
  });
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('a replay of an applied fact does nothing; unknown facts are NOT_FOUND; a malformed name is INVALID_NAME', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  const consumer = world.startConsumer();
  await world.append(HEALTHY, 'Created');
  await world.clock.until(() => world.isComplete([HEALTHY]));
  const api = apiOf(world, consumer);
  assert.deepEqual(await api.replayParkedFact({ name: 'parkedFacts/src-1' }, call), {
    replayedCount: 0,
    stillParked: undefined,
  });
  assert.deepEqual(await world.copied(HEALTHY), ['1 Created']);
  for (const name of ['parkedFacts/src-7', 'parkedFacts/other-1']) {
    await assert.rejects(api.replayParkedFact({ name }, call), { code: 'NOT_FOUND', reason: 'PARKED_FACT_NOT_FOUND' });
  }
  await assert.rejects(api.replayParkedFact({ name: 'src-1' }, call), {
    reason: 'INVALID_NAME',
    message: /parkedFacts\/\{source\}/,
  });
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('parked facts are stored, and the next consumer parks later facts of their stream', async () => {
  const world = testWorld();
  const { handler } = poisonable(world, definite);
  const relay = world.startRelay();
  const first = world.startConsumer(handler);
  await world.append(POISONED, 'Poison');
  await world.clock.until(async () => (await parkedNames(world, first)).length === 1);
  await first.stop();
  const second = world.startConsumer(handler);
  await world.append(POISONED, 'Changed');
  await world.clock.until(async () => (await parkedNames(world, second)).length === 2);
  assert.deepEqual(await world.copied(POISONED), []);
  await Promise.all([relay.stop(), second.stop()]);
});

test('a fact that arrives during a replay of its stream is applied after it, and not left parked (G7)', async () => {
  const world = testWorld();
  const { handler, cure } = poisonable(world, definite);
  const relay = world.startRelay();
  const consumer = world.startConsumer(handler);
  await world.append(POISONED, 'Poison');
  await world.clock.until(async () => (await parkedNames(world, consumer)).length === 1);
  cure();
  // The consumer has seen that its stream is parked; before it parks the next fact behind, the replay finishes.
  let replayedCount = 0;
  world.faults.beforeCommit = async ({ rows = [] }) => {
    if (replayedCount > 0 || !rows.some(({ table }) => table === 'parked_v1')) return;
    ({ replayedCount } = await apiOf(world, consumer).replayParkedFact({ name: 'parkedFacts/src-1' }, call));
  };
  await world.append(POISONED, 'Changed');
  await world.clock.until(() => world.isComplete([POISONED]));
  assert.equal(replayedCount, 1);
  assert.deepEqual(await parkedNames(world, consumer), []);
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('ListParkedFacts returns pages in the order of positions', async () => {
  const world = testWorld();
  const { handler } = poisonable(world, definite);
  const relay = world.startRelay();
  const consumer = world.startConsumer(handler);
  for (let index = 0; index < 12; index += 1) await world.append(`disk-${index}`, 'Poison');
  await world.clock.until(async () => (await parkedNames(world, consumer)).length === 12);
  const api = apiOf(world, consumer);
  const names: string[] = [];
  let pageToken = '';
  do {
    const page = await api.listParkedFacts({ pageSize: 5, pageToken });
    names.push(...page.parkedFacts.map(({ name }) => name));
    pageToken = page.nextPageToken;
  } while (pageToken);
  assert.deepEqual(
    names,
    Array.from({ length: 12 }, (_, index) => `parkedFacts/src-${index + 1}`),
  );
  const { consumers } = await api.listConsumers({ pageSize: 0, pageToken: '' });
  assert.equal(
    consumers.reduce((sum, { parkedCount }) => sum + parkedCount, 0),
    12,
  );
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('a replay whose commit is stored but reported as failed does not park the fact again (G7)', async () => {
  const world = testWorld();
  const { handler, cure } = poisonable(world, definite);
  const relay = world.startRelay();
  const consumer = world.startConsumer(handler);
  await world.append(POISONED, 'Poison');
  await world.clock.until(async () => (await parkedNames(world, consumer)).length === 1);
  cure();
  let isLost = true;
  const store: EventStore = {
    ...world.sink,
    async commit(commit, cause) {
      const stored = await world.sink.commit(commit, cause);
      if (!isLost) return stored;
      isLost = false;
      throw new StoreUnavailable('stored, and reported as failed');
    },
  };
  const name = 'parkedFacts/src-1';
  const answer = await apiOf(world, consumer, store).replayParkedFact({ name }, call);
  assert.deepEqual(answer, { replayedCount: 1, stillParked: undefined });
  assert.deepEqual(await parkedNames(world, consumer), []);
  assert.deepEqual(await world.copied(POISONED), ['1 Poison']);
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('of two concurrent replays, the failing one does not park a fact that the other has applied (G7)', async () => {
  const world = testWorld();
  const isApplied = Promise.withResolvers<void>();
  let tries = 0;
  const relay = world.startRelay();
  const consumer = world.startConsumer(async (fact, context) => {
    tries += 1;
    const isSlow = tries === 2;
    if (isSlow) await isApplied.promise;
    // Fails on the first delivery, and in the slow replay, which decides after the other one has stored its effect.
    if (tries === 1 || isSlow) throw definite();
    return copyHandler(world.sink)(fact, context);
  });
  await world.append(POISONED, 'Poison');
  await world.clock.until(async () => (await parkedNames(world, consumer)).length === 1);
  const api = apiOf(world, consumer);
  const slow = api.replayParkedFact({ name: 'parkedFacts/src-1' }, call);
  await world.clock.until(() => tries === 2);
  await api.replayParkedFact({ name: 'parkedFacts/src-1' }, call);
  isApplied.resolve();
  assert.deepEqual(await slow, { replayedCount: 1, stillParked: undefined });
  assert.deepEqual(await parkedNames(world, consumer), []);
  assert.deepEqual(await world.copied(POISONED), ['1 Poison']);
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('if the commit that parks a fact is reported as failed, later facts of its stream still wait (G7)', async () => {
  const world = testWorld();
  const { handler } = poisonable(world, definite);
  let parkings = 0;
  world.faults.beforeCommit = async ({ rows = [] }) => {
    const isParking = rows.some(({ table }) => table === 'parked_v1');
    parkings += isParking ? 1 : 0;
    world.faults.storeAndFail = isParking && parkings === 1 ? 1 : 0;
  };
  await world.append(POISONED, 'Poison', 'Changed');
  const relay = world.startRelay();
  const consumer = world.startConsumer(handler);
  const place = cursorOf('src', partitionOf(POISONED, consumer.partitionCount));
  await world.clock.until(async () => (await world.sink.cursor(place)) === 2);
  assert.deepEqual(await parkedNames(world, consumer), [
    'parkedFacts/src-1 DISK_GONE',
    'parkedFacts/src-2 PARKED_BEHIND',
  ]);
  assert.deepEqual(await world.copied(POISONED), []);
  await Promise.all([relay.stop(), consumer.stop()]);
});
