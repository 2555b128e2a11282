import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EventStore, memoryStore } from '@interlock/event-store';
import { logger, systemRandom as random, virtualClock } from '@interlock/runtime';
import { HostLeases } from '../host/owner/lease-row.ts';
import { takeOwnership } from '../host/owner/ownership.ts';
import { cuttable } from '../host/test-host-storage.ts';
import { Fence } from './fence.ts';
import { Fleet } from './fleet.ts';

const ttlMs = 10_000;
const cause = { correlationId: 'c', causes: [], caller: 'system:disk' };
const never = new AbortController().signal;

/** A host that holds its folder, and a control process. */
const world = async () => {
  const clock = virtualClock();
  const store: EventStore = memoryStore({ clock });
  const log = logger({ service: 'disk', clock, write: () => undefined });
  const link = { isCut: false };
  const closing = { ended: 0 };
  const ownership = await clock.drive(
    takeOwnership({
      store: cuttable(store, link),
      host: { name: 'disk-0', folder: 'f', machine: 'm', ttlMs },
      ...{ clock, random, log, signal: never },
      endClosed: async () => {
        closing.ended += 1;
      },
      onEnd: () => undefined,
      onReplaced: () => undefined,
    }),
  );
  const leases = new HostLeases(store);
  const state = { status: 'open', folderId: 'f', registeredAt: 1 } as const;
  const fleetOf = async () => {
    const fleet = new Fleet({
      hosts: { listAll: async () => [{ id: 'disk-0', state, version: 1 }] },
      leases,
      clock,
      log,
    });
    await fleet.refresh();
    return fleet;
  };
  const controlProcess = async () => new Fence({ fleet: await fleetOf(), leases, clock });
  /** Waits at a fence. @returns what it said, and after how long */
  const pass = async (fence: Fence, position: number, withinMs: number) => {
    const startedAt = clock.monotonicMs();
    const wait = { leftMs: () => startedAt + withinMs - clock.monotonicMs(), signal: never };
    const isPassed = await clock.drive(fence.passed('disk-0', position, cause, wait));
    return { isPassed, tookMs: clock.monotonicMs() - startedAt };
  };
  return { clock, link, closing, ownership, controlProcess, pass };
};

test('G2: a host that does not respond but renews its lease counts as fenced when it has ended its accesses', async () => {
  const { closing, ownership, controlProcess, pass } = await world();
  const { isPassed, tookMs } = await pass(await controlProcess(), 5, 60_000);
  assert.deepEqual([isPassed, closing.ended, ownership.isHeld()], [true, 1, true]);
  assert.ok(tookMs <= ttlMs, `${tookMs} ms`);
  // A repeat, at any process, and an earlier end: nothing is left to apply.
  assert.deepEqual((await pass(await controlProcess(), 5, 60_000)).tookMs, 0);
  assert.deepEqual((await pass(await controlProcess(), 3, 60_000)).tookMs, 0);
  assert.equal(closing.ended, 1);
  await ownership.release(true);
});

test('G2: a host that is cut off from everything counts as fenced when its lease is over, and not before', async () => {
  const { clock, link, closing, ownership, controlProcess, pass } = await world();
  const fence = await controlProcess();
  link.isCut = true;
  const { isPassed, tookMs } = await pass(fence, 5, 60_000);
  assert.deepEqual([isPassed, closing.ended, ownership.isHeld()], [true, 0, false]);
  assert.ok(tookMs >= ttlMs && tookMs < 1.5 * ttlMs, `${tookMs} ms`);
  // It is back: its next lease comes after the end of its accesses.
  link.isCut = false;
  while (!ownership.isHeld()) {
    assert.equal(closing.ended, 0);
    await clock.pass(50);
    if (closing.ended > 0) break;
  }
  assert.equal(closing.ended, 1);
  await ownership.release(true);
});

test('G2: calls that are shorter than a lease wait together no longer than one', async () => {
  const { clock, link, ownership, controlProcess, pass } = await world();
  const fence = await controlProcess();
  link.isCut = true;
  const startedAt = clock.monotonicMs();
  let calls = 0;
  for (let isOver = false; !isOver; calls += 1) {
    ({ isPassed: isOver } = await pass(fence, 5, 2_000));
    assert.equal(isOver && ownership.isHeld(), false);
  }
  assert.ok(calls > 3, `${calls} calls`);
  assert.ok(clock.monotonicMs() - startedAt < 1.5 * ttlMs);
  await ownership.release(true);
});
