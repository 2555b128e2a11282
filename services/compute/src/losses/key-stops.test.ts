import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import {
  type Category,
  type Cause,
  category,
  type EventStore,
  memoryStore,
  type StreamName,
  VersionConflict,
} from '@interlock/event-store';
import { systemClock, systemRandom } from '@interlock/runtime';
import { type Disks, Interrupted } from '../disk-service/disks.ts';
import { ownGuests } from '../guests/guests.ts';
import { idleDriver } from '../guests/idle-driver.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import { stoppingLossOf, type Vm } from '../vm/state.ts';
import { at, disk, lossOf, openedAt, running, setOf, stopped, work } from '../vm/test-machine.ts';
import { KeyStops } from './key-stops.ts';
import { openLosses } from './losses.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const loss = lossOf('des', 6);
const until = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
const noDisks: Disks = {
  insist: () => assert.fail('no machine is asked about over the network'),
  open: () => assert.fail('no machine is asked about over the network'),
  ofSet: () => assert.fail('no disk is asked about over the network'),
};

/**
 * Stops over a store in memory.
 * @param listed called with the machines after each page of a set is read
 * @param busy streams that another writer changes just before each commit
 */
const openStops = (
  listed: (vms: Category<Vm, VmEvent>) => Promise<void> = async () => {},
  disks: Disks = noDisks,
  busy: ReadonlySet<StreamName> = new Set(),
) => {
  const store = memoryStore({ clock: systemClock });
  const commits: number[] = [];
  const watched: EventStore = {
    ...store,
    commit: async (commit, why) => {
      const streams = (commit.appends ?? []).map(({ stream }) => stream);
      commits.push(streams.length);
      const beaten = streams.filter((stream) => busy.has(stream));
      if (beaten.length > 0) throw new VersionConflict(beaten);
      return store.commit(commit, why);
    },
  };
  const vms = category(watched, virtualMachines);
  const closed: string[] = [];
  const losses = openLosses(watched);
  const stops = new KeyStops({
    vms: {
      ...vms,
      async list(query) {
        const page = await vms.list(query);
        await listed(vms);
        return page;
      },
    },
    disks,
    guests: ownGuests(idleDriver()),
    losses,
    clock: systemClock,
    random: systemRandom,
    preempt: (ids) => assert.deepEqual(ids, [], 'without guests a machine is off at once'),
    closing: { ofSet: (set) => void closed.push(set), after: (work) => work() },
    measure: () => {},
  });
  const seed = async (ids: readonly string[], history: readonly VmEvent[]): Promise<void> => {
    await vms.transactMany(ids, () => history, cause);
    commits.length = 0;
  };
  const stop = (): Promise<number> => stops.stopFor({ loss, isPartial: false }, cause, new AbortController().signal);
  return { vms, seed, stop, stops, losses, store, commits, closed };
};

test('one commit stores the loss and stops a machine; its disks are closed afterwards', async () => {
  const { vms, seed, stop, commits, closed } = openStops();
  await seed(['a'], running([os]));
  assert.equal(await stop(), 1);
  const { state } = await vms.load('a');
  assert.ok(
    state.status === 'active' && state.power.state === 'stopped' && stoppingLossOf(state)?.reason === 'KEY_DISABLED',
  );
  assert.deepEqual(commits, [1]);
  assert.deepEqual(closed, [setOf('des')]);
});

test('a fleet stops in one commit per page, and a repeated loss stops no machine again (VM-45)', async () => {
  const { vms, seed, stop, commits } = openStops();
  const ids = Array.from({ length: 1_234 }, (_, n) => `vm${String(n).padStart(5, '0')}`);
  await seed(ids, running([os]));
  assert.equal(await stop(), ids.length);
  assert.ok(commits.length <= 3, `${commits.length} commits`);
  assert.equal(await stop(), 0);
  const machines = await vms.loadMany(ids);
  assert.ok(
    machines.every(
      ({ state, version }) => version === 5 && state.status === 'active' && state.power.state === 'stopped',
    ),
  );
});

