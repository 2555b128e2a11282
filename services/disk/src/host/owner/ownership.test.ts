import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EventStore, memoryStore } from '@interlock/event-store';
import { logger, systemRandom as random, type VirtualClock, virtualClock } from '@interlock/runtime';
import { HostLeases } from './lease-row.ts';
import { type Owner, type Ownership, takeOwnership } from './ownership.ts';

const ttlMs = 10_000;

/** A store, and hosts that compete for its one folder. */
const world = () => {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const reports: string[] = [];
  /** The last owner that the folder has stored. */
  let lastOwner: Owner | undefined;
  /** What a host does when accesses ended without it. */
  const closing = { end: async (): Promise<void> => undefined };
  const host = (machine: string, through: EventStore = store) => {
    const stop = new AbortController();
    const taking = takeOwnership({
      store: through,
      host: { name: 'disk-0', folder: 'f', machine, ttlMs, lastOwner },
      onTaken: async (owner) => {
        lastOwner = owner;
      },
      clock,
      random,
      log: logger({ service: 'disk', clock, write: () => undefined }),
      signal: stop.signal,
      endClosed: () => closing.end(),
      onEnd: () => reports.push(`${machine} ended`),
      onReplaced: () => reports.push(`${machine} replaced`),
    });
    return { taking, stop };
  };
  return { clock, store, reports, host, closing };
};

/** A connection to a store that can be cut, or can lose the next response after the commit. */
const link = (store: EventStore) => {
  const state = { isCut: false, losesAnswer: false };
  const commit: EventStore['commit'] = async (...args) => {
    if (state.isCut) throw new Error('no answer');
    const answer = await store.commit(...args);
    if (!state.losesAnswer) return answer;
    state.losesAnswer = false;
    throw new Error('no answer');
  };
  return { state, store: { ...store, commit } };
};

const owns = (ownership: Ownership): boolean => {
  try {
    ownership.check();
    return true;
  } catch {
    return false;
  }
};

/** Lets time pass in small steps. @returns the result of `look` after each */
const pass = async <Seen>(clock: VirtualClock, durationMs: number, look: () => Seen): Promise<readonly Seen[]> => {
  const seen: Seen[] = [];
  for (let passed = 0; passed < durationMs; passed += 50) {
    await clock.pass(50);
    seen.push(look());
  }
  return seen;
};

test('an owner that renews keeps the folder, and a successor waits until the owner releases it', async () => {
  const { clock, reports, host } = world();
  const first = await clock.drive(host('a').taking);
  let isTaken = false;
  const second = host('b');
  void second.taking.then(() => {
    isTaken = true;
  });
  assert.ok((await pass(clock, 20 * ttlMs, () => owns(first) && !isTaken)).every(Boolean));
  assert.deepEqual([first.epoch, reports], [1, []]);
  await first.release(true);
  assert.ok(!owns(first));
  await pass(clock, ttlMs, () => undefined);
  assert.equal((await second.taking).epoch, 2, 'the successor does not wait for the end of a released lease');
});

test('an owner that is cut off from the store stops before another host owns the folder, and learns that it was replaced', async () => {
  const { clock, store, reports, host } = world();
  const way = link(store);
  const first = await clock.drive(host('a', way.store).taking);
  await pass(clock, 3 * ttlMs, () => undefined);
  way.state.isCut = true;
  let second: Ownership | undefined;
  void host('b').taking.then((taken) => {
    second = taken;
  });
  const owners = await pass(clock, 3 * ttlMs, () => [owns(first), second !== undefined && owns(second)]);
  assert.ok(
    owners.every(([old, next]) => !(old && next)),
    'never both',
  );
  assert.deepEqual(owners.at(-1), [false, true]);
  assert.equal(second?.epoch, 2);
  assert.deepEqual(reports, ['a ended']);
  way.state.isCut = false;
  await pass(clock, 2 * ttlMs, () => undefined);
  assert.deepEqual(reports, ['a ended', 'a replaced']);
  assert.throws(() => first.check(), { reason: 'DISK_HOST_REPLACED' });
});

