import assert from 'node:assert/strict';
import { test } from 'node:test';
import { category, type EventStore, memoryStore, type StreamName, VersionConflict } from '@interlock/event-store';
import { systemClock, systemRandom } from '@interlock/runtime';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import { applyKeyLoss } from '../vm/key-loss.ts';
import { at, disk, fold, lossOf, running, setOf, version1, work } from '../vm/test-machine.ts';
import { vmOnWire } from '../vm/wire.ts';
import { KeyReturns } from './key-returns.ts';
import { openLosses } from './losses.ts';
import { openSetOptions } from './set-options.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const loss = lossOf('des', 6);
const stopTerms = { loss, work: work('keyStop', 'k'), isInstant: true } as const;
/** Stopped because its key was lost, its disk closed. */
const stoppedByLoss: readonly VmEvent[] = [
  ...running([os]),
  ...applyKeyLoss(stopTerms)(fold(running([os]))),
  { type: 'DisksClosed', at },
];

/**
 * A fleet that a lost key stopped, and restored access to that key.
 * @param beaten streams that another writer changes just before each commit
 */
const openReturns = async (size: number, autoRestart: boolean, beaten: ReadonlySet<StreamName> = new Set()) => {
  const store = memoryStore({ clock: systemClock });
  const commits: number[] = [];
  let goesFirst = false;
  /** What was stored while disks might have been closed. */
  const beside: unknown[] = [];
  const watched: EventStore = {
    ...store,
    commit: async (commit, why) => {
      const streams = (commit.appends ?? []).map(({ stream }) => stream);
      commits.push(streams.length);
      if (!goesFirst) beside.push(commit);
      const lost = streams.filter((stream) => beaten.has(stream));
      if (lost.length > 0) throw new VersionConflict(lost);
      return store.commit(commit, why);
    },
  };
  const vms = category(watched, virtualMachines);
  const options = openSetOptions(watched);
  await store.commit({ rows: [options.put(setOf('des'), { autoRestart })] }, cause);
  const ids = Array.from({ length: size }, (_, n) => `vm${String(n).padStart(5, '0')}`);
  await vms.transactMany(ids, () => stoppedByLoss, cause);
  commits.length = 0;
  beside.length = 0;
  const kicked: string[] = [];
  const returns = new KeyReturns({
    vms,
    losses: openLosses(watched),
    options,
    clock: systemClock,
    random: systemRandom,
    closing: {
      async after(work) {
        goesFirst = true;
        return work().finally(() => {
          goesFirst = false;
        });
      },
    },
    resume: (machines) => void kicked.push(...machines.map(({ id }) => id)),
  });
  return {
    vms,
    ids,
    commits,
    beside,
    kicked,
    returned: () => returns.returned({ set: setOf('des'), keyVersion: version1 }, cause),
  };
};

test('CMK-125: restored access is recorded in one commit per page, and starts no machine', async () => {
  const { vms, ids, commits, beside, kicked, returned } = await openReturns(1_200, false);
  await returned();
  assert.deepEqual(beside, [], 'closing their disks waits for it');
  const states = (await vms.loadMany(ids)).map(({ state }) => state);
  assert.ok(states.every((state) => state.status === 'active' && state.blocked.length === 0));
  assert.deepEqual(commits, [500, 500, 200]);
  assert.deepEqual(kicked, [], 'the engine has nothing to look at');
  await returned();
  assert.equal(commits.length, 3, 'a repeat decides nothing');
});

test('CMK-125: a stopped machine shows what stopped it, and whether access was restored since', async () => {
  const { vms, ids, returned } = await openReturns(1, false);
  const seen = async () => {
    const [loaded = assert.fail()] = await vms.loadMany(ids);
    const { powerState, stopReason, keyReturned } = vmOnWire(loaded);
    return [powerState, stopReason?.reason, keyReturned];
  };
  assert.deepEqual(await seen(), ['STOPPED', 'KEY_DISABLED', false]);
  await returned();
  assert.deepEqual(await seen(), ['STOPPED', 'KEY_DISABLED', true]);
});

test('a machine that no lost key stopped has no keyReturned', () => {
  const vm = vmOnWire({ id: 'vm', version: 1, state: fold(running([os])) });
  assert.deepEqual([vm.powerState, vm.keyReturned], ['RUNNING', undefined]);
});

test('CMK-125: a contended machine does not delay the starts of others; the call fails with CONTENTION', async () => {
  const beaten = new Set<StreamName>();
  const { ids, kicked, returned } = await openReturns(502, true, beaten);
  const [busy = '', ...others] = ids;
  beaten.add(`vm-${busy}`);
  await assert.rejects(returned(), { code: 'ABORTED', reason: 'CONTENTION' });
  assert.deepEqual(kicked.toSorted(), others, 'also those of the next page');
  beaten.clear();
  await returned();
  assert.deepEqual(kicked.toSorted(), ids);
});

test('machines that start again are handed to the engine', async () => {
  const { ids, kicked, returned } = await openReturns(3, true);
  await returned();
  assert.deepEqual(kicked.toSorted(), ids);
});
