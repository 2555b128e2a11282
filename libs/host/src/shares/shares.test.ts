import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EventStore, memoryStore, StoreUnavailable } from '@interlock/event-store';
import { logger, seededRandom, type VirtualClock, virtualClock } from '@interlock/runtime';
import { openShares } from './shares.ts';

const ttlMs = 3_000;
const all = Array.from({ length: 8 }, (_, n) => `work/${n}`);

/** A service's replicas, and who is at work on what. */
const makeWorld = () => {
  const clock = virtualClock();
  const store = memoryStore({ clock, random: seededRandom(1) });
  const log = logger({ service: 'test', clock, write: () => undefined });
  const atWork = new Map<string, Set<string>>();
  let mostAtOnce = 0;
  let processes = 0;
  /** @param lingersMs how long work goes on after it was told to end */
  const start = (replica: string, { over = store as EventStore, on = clock as VirtualClock, lingersMs = 0 } = {}) => {
    processes += 1;
    const process = `${replica} (${processes})`;
    const shares = openShares({ store: over, clock: on, log, replica, process, ttlMs });
    const stopping = new AbortController();
    for (const share of all) {
      shares.keep(share, async (signal) => {
        const workers = atWork.get(share) ?? new Set();
        atWork.set(share, workers.add(process));
        mostAtOnce = Math.max(mostAtOnce, workers.size);
        while (!signal.aborted) await on.sleep(ttlMs, signal);
        await on.sleep(lingersMs);
        workers.delete(process);
      });
    }
    const running = shares.run(stopping.signal);
    return {
      shares,
      process,
      count: () => all.filter((share) => shares.holds(share)).length,
      works: () => all.filter((share) => atWork.get(share)?.has(process)).length,
      async stop() {
        stopping.abort();
        await running;
      },
    };
  };
  return { clock, store, start, mostAtOnce: () => mostAtOnce };
};

test('two replicas come to do half of the work each, and none of it is ever done by both', async () => {
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

test('what a replica did that died the other does within seconds; one that starts again under its name at once', async () => {
  const { clock, store, start } = makeWorld();
  const broken = { isBroken: false };
  const mortal: EventStore = {
    ...store,
    cursor: async (name) => (broken.isBroken ? new Promise(() => undefined) : store.cursor(name)),
  };
  const a = start('a', { over: mortal });
  const b = start('b');
  await clock.until(() => a.works() === 4 && b.works() === 4);
  broken.isBroken = true;
  const diedAt = clock.monotonicMs();
  await clock.until(() => b.count() === 8);
  assert.ok(clock.monotonicMs() - diedAt <= 2 * ttlMs, `${clock.monotonicMs() - diedAt} ms`);
  assert.equal(a.count(), 0, 'its own time was over before');

  const alone = makeWorld();
  const first = alone.start('a', { over: { ...alone.store } });
  await alone.clock.until(() => first.works() === 8);
  const startedAt = alone.clock.monotonicMs();
  const second = alone.start('a');
  await alone.clock.until(() => second.works() === 8);
  assert.ok(alone.clock.monotonicMs() - startedAt < ttlMs / 4);
  await alone.clock.until(() => first.works() === 0);
  assert.equal(first.count(), 0, 'whoever was replaced does nothing any more');
  const third = alone.start('a');
  await alone.clock.until(() => third.works() === 8);
  await alone.clock.drive(second.stop());
  assert.equal(third.count(), 8, 'and takes nothing with it');
  await alone.clock.drive(third.stop());
  await alone.clock.until(() => first.works() === 8, 2 * ttlMs);
  await alone.clock.drive(first.stop());
});

test('a replica whose store is gone stops before another begins, and goes on when it is back', async () => {
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

test('work that ended by itself begins again, and a failing piece holds up no other', async () => {
  const { clock, store } = makeWorld();
  const log = logger({ service: 'test', clock, write: () => undefined });
  const shares = openShares({ store, clock, log, replica: 'a', process: 'p', ttlMs });
  let begun = 0;
  let others = 0;
  shares.keep('work/0', async () => {
    begun += 1;
    throw new Error('broken');
  });
  shares.keep('work/1', async (signal) => {
    others += 1;
    await clock.sleep(1_000_000, signal);
  });
  const stopping = new AbortController();
  const running = shares.run(stopping.signal);
  await clock.until(() => begun === 3);
  assert.ok(clock.monotonicMs() >= ttlMs / 4, 'not in a hot loop');
  assert.equal(others, 1);
  stopping.abort();
  await clock.drive(running);
});
