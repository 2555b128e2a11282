import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type EventStore, memoryStore, StoreUnavailable, type StreamName } from '@interlock/event-store';
import { type Logger, logger, type Outage, seededRandom, type VirtualClock, virtualClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type ToFact, unknownEvent } from './facts.ts';
import { readFeed } from './feed.ts';
import { type MemoryBus, memoryBus } from './memory-bus.ts';
import { startRelay } from './relay.ts';
import { durableOf, partitionOf, streamOf, subjectOf } from './subjects.ts';
import { testWorld } from './test-world.ts';

const PARTITIONS = 4;
const tracer = trace.getTracer('test');
const toFact: ToFact = ({ type, data }) =>
  type === 'Secret' ? null : { type, payload: Buffer.from(JSON.stringify(data)) };

interface World {
  readonly clock: VirtualClock;
  readonly store: EventStore;
  readonly bus: MemoryBus;
  readonly log: Logger;
  readonly lines: string[];
  readonly start: () => ReturnType<typeof startRelay>;
  readonly append: (stream: StreamName, ...types: string[]) => Promise<void>;
  /** Every message on the bus, in order, as one reader sees them. */
  readonly onBus: () => Promise<readonly FactBatch[]>;
}

const world = (seed = 1): World => {
  const clock = virtualClock();
  const random = seededRandom(seed);
  const store = memoryStore({ clock });
  const bus = memoryBus({ clock, random });
  const lines: string[] = [];
  const log = logger({ service: 'test', clock, write: (line) => lines.push(line) });
  let readers = 0;
  return {
    clock,
    store,
    bus,
    log,
    lines,
    start: () =>
      startRelay({ service: 'src', store, bus, toFact, clock, random, log, tracer, partitionCount: PARTITIONS }),
    async append(stream, ...types) {
      const expected = (await store.read(stream)).length;
      const events = types.map((type) => ({ type, schema: 1, data: { stream } }));
      await store.commit({ appends: [{ stream, expected, events }] }, { correlationId: 'c', causes: [], caller: 'p' });
    },
    async onBus() {
      readers += 1;
      const ending = new AbortController();
      const batches: FactBatch[] = [];
      const reading = Array.from({ length: PARTITIONS }, async (_, partition) => {
        const durable = durableOf(`reader-${readers}`, 'src', partition);
        const interest = {
          stream: streamOf('src'),
          subject: subjectOf('src', partition),
          durable,
          signal: ending.signal,
        };
        for await (const delivery of bus.subscribe(interest)) {
          batches.push(FactBatch.decode(delivery.bytes));
          delivery.ack();
        }
      });
      await clock.pass(0);
      ending.abort();
      await Promise.all(reading);
      return batches;
    },
  };
};

const factsOf = (batches: readonly FactBatch[]): readonly string[] =>
  batches.flatMap(({ facts }) => facts.map(({ stream, version, type }) => `${stream}/${version} ${type}`));

test('a relay publishes the events that become facts, with cause and time, and withholds the others', async () => {
  const { clock, start, append, onBus, store } = world();
  await append('disk-1', 'Created', 'Secret', 'Gone');
  const relay = start();
  await clock.until(() => relay.position() === 3);
  const batches = await onBus();
  assert.deepEqual(factsOf(batches), ['disk-1/1 Created', 'disk-1/3 Gone']);
  const [batch] = batches.filter(({ facts }) => facts.length > 0);
  const [fact] = batch?.facts ?? [];
  const [event] = await store.read('disk-1');
  assert.deepEqual([fact?.stream, fact?.version], [event?.stream, event?.version]);
  assert.equal(fact?.correlationId, 'c');
  assert.equal(fact?.caller, 'p');
  assert.equal(fact?.eventTime?.getTime(), event?.time);
  assert.deepEqual([batch?.previousPosition, batch?.firstPosition, batch?.lastPosition], [0, 1, 3]);
  await relay.stop();
});

test('a relay reports an outage of the bus at once, with its start time, before a publish fails', async () => {
  const { clock, store, bus, log } = world();
  let lost: Outage | undefined;
  const relay = startRelay({
    service: 'src',
    store,
    bus: { ...bus, outage: () => lost },
    toFact,
    clock,
    random: seededRandom(1),
    log,
    tracer,
  });
  await clock.drive(clock.sleep(10));
  assert.equal(relay.outage(), undefined);
  lost = { since: clock.now(), failures: 1, error: new Error('NATS is not reachable') };
  assert.equal(relay.outage(), lost);
  lost = undefined;
  assert.equal(relay.outage(), undefined);
  await clock.drive(relay.stop());
});

