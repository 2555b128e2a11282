import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cause, category, memoryStore, Rejection, StoreUnavailable } from '@interlock/event-store';
import { itemRefusal } from '@interlock/rpc';
import { logger, systemClock, systemRandom, virtualClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type DiskClient, openDisks } from '../disk-service/disks.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import { at, disk, openedAt, running, setOf, stopped, work } from '../vm/test-machine.ts';
import { FleetClosing } from './fleet-closing.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
/** Off, and its disk is still to be closed. */
const off = stopped([os]).slice(0, -1);
const idsOf = (prefix: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => `${prefix}${String(n).padStart(5, '0')}`);

/** The events that follow when its user starts it and powers it off again. */
const startedAndStopped: readonly VmEvent[] = [
  { type: 'DisksClosed', at },
  { type: 'VmStarting', work: work('start', 's'), from: 'stopped', at },
  { type: 'DisksOpened', opened: openedAt(6, [os], 2), at },
  { type: 'VmStarted', at },
  { type: 'VmStopping', work: work('powerOff', 'q'), at },
  { type: 'VmStopped', at },
];

type Answer = Awaited<ReturnType<DiskClient['closeDisks']>>['outcomes'][number];
const closed: Answer = { outcome: { $case: 'closed', value: {} }, event: '' };
const refused = (error: unknown): Answer => ({
  outcome: { $case: 'refused', value: { ...itemRefusal(error) } },
  event: '',
});

/** Runs the closing of a fleet, with a store in memory and a disk service that responds as `close` says. */
const openFleetClosing = (
  parts: {
    readonly listing?: () => void;
    readonly close?: (vm: string, call: number) => Promise<Answer> | Answer;
  } = {},
) => {
  const { listing = () => {}, close = () => closed } = parts;
  const clock = virtualClock();
  const vms = category(memoryStore({ clock: systemClock }), virtualMachines);
  const calls: string[][] = [];
  const handed: string[] = [];
  const client = {
    async closeDisks({ closings: wanted = [] }) {
      const machines = wanted.map(({ virtualMachine = '' }) => virtualMachine);
      calls.push(machines);
      return { outcomes: await Promise.all(machines.map((vm) => close(vm, calls.length))) };
    },
  } as Partial<DiskClient> as DiskClient;
  const closing = new FleetClosing({
    vms: {
      ...vms,
      list: (query) => {
        listing();
        return vms.list(query);
      },
    },
    disks: openDisks({ client, clock, random: systemRandom, tracer: trace.getTracer('test'), callsMax: 8 }),
    engine: { kick: (ids) => void handed.push(...ids), room: async () => {} },
    clock,
    random: systemRandom,
    log: logger({ service: 'compute', clock, write: () => {} }),
  });
  const ending = new AbortController();
  const done = closing.run(ending.signal);
  return {
    vms,
    clock,
    /** Machines of each call. */
    calls,
    /** Machines left to the engine. */
    handed,
    closing,
    /** Whether the disks of all these are recorded as closed. */
    areClosed: async (ids: readonly string[]) =>
      (await vms.loadMany(ids)).every(
        ({ state }) => state.status === 'active' && state.disks.every(({ access }) => access === 'closed'),
      ),
    async stop() {
      ending.abort();
      await done;
    },
  };
};

test('the disks of a stopped fleet are closed in few calls, and those of running machines stay open', async () => {
  const { vms, clock, calls, closing, areClosed, stop } = openFleetClosing();
  const closable = idsOf('b', 1_500);
  await vms.transactMany(closable, () => off, cause);
  await vms.transactMany(idsOf('a', 3), () => running([os]), cause);
  closing.ofSet(setOf('des'));
  await clock.until(() => calls.flat().length === closable.length);
  await clock.until(() => areClosed(closable));
  assert.deepEqual(calls.flat(), closable);
  assert.deepEqual(
    calls.map(({ length }) => length),
    [500, 497, 500, 3],
    'the three that run were on the first page of a thousand',
  );
  await stop();
});

test('an unreachable store is retried, and a set that is added meanwhile is closed too', async () => {
  let outages = 2;
  const { vms, clock, closing, areClosed, stop } = openFleetClosing({
    listing: () => {
      if (outages-- > 0) throw new StoreUnavailable('away');
    },
  });
  await vms.transactMany(['a'], () => off, cause);
  const other = disk('os', 0, 'PREMIUM_SSD', 'other');
  await vms.transactMany(['b'], () => stopped([other]).slice(0, -1), cause);
  closing.ofSet(setOf('des'));
  closing.ofSet(setOf('other'));
  await clock.until(() => areClosed(['a', 'b']));
  await stop();
});

test('a definite refusal counts as closed; only closes without a definite answer are retried', async () => {
  const { vms, clock, calls, closing, areClosed, stop } = openFleetClosing({
    close: (vm, call) => {
      if (vm === 'gone') return refused(new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', 'gone', {}));
      return vm === 'busy' && call === 1 ? refused(new Rejection('ABORTED', 'CONTENTION', 'busy', {})) : closed;
    },
  });
  await vms.transactMany(['busy', 'gone', 'well'], () => off, cause);
  closing.everywhere();
  await clock.until(() => areClosed(['busy', 'gone', 'well']));
  assert.deepEqual(calls, [['busy', 'gone', 'well'], ['busy']]);
  await stop();
});

test('a page with a disk that does not respond is left to the engine, and the next page is closed', async () => {
  const { vms, clock, handed, closing, areClosed, stop } = openFleetClosing({
    close: (vm) => (vm === 'a00001' ? refused(new Error('down')) : closed),
  });
  const [first, second] = [idsOf('a', 1_000), idsOf('b', 2)];
  await vms.transactMany([...first, ...second], () => off, cause);
  closing.ofSet(setOf('des'));
  await clock.until(() => areClosed(second));
  assert.deepEqual(handed, first);
  await stop();
});

test('G5: a machine that started and stopped again while its disks were closed is not recorded as closed', async () => {
  const { vms, clock, closing, calls, stop } = openFleetClosing({
    close: async (vm) => {
      // It started and stopped again, so a later open has to be closed now.
      await vms.transactMany([vm], () => startedAndStopped, cause);
      return closed;
    },
  });
  await vms.transactMany(['a'], () => off, cause);
  closing.ofSet(setOf('des'));
  await clock.until(() => calls.length === 1);
  await clock.pass(10_000);
  const { state } = await vms.load('a');
  assert.deepEqual(state.status === 'active' && state.disks.map(({ access }) => access), ['closing']);
  await stop();
});

test('VM-45: stops go first: no page is closed while a stop pass runs', async () => {
  const { vms, clock, calls, closing, areClosed, stop } = openFleetClosing();
  await vms.transactMany(['a'], () => off, cause);
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const passes = [closing.after(() => first.promise), closing.after(() => second.promise)];
  closing.ofSet(setOf('des'));
  await clock.pass(10_000);
  first.resolve();
  await clock.pass(10_000);
  assert.deepEqual(calls, []);
  second.resolve();
  await clock.until(() => areClosed(['a']));
  await Promise.all(passes);
  await stop();
});

test('the closing of a fleet ends at once while it waits for a response', async () => {
  const { vms, clock, calls, closing, stop } = openFleetClosing({ close: () => new Promise(() => {}) });
  await vms.transactMany(['a'], () => off, cause);
  closing.ofSet(setOf('des'));
  await clock.until(() => calls.length === 1);
  await stop();
});
