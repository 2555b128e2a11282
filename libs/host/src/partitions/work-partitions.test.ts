import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EventStore, memoryStore, StoreUnavailable } from '@interlock/event-store';
import { logger, type VirtualClock, virtualClock } from '@interlock/runtime';
import { openWorkPartitions } from './work-partitions.ts';

const ttlMs = 3_000;
const all = Array.from({ length: 8 }, (_, n) => `work/${n}`);

/** The replicas of a service, and which of them works on which partition. */
const makeWorld = () => {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const log = logger({ service: 'test', clock, write: () => undefined });
  const atWork = new Map<string, Set<string>>();
  let mostAtOnce = 0;
  let processes = 0;
  /** @param lingersMs how long work continues after its signal was aborted, on all partitions or on the named ones */
  const start = (
    replica: string,
    {
      over = store as EventStore,
      on = clock as VirtualClock,
      lingersMs = 0 as number | Readonly<Record<string, number>>,
    } = {},
  ) => {
    processes += 1;
    const process = `${replica} (${processes})`;
    const partitions = openWorkPartitions({ store: over, clock: on, log, replica, process, ttlMs });
    const stopping = new AbortController();
    for (const partition of all) {
      partitions.keep(partition, async (signal) => {
        const workers = atWork.get(partition) ?? new Set();
        atWork.set(partition, workers.add(process));
        mostAtOnce = Math.max(mostAtOnce, workers.size);
        while (!signal.aborted) await on.sleep(ttlMs, signal);
        await on.sleep(typeof lingersMs === 'number' ? lingersMs : (lingersMs[partition] ?? 0));
        workers.delete(process);
      });
    }
    const running = partitions.run(stopping.signal);
    return {
      partitions,
      process,
      count: () => all.filter((partition) => partitions.holds(partition)).length,
      works: () => all.filter((partition) => atWork.get(partition)?.has(process)).length,
      async stop() {
        stopping.abort();
        await running;
      },
    };
  };
  /** The store of a process that dies when `die` is called: from then on it never responds. */
  const mortalStore = () => {
    const life = { isOver: false };
    const over: EventStore = {
      ...store,
      cursor: async (name) => (life.isOver ? new Promise(() => undefined) : store.cursor(name)),
    };
    return {
      over,
      die: () => {
        life.isOver = true;
      },
    };
  };
  return { clock, store, start, mortalStore, mostAtOnce: () => mostAtOnce };
};

test('two replicas each get half of the partitions, and never work on one at the same time', async () => {
  const { clock, start, mostAtOnce } = makeWorld();
  const a = start('a');
  await clock.until(() => a.works() === 8);
  const b = start('b', { lingersMs: 500 });
  await clock.until(() => a.works() === 4 && b.works() === 4);
  assert.deepEqual([a.count(), b.count()], [4, 4]);
  await clock.drive(b.stop());
  await clock.until(() => a.works() === 8);
  await clock.drive(a.stop());
  assert.equal(a.works(), 0);
  assert.equal(mostAtOnce(), 1);
});

test('another replica takes the work of a dead one within two ttls; a process of the same name takes it at once', async () => {
  const { clock, start, mortalStore } = makeWorld();
  const mortal = mortalStore();
  const a = start('a', { over: mortal.over });
  const b = start('b');
  await clock.until(() => a.works() === 4 && b.works() === 4);
  mortal.die();
  const diedAt = clock.monotonicMs();
  await clock.until(() => b.count() === 8);
  assert.ok(clock.monotonicMs() - diedAt <= 2 * ttlMs, `${clock.monotonicMs() - diedAt} ms`);
  assert.equal(a.count(), 0, 'its own heartbeat expired before');

  const alone = makeWorld();
  const first = alone.start('a', { over: { ...alone.store } });
  await alone.clock.until(() => first.works() === 8);
  const startedAt = alone.clock.monotonicMs();
  const second = alone.start('a');
  await alone.clock.until(() => second.works() === 8);
  assert.ok(alone.clock.monotonicMs() - startedAt < ttlMs / 4);
  await alone.clock.until(() => first.works() === 0);
  assert.equal(first.count(), 0, 'a replaced process does no more work');
  const third = alone.start('a');
  await alone.clock.until(() => third.works() === 8);
  await alone.clock.drive(second.stop());
  assert.equal(third.count(), 8, 'and takes nothing with it');
  await alone.clock.drive(third.stop());
  await alone.clock.until(() => first.works() === 8, 2 * ttlMs);
  await alone.clock.drive(first.stop());
});

test('a leaving replica releases each partition when its work has ended, and no other replica starts it earlier', async () => {
  const { clock, start, mostAtOnce } = makeWorld();
  const leaving = start('a', { lingersMs: { 'work/3': 4 * ttlMs } });
  await clock.until(() => leaving.works() === 8);
  const staying = start('b');
  await clock.until(() => staying.works() === 4 && leaving.works() === 4);
  assert.ok(leaving.partitions.holds('work/3'));
  const begunAt = clock.monotonicMs();
  const left = leaving.stop();
  await clock.until(() => staying.works() >= 7, ttlMs / 2);
  await clock.drive(left);
  assert.equal(clock.monotonicMs() - begunAt, 4 * ttlMs);
  await clock.until(() => staying.works() === 8, ttlMs / 2);
  assert.equal(mostAtOnce(), 1);
  await clock.drive(staying.stop());
});