test('G2: once the store is back, the last failure of a relay that is no longer owner is not reported as an outage', async () => {
  const { clock, store, bus, log } = world();
  let isAway = false;
  const flaky: EventStore = {
    ...store,
    feed: async (...args) => {
      if (isAway) throw new StoreUnavailable('away');
      return store.feed(...args);
    },
  };
  const turns: ((signal: AbortSignal) => Promise<void>)[] = [];
  const relay = startRelay({
    service: 'src',
    store: flaky,
    bus,
    toFact,
    clock,
    random: seededRandom(1),
    log,
    tracer,
    keep: (_, work) => void turns.push(work),
  });
  const turn = turns[0] ?? assert.fail('the relay did not request its work partition');
  const first = new AbortController();
  const ended = turn(first.signal);
  isAway = true;
  await clock.drive(clock.sleep(5_000));
  assert.ok(relay.outage(true)?.error instanceof StoreUnavailable, 'its own failure while it owns the partition');
  first.abort();
  await clock.drive(ended);
  assert.ok(relay.outage()?.error instanceof StoreUnavailable, 'no relay publishes while the store is away');
  assert.equal(relay.outage(true), undefined, 'another replica publishes');
  const second = new AbortController();
  const again = turn(second.signal);
  assert.ok(relay.outage(true), 'its own failure again until it has published');
  isAway = false;
  await clock.drive(clock.sleep(10_000));
  assert.equal(relay.outage(), undefined);
  second.abort();
  await clock.drive(again);
});

test('a commit wakes the relay, without a timer', async () => {
  const { clock, start, append, onBus } = world();
  const relay = start();
  await clock.pass(0);
  const before = clock.monotonicMs();
  await append('disk-1', 'Created');
  await clock.pass(0);
  assert.equal(clock.monotonicMs(), before);
  assert.deepEqual(factsOf(await onBus()), ['disk-1/1 Created']);
  await relay.stop();
});

test('each batch names the position before it, without a gap in any partition', async () => {
  const { clock, start, append, onBus } = world();
  for (let index = 0; index < 40; index += 1) await append(`disk-${index % 9}`, 'Created', 'Changed');
  const relay = start();
  await clock.until(() => relay.position() === 80);
  for (let index = 0; index < 40; index += 1) await append(`disk-${index % 9}`, 'Changed');
  await clock.until(() => relay.position() === 120);
  const last = [0, 0, 0, 0];
  for (const { partition, previousPosition, facts } of await onBus()) {
    assert.equal(previousPosition, last[partition]);
    last[partition] = facts.at(-1)?.position ?? previousPosition;
  }
  await relay.stop();
});

test('large facts are published in several batches, each below the size limit', async () => {
  const { clock, store, bus, start, onBus } = world();
  const text = 'x'.repeat(100_000);
  const events = Array.from({ length: 12 }, () => ({ type: 'Created', schema: 1, data: { text } }));
  await store.commit(
    { appends: [{ stream: 'disk-1', expected: 0, events }] },
    { correlationId: '', causes: [], caller: '' },
  );
  const relay = start();
  await clock.until(() => relay.position() === 12);
  const batches = (await onBus()).filter(({ facts }) => facts.length > 0);
  assert.ok(batches.length >= 3, `${batches.length} batches`);
  for (const batch of batches) assert.ok(FactBatch.encode(batch).finish().length <= 512 * 1024);
  assert.equal(factsOf(batches).length, 12);
  await relay.stop();
  await bus.close();
});

test('an idle relay publishes one watermark a second for each partition', async () => {
  const { clock, start, append, onBus } = world();
  await append('disk-1', 'Created', 'Secret');
  const relay = start();
  await clock.pass(5_500);
  await relay.stop();
  const marks = (await onBus()).filter(({ facts }) => facts.length === 0);
  assert.equal(marks.length, 6 * PARTITIONS);
  for (const { firstPosition, lastPosition } of marks) assert.deepEqual([firstPosition, lastPosition], [2, 2]);
});

test('a relay moves its cursor only past facts that the bus has acknowledged', async () => {
  const { clock, bus, store, start, append } = world();
  bus.faults.loseAck = 1;
  await append('disk-1', 'Created');
  const relay = start();
  await clock.pass(10_000);
  assert.equal(await store.cursor('relay'), 0);
  assert.equal(relay.position(), 0);
  bus.faults.loseAck = 0;
  await clock.until(async () => (await store.cursor('relay')) === 1);
  await relay.stop();
});