for (const renewed of [0, 2]) {
  test(`G7: the lease time starts when the request is sent, however late the response, after ${renewed} renewals`, async () => {
    const { clock, store, host } = world();
    const sentAt: number[] = [];
    const slow: EventStore['commit'] = async (...args) => {
      if (sentAt.length > renewed) throw new Error('no answer');
      sentAt.push(clock.now());
      const answer = await store.commit(...args);
      await clock.sleep(2_000);
      return answer;
    };
    const ownership = await clock.drive(host('a', { ...store, commit: slow }).taking);
    const ownedAt: number[] = [];
    for (let passed = 0; passed < 4 * ttlMs; passed += 50) {
      await clock.pass(50);
      if (owns(ownership)) ownedAt.push(clock.now());
    }
    assert.equal(sentAt.length, renewed + 1);
    const ownedMs = (ownedAt.at(-1) ?? 0) - (sentAt.at(-1) ?? 0);
    assert.ok(ownedMs < ttlMs && ownedMs > 0.9 * ttlMs, `${ownedMs} ms`);
    await clock.drive(ownership.release(true).catch(() => undefined));
  });
}

test('a host that is cut off for longer than its lease stops, and continues if no other host took over', async () => {
  const { clock, store, reports, host } = world();
  const way = link(store);
  const first = await clock.drive(host('a', way.store).taking);
  way.state.isCut = true;
  await pass(clock, 2 * ttlMs, () => undefined);
  assert.throws(() => first.check(), { reason: 'DISK_HOST_LEASE_OVER' });
  way.state.isCut = false;
  await pass(clock, ttlMs, () => undefined);
  assert.ok(owns(first));
  assert.deepEqual([first.epoch, reports], [1, ['a ended']]);
});

test('a renewal whose response is lost does not interrupt ownership', async () => {
  const { clock, store, reports, host } = world();
  const way = link(store);
  const first = await clock.drive(host('a', way.store).taking);
  way.state.losesAnswer = true;
  assert.ok((await pass(clock, 3 * ttlMs, () => owns(first))).every(Boolean));
  assert.ok(!way.state.losesAnswer);
  assert.deepEqual(reports, []);
});

test('a process that restarts on the same machine takes over at once and keeps the epoch', async () => {
  const { clock, reports, host } = world();
  const first = await clock.drive(host('a').taking);
  const again = await clock.drive(host('a').taking);
  assert.deepEqual([first.epoch, again.epoch], [1, 1]);
  await pass(clock, ttlMs, () => undefined);
  assert.ok(owns(again) && !owns(first));
  assert.deepEqual(reports, ['a ended', 'a replaced']);
});

test('after a restore of the store, no host gets an epoch below that of the last owner of the folder', async () => {
  const { clock, host } = world();
  const first = await clock.drive(host('a').taking);
  await first.release(true);
  const second = await clock.drive(host('b').taking);
  assert.equal(second.epoch, 2);
  await second.release(true);
  const restored = () => memoryStore({ clock });
  const again = await clock.drive(host('b', restored()).taking);
  assert.equal(again.epoch, 2, 'the machine that had it keeps its epoch');
  await again.release(true);
  const other = await clock.drive(host('c', restored()).taking);
  assert.equal(other.epoch, 3, 'another one takes the next');
  await other.release(true);
});

test('G5: opens of an epoch are intact until a machine ends without a flush, also if hosts stop cleanly after that', async () => {
  const { clock, store, host } = world();
  const seen: (readonly [machine: string, epoch: number, intactSince: number])[] = [];
  const steps = [
    ['a', 'killed'],
    ['a', 'flushed'],
    ['b', 'flushed'],
    ['c', 'killed'],
    ['d', 'flushed'],
    ['e', 'not flushed'],
    ['f', 'flushed'],
  ] as const;
  for (const [machine, end] of steps) {
    const way = link(store);
    const ownership = await clock.drive(host(machine, way.store).taking);
    seen.push([machine, ownership.epoch, ownership.intactSince]);
    if (end === 'killed') way.state.isCut = true;
    else await ownership.release(end === 'flushed');
  }
  assert.deepEqual(seen, [
    ['a', 1, 0],
    ['a', 1, 0],
    ['b', 2, 0],
    ['c', 3, 0],
    ['d', 4, 4],
    ['e', 5, 4],
    ['f', 6, 6],
  ]);
});

