import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cause, category, memoryStore, StoreUnavailable } from '@interlock/event-store';
import { logger, systemClock, systemRandom, virtualClock } from '@interlock/runtime';
import { closings } from './closings.ts';
import { virtualMachines } from './vm/decider.ts';
import { disk, running, setOf, stopped } from './vm/test-machine.ts';

const cause: Cause = { correlationId: 'c', causationId: 'r', caller: 'principals/p' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
/** Off, and its disk is still to be closed. */
const off = stopped([os]).slice(0, -1);
const idsOf = (prefix: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => `${prefix}${String(n).padStart(5, '0')}`);

/** Closings at work over a store in memory, and an engine that has room for a page each time it is told so. */
const openClosings = (listing: () => void = () => {}) => {
  const clock = virtualClock();
  const vms = category(memoryStore({ clock: systemClock, random: systemRandom }), virtualMachines);
  const handed: string[] = [];
  const waiting: (() => void)[] = [];
  const closing = closings({
    vms: {
      ...vms,
      list: (query) => {
        listing();
        return vms.list(query);
      },
    },
    engine: {
      kick: (ids) => void handed.push(...ids),
      room: (signal) =>
        new Promise((resolve) => {
          waiting.push(resolve);
          signal.addEventListener('abort', () => resolve(), { once: true });
        }),
    },
    clock,
    log: logger({ service: 'compute', clock, write: () => {} }),
  });
  const ending = new AbortController();
  const done = closing.run(ending.signal);
  return {
    vms,
    clock,
    handed,
    closing,
    /** Lets one page go on. */
    async makeRoom() {
      await clock.until(() => waiting.length > 0);
      waiting.shift()?.();
    },
    waits: () => waiting.length > 0,
    async stop() {
      ending.abort();
      await done;
    },
  };
};

test('what is to be closed is handed over a page at a time, no faster than there is room, and nothing else', async () => {
  const { vms, clock, handed, closing, makeRoom, waits, stop } = openClosings();
  const closable = idsOf('b', 1_500);
  await vms.transactMany(closable, () => off, cause);
  await vms.transactMany(idsOf('a', 3), () => running([os]), cause);
  closing.ofSet(setOf('des'));
  await makeRoom();
  await clock.until(waits);
  assert.deepEqual(handed, closable.slice(0, 997), 'the three that run were on the first page');
  await makeRoom();
  await clock.until(() => handed.length === closable.length);
  assert.deepEqual(handed, closable);
  await stop();
});

test('a store that does not answer is asked again, and a set that is named meanwhile has its turn', async () => {
  let outages = 2;
  const { vms, clock, handed, closing, makeRoom, stop } = openClosings(() => {
    if (outages-- > 0) throw new StoreUnavailable('away');
  });
  await vms.transactMany(['a'], () => off, cause);
  const other = disk('os', 0, 'PREMIUM_SSD', 'other');
  await vms.transactMany(['b'], () => stopped([other]).slice(0, -1), cause);
  closing.ofSet(setOf('des'));
  closing.ofSet(setOf('other'));
  for (let look = 0; look < 4; look++) await makeRoom();
  await clock.until(() => handed.length === 2);
  assert.deepEqual(handed.toSorted(), ['a', 'b']);
  await stop();
});

test('it ends at once while it waits for room', async () => {
  const { vms, clock, handed, closing, waits, stop } = openClosings();
  await vms.transactMany(['a'], () => off, cause);
  closing.ofSet(setOf('des'));
  await clock.until(waits);
  await stop();
  assert.deepEqual(handed, []);
});