test('a relay publishes while its cursor is being stored, and stores the newest position afterwards', async () => {
  const { clock, store, append, onBus, ...parts } = world();
  const storing = Promise.withResolvers<void>();
  const moves: number[] = [];
  const slow: EventStore = {
    ...store,
    async commit(commit, cause) {
      for (const { to } of commit.cursors ?? []) moves.push(to);
      await storing.promise;
      return store.commit(commit, cause);
    },
  };
  await append('disk-1', 'Created');
  const relay = startRelay({ service: 'src', ...parts, store: slow, toFact, clock, random: seededRandom(2), tracer });
  await clock.until(async () => moves.length === 1);
  await append('disk-2', 'Created');
  await clock.until(async () => relay.position() === 2);
  await clock.pass(3_000);
  assert.deepEqual(factsOf(await onBus()).toSorted(), ['disk-1/1 Created', 'disk-2/1 Created']);
  assert.deepEqual(moves, [1], 'one move at a time');
  storing.resolve();
  await clock.until(async () => (await store.cursor('relay')) === 2);
  assert.deepEqual(moves, [1, 2]);
  await relay.stop();
});

test('the next relay continues after the newest message on the bus, even if its cursor is further', async () => {
  const { clock, bus, store, start, append, onBus } = world();
  await append('disk-1', 'Created', 'Changed');
  const first = start();
  await clock.until(async () => (await store.cursor('relay')) === 2);
  await first.stop();
  await append('disk-1', 'Gone');
  const second = start();
  await clock.until(async () => (await store.cursor('relay')) === 3);
  await second.stop();
  const partition = (await onBus()).find(({ facts }) => facts.length > 0)?.partition ?? -1;
  // Both watermarks of the second relay and its batch: the server died before any of it was on disk.
  const held = (await onBus()).filter((batch) => batch.partition === partition);
  const from = held.findIndex(({ facts }) => facts.some(({ type }) => type === 'Gone'));
  assert.ok(from > 0);
  bus.forget(subjectOf('src', partition), held.length - from);
  assert.deepEqual(factsOf(await onBus()), ['disk-1/1 Created', 'disk-1/2 Changed']);
  const third = start();
  await clock.pass(0);
  await third.stop();
  assert.deepEqual(factsOf(await onBus()), ['disk-1/1 Created', 'disk-1/2 Changed', 'disk-1/3 Gone']);
});

test('in a new session a relay publishes again what the bus acknowledged and lost', async () => {
  const { clock, bus, start, append, onBus } = world();
  const relay = start();
  await append('disk-1', 'Created');
  await clock.pass(3_000);
  await append('disk-1', 'Gone');
  await clock.pass(0);
  const partition = (await onBus()).find(({ facts }) => facts.length > 0)?.partition ?? -1;
  bus.disconnect();
  bus.forget(subjectOf('src', partition), 1);
  assert.deepEqual(factsOf(await onBus().catch(() => [])), []);
  bus.reconnect();
  assert.deepEqual(factsOf(await onBus()), ['disk-1/1 Created']);
  await clock.pass(10_000);
  assert.deepEqual(factsOf(await onBus()), ['disk-1/1 Created', 'disk-1/2 Gone']);
  await relay.stop();
});

test('an acknowledgement of an earlier session does not move the relay', async () => {
  const { clock, bus, start, append } = world();
  const publish = bus.publish.bind(bus);
  const held = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
  bus.publish = async (...message) => {
    const { promise } = held[bus.session() === 1 ? 0 : 1];
    await publish(...message);
    if (FactBatch.decode(message[2]).facts.length > 0) await promise;
  };
  const relay = start();
  await clock.pass(0);
  await append('disk-1', 'Created');
  await clock.pass(0);
  bus.disconnect();
  for (let partition = 0; partition < PARTITIONS; partition += 1) bus.forget(subjectOf('src', partition), 1_000);
  bus.reconnect();
  await clock.pass(2_000);
  held[0].resolve();
  await clock.pass(2_000);
  assert.equal(relay.position(), 0);
  held[1].resolve();
  await clock.until(() => relay.position() === 1);
  await relay.stop();
});