test('a replica whose store is unreachable stops before another starts, and continues when the store is back', async () => {
  const { clock, store, start, mostAtOnce } = makeWorld();
  const cut = { isCut: false };
  const behind: EventStore = {
    ...store,
    cursor: async (name) => {
      if (cut.isCut) throw new StoreUnavailable('cut off');
      return store.cursor(name);
    },
  };
  const a = start('a', { over: behind });
  await clock.until(() => a.works() === 8);
  cut.isCut = true;
  await clock.until(() => a.count() === 0 && a.works() === 0);
  const b = start('b');
  await clock.until(() => b.works() === 8);
  cut.isCut = false;
  await clock.until(() => a.works() === 4 && b.works() === 4);
  assert.equal(mostAtOnce(), 1);
});

test('G7: the time to live of a heartbeat starts before it is stored, not when the store responds', async () => {
  const { clock, store, start } = makeWorld();
  let isCut = false;
  const slow: EventStore = {
    ...store,
    commit: async (...given) => {
      if (isCut) throw new StoreUnavailable('cut off');
      const answer = await store.commit(...given);
      await clock.sleep(0.8 * ttlMs);
      return answer;
    },
  };
  const a = start('a', { over: slow });
  await clock.until(() => a.count() === 8);
  isCut = true;
  const receivedAt = clock.monotonicMs();
  await clock.until(() => a.count() === 0);
  const usedMs = clock.monotonicMs() - receivedAt;
  assert.ok(usedMs <= 0.2 * ttlMs, `${usedMs} ms after the answer`);
  isCut = false;
  await clock.drive(a.stop());
});

test('work that fails is restarted with a pause, and does not affect other work', async () => {
  const { clock, store } = makeWorld();
  const log = logger({ service: 'test', clock, write: () => undefined });
  const partitions = openWorkPartitions({ store, clock, log, replica: 'a', process: 'p', ttlMs });
  let begun = 0;
  let others = 0;
  partitions.keep('work/0', async () => {
    begun += 1;
    throw new Error('broken');
  });
  partitions.keep('work/1', async (signal) => {
    others += 1;
    await clock.sleep(1_000_000, signal);
  });
  const stopping = new AbortController();
  const running = partitions.run(stopping.signal);
  await clock.until(() => begun === 3);
  assert.ok(clock.monotonicMs() >= ttlMs / 4, 'not in a hot loop');
  assert.equal(others, 1);
  stopping.abort();
  await clock.drive(running);
});

test('replicas are listed with their state; a dead one is gone until it is replaced, one that left is not listed', async () => {
  const { clock, start, mortalStore } = makeWorld();
  const mortal = mortalStore();
  const a = start('a');
  const b = start('b', { over: mortal.over });
  await clock.until(() => a.works() === 4 && b.works() === 4);
  const known = async () =>
    (await a.partitions.replicas()).map(({ name, state, partitionCount }) => [name, state, partitionCount]);
  assert.deepEqual(await known(), [
    ['a', 'working', 4],
    ['b', 'working', 4],
  ]);
  mortal.die();
  const diedAt = clock.now();
  await clock.until(() => a.works() === 8);
  assert.deepEqual(await known(), [
    ['a', 'working', 8],
    ['b', 'gone', 0],
  ]);
  const [, gone] = await a.partitions.replicas();
  assert.ok(gone?.goneAt !== undefined && gone.goneAt >= diedAt && gone.goneAt <= clock.now(), `${gone?.goneAt}`);
  const c = start('c');
  await clock.until(() => a.works() === 4 && c.works() === 4);
  assert.deepEqual(
    (await known()).map(([name]) => name),
    ['a', 'c'],
  );
  await clock.drive(c.stop());
  await clock.until(() => a.works() === 8);
  assert.deepEqual(await known(), [['a', 'working', 8]]);
});

test('if all processes are killed and fewer are started, none is listed as gone', async () => {
  const { clock, start, mortalStore } = makeWorld();
  const [one, two] = [mortalStore(), mortalStore()];
  const a = start('a', { over: one.over });
  const b = start('b', { over: two.over });
  await clock.until(() => a.works() === 4 && b.works() === 4);
  one.die();
  two.die();
  await clock.pass(ttlMs);
  const again = start('a');
  await clock.until(() => again.works() === 8);
  assert.deepEqual(
    (await again.partitions.replicas()).map(({ name }) => name),
    ['a'],
  );
});

test('a replica that dies soon after another has restarted is listed as gone', async () => {
  const { clock, start, mortalStore } = makeWorld();
  const [one, two] = [mortalStore(), mortalStore()];
  const a = start('a', { over: one.over });
  const b = start('b', { over: two.over });
  await clock.until(() => a.works() === 4 && b.works() === 4);
  one.die();
  const again = start('a');
  await clock.until(() => again.works() === 4, ttlMs / 4);
  two.die();
  await clock.until(() => again.works() === 8);
  assert.deepEqual(
    (await again.partitions.replicas()).map(({ name, state }) => `${name} ${state}`),
    ['a working', 'b gone'],
  );
});