test('G2: a contended machine does not delay the stops of others; the pass fails with CONTENTION', async () => {
  const busy = new Set<StreamName>();
  const { vms, seed, stop, closed } = openStops(undefined, undefined, busy);
  const ids = Array.from({ length: 1_001 }, (_, n) => `vm${String(n).padStart(5, '0')}`);
  await seed(ids, running([os]));
  busy.add('vm-vm00000');
  await assert.rejects(stop(), { code: 'ABORTED', reason: 'CONTENTION' });
  const powerOf = async (id: string) => {
    const { state } = await vms.load(id);
    return state.status === 'active' ? state.power.state : state.status;
  };
  assert.deepEqual(await Promise.all(['vm00000', 'vm00001', 'vm01000'].map(powerOf)), [
    'running',
    'stopped',
    'stopped',
  ]);
  assert.deepEqual(closed, [setOf('des')], 'for the machines that are off');
  busy.clear();
  assert.equal(await stop(), 1);
  assert.equal(await powerOf('vm00000'), 'stopped');
});

test('G2: a machine that opens its disks between the read and the commit of the loss is stopped too', async () => {
  let looks = 0;
  const { vms, seed, stop } = openStops(async (machines) => {
    looks += 1;
    if (looks > 1) return;
    const opened = openedAt(5, [os], 2);
    await machines.transact(
      'late',
      () => [
        { type: 'DisksOpened', opened, at },
        { type: 'VmStarted', at },
      ],
      cause,
    );
  });
  await seed(['early'], running([os]));
  await seed(['late'], [...stopped([os]), { type: 'VmStarting', work: work('start', 's'), from: 'stopped', at }]);
  assert.equal(await stop(), 2);
  const { state } = await vms.load('late');
  assert.ok(state.status === 'active' && state.power.state === 'stopped');
});

test('CMK-102: a report of a loss that is over does not block the next start; a report of a later loss does', async () => {
  const ultra = disk('ultra', 1, 'ULTRA', 'des');
  const underIt: Disks = {
    ...noDisks,
    async *ofSet() {
      yield Disk.fromPartial({ name: ultra.disk });
    },
  };
  const { vms, seed, stops, losses, store } = openStops(undefined, underIt);
  await seed(['a'], running([disk('plain', 0, 'PREMIUM_SSD'), ultra]));
  const report = () => stops.stopFor({ loss, isPartial: true }, cause, new AbortController().signal);
  const blocked = async () => {
    const { state } = await vms.load('a');
    return state.status === 'active' ? state.blocked.length : undefined;
  };
  await losses.remember(loss, cause);
  await store.commit({ rows: await losses.rowsForRestored(loss.set, loss.keyVersion, 7) }, cause);
  assert.equal(await report(), 0);
  assert.equal(await blocked(), 0);
  const again = { ...loss, accessEpoch: 8 };
  assert.equal(await stops.stopFor({ loss: again, isPartial: true }, cause, new AbortController().signal), 0);
  assert.equal(await blocked(), 1);
});

test('a report of a loss that is being handled waits for that pass, and does not list the disks again', async () => {
  const reading = Promise.withResolvers<void>();
  let looks = 0;
  const { seed, stop, stops, commits } = openStops(async () => {
    looks += 1;
    await reading.promise;
  });
  await seed(['a', 'b'], running([os]));
  const pass = stop();
  const reports = Array.from({ length: 3 }, () =>
    stops.stopFor({ loss, isPartial: true }, cause, new AbortController().signal),
  );
  const leaving = new AbortController();
  const left = assert.rejects(stops.stopFor({ loss, isPartial: true }, cause, leaving.signal), Interrupted);
  leaving.abort();
  await left;
  reading.resolve();
  assert.deepEqual(await Promise.all([pass, ...reports]), [2, 2, 2, 2]);
  // The first page, read beforehand, and the set once again.
  assert.equal(looks, 2);
  assert.deepEqual(commits, [2]);
});

test('a waiting caller restarts an interrupted pass; a loss of all disks does not wait for a partial one', async () => {
  const asked: AbortSignal[] = [];
  const { seed, stop, stops } = openStops(undefined, {
    ...noDisks,
    async *ofSet(_, { signal }) {
      asked.push(signal);
      if (asked.length === 1) await until(signal);
      if (signal.aborted) throw new Interrupted('asked for nothing');
      yield { name: os.disk } as never;
    },
  });
  await seed(['a'], running([os]));
  const first = new AbortController();
  const begun = assert.rejects(stops.stopFor({ loss, isPartial: true }, cause, first.signal), Interrupted);
  const waiting = stops.stopFor({ loss, isPartial: true }, cause, new AbortController().signal);
  assert.equal(await stop(), 1);
  first.abort();
  await begun;
  assert.equal(await waiting, 0);
});