test('a bus that lost every message gets a watermark that shows consumers what is missing, not the old facts', async () => {
  const { clock, bus, store, start, append, onBus } = world();
  await append('disk-1', 'Created');
  const first = start();
  await clock.until(async () => (await store.cursor('relay')) === 1);
  await first.stop();
  for (let partition = 0; partition < PARTITIONS; partition += 1) bus.forget(subjectOf('src', partition), 1_000);
  const second = start();
  await clock.pass(0);
  await second.stop();
  const marks = await onBus();
  assert.equal(marks.length, PARTITIONS);
  for (const { previousPosition, lastPosition, facts } of marks) {
    assert.deepEqual([previousPosition, lastPosition, facts.length], [1, 1, 0]);
  }
});

test('a relay refuses a bus that is ahead of its store, and logs what to do', async () => {
  const ahead = world();
  await ahead.append('disk-1', 'Created', 'Gone');
  const told = ahead.start();
  await ahead.clock.until(() => told.position() === 2);
  await told.stop();
  const restored = memoryStore({ clock: ahead.clock });
  const { bus, clock, log, lines } = ahead;
  const relay = startRelay({
    service: 'src',
    store: restored,
    bus,
    toFact,
    clock,
    random: seededRandom(3),
    log,
    tracer,
  });
  await clock.until(() => lines.some((line) => line.includes('NATS_NAMESPACE')));
  assert.equal(await restored.cursor('relay'), 0);
  await relay.stop();
});

test('two relays of one service publish every fact', async () => {
  const { clock, start, append, onBus, store } = world();
  const relays = [start(), start()];
  for (let index = 0; index < 30; index += 1) await append(`disk-${index % 5}`, 'Changed');
  await clock.until(async () => (await store.cursor('relay')) === 30);
  await Promise.all(relays.map((relay) => relay.stop()));
  assert.equal(new Set(factsOf(await onBus())).size, 30);
});

test('G7: only the owner of the partition publishes, and the next owner continues without a gap', async () => {
  const world = testWorld(11);
  const works: ((signal: AbortSignal) => Promise<void>)[] = [];
  const keep = (share: string, work: (signal: AbortSignal) => Promise<void>): void => {
    assert.equal(share, 'relay/0');
    works.push(work);
  };
  for (let replica = 0; replica < 2; replica += 1) world.startRelay(keep);
  const consumer = world.startConsumer();
  await world.append('thing-a', 'Created', 'Changed');
  await world.clock.drive(world.clock.sleep(3_000));
  assert.equal(await world.source.cursor('relay'), 0, 'no replica owns the partition');

  for (const work of works) {
    const turn = new AbortController();
    const telling = work(turn.signal);
    await world.append('thing-a', 'Changed');
    await world.clock.until(() => world.isComplete(['thing-a']));
    turn.abort();
    await world.clock.drive(telling);
  }
  assert.equal((await world.copied('thing-a')).length, 4);
  await world.clock.drive(consumer.stop());
});

test('facts behind an event that this release does not know wait for a release that knows it (G7)', async () => {
  const { store, bus, clock, log, append, start, onBus } = world();
  const older: ToFact = (recorded) => {
    if (recorded.type === 'Newer') throw unknownEvent(recorded as never);
    return toFact(recorded);
  };
  await append('disk-1', 'Created', 'Newer', 'Changed');
  await append('disk-2', 'Created');
  const told = async () =>
    (await onBus()).flatMap(({ facts }) => facts.map(({ position, type }) => `${position} ${type}`));
  const parts = { service: 'src', store, bus, clock, random: seededRandom(2), log, tracer, partitionCount: PARTITIONS };
  const old = startRelay({ ...parts, toFact: older });
  await clock.pass(300_000);
  assert.deepEqual(await told(), ['1 Created'], 'once, however often it is tried');
  assert.equal(await store.cursor('relay'), 1);
  assert.match(String(old.outage()?.error), /does not know the event Newer/);
  const read = (afterPosition: number) => {
    const partition = partitionOf('disk-1', PARTITIONS);
    const asked = { partition, partitionCount: PARTITIONS, afterPosition, limit: 0 };
    return readFeed({ service: 'src', partitionCount: PARTITIONS, store, toFact: older }, asked);
  };
  assert.equal((await read(0)).lastPosition, 1);
  await assert.rejects(read(1), /does not know the event Newer/);
  await clock.drive(old.stop());
  const next = start();
  await clock.pass(1_000);
  assert.deepEqual((await told()).toSorted(), ['1 Created', '2 Newer', '3 Changed', '4 Created']);
  await clock.drive(next.stop());
});