test('G5: after a restore of the store, opens that it knows count as intact only on the last machine', async () => {
  const { clock, store, host } = world();
  const first = await clock.drive(host('a').taking);
  await first.release(true);
  const second = await clock.drive(host('b', memoryStore({ clock })).taking);
  assert.deepEqual([second.epoch, second.intactSince], [2, 2]);
  await second.release(true);
  const third = await clock.drive(host('c', store).taking);
  assert.deepEqual([third.epoch, third.intactSince], [3, 3]);
  await third.release(true);
});

test('a successor that is stopped while it waits does not take ownership', async () => {
  const { clock, host } = world();
  const first = await clock.drive(host('a').taking);
  const second = host('b');
  const waiting = assert.rejects(second.taking, /stopped while/);
  second.stop.abort();
  await pass(clock, ttlMs, () => undefined);
  await waiting;
  assert.ok(owns(first));
});

test('after the machine was suspended, the lease is renewed at once for a waiting caller', async () => {
  const { clock, host } = world();
  const first = await clock.drive(host('a').taking);
  clock.suspend(10 * ttlMs);
  assert.ok(!first.isHeld());
  let waitedMs: number | undefined;
  const since = clock.monotonicMs();
  const { signal } = new AbortController();
  void first.regained(ttlMs, signal).then(() => {
    waitedMs = clock.monotonicMs() - since;
  });
  await pass(clock, 100, () => undefined);
  assert.ok(waitedMs !== undefined && waitedMs <= 100, `waited for ${waitedMs} ms`);
  assert.ok(first.isHeld());
});

test('a wait for a lease that cannot be renewed fails at its timeout, or when another host has the lease', async () => {
  const { clock, store, host } = world();
  const way = link(store);
  const first = await clock.drive(host('a', way.store).taking);
  way.state.isCut = true;
  await pass(clock, 2 * ttlMs, () => undefined);
  const { signal } = new AbortController();
  const over = assert.rejects(first.regained(500, signal), { reason: 'DISK_HOST_LEASE_OVER' });
  await pass(clock, 600, () => undefined);
  await over;
  const replaced = assert.rejects(first.regained(10 * ttlMs, signal), { reason: 'DISK_HOST_REPLACED' });
  await clock.drive(host('b').taking);
  way.state.isCut = false;
  await pass(clock, 2 * ttlMs, () => undefined);
  await replaced;
});

const closer = { correlationId: 'c', causes: [], caller: 'system:disk' };

test('G2: a lease is not renewed before the accesses that ended without its holder are ended there', async () => {
  const { clock, store, host, closing } = world();
  const leases = new HostLeases(store);
  const first = await clock.drive(host('a').taking);
  await pass(clock, ttlMs, () => undefined);
  assert.equal((await leases.read('f')).lease?.appliedPosition, 0);
  const ended = Promise.withResolvers<void>();
  let calls = 0;
  closing.end = () => {
    calls += 1;
    return ended.promise;
  };
  await leases.requireClosed('f', 7, closer);
  await leases.requireClosed('f', 5, closer);
  const { renewals } = await leases.read('f');
  await pass(clock, 2 * ttlMs, () => undefined);
  assert.deepEqual([calls, first.isHeld(), (await leases.read('f')).renewals], [1, false, renewals]);
  // More accesses end meanwhile.
  await leases.requireClosed('f', 9, closer);
  ended.resolve();
  await pass(clock, ttlMs, () => undefined);
  assert.deepEqual([calls, first.isHeld(), (await leases.read('f')).lease?.appliedPosition], [2, true, 9]);
  await clock.drive(first.release(true));
});

test('G2: a process that takes a folder has applied what ended before, and a release is stored whatever ended', async () => {
  const { clock, store, host } = world();
  const leases = new HostLeases(store);
  await leases.requireClosed('f', 7, closer);
  const first = await clock.drive(host('a').taking);
  assert.equal((await leases.read('f')).lease?.appliedPosition, 7);
  await leases.requireClosed('f', 8, closer);
  await first.release(true);
  assert.equal((await leases.read('f')).lease?.isReleased, true);
});
