import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { category, memoryStore, Rejection } from '@interlock/event-store';
import { logger, seededRandom, virtualClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { Interrupted, openDisks } from '../disk-service/disks.ts';
import { type Guests, ownGuests } from '../guests/guests.ts';
import { simulatedDriver } from '../guests/simulated-driver.ts';
import type { VmHost } from '../guests/vm-host.ts';
import { openLosses } from '../losses/losses.ts';
import { FakeDiskService } from '../testing/test-disk-service.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import type { Failure, PlannedDisk } from '../vm/machine.ts';
import type { Creating, Machine, Vm } from '../vm/state.ts';
import { deallocatedVm, disk, running, specFor, stopped, vm, work } from '../vm/test-machine.ts';
import { attachDisk, detachDisk, undoAttachment } from './attachment.ts';
import { createMachine, undoneCreation } from './creation.ts';
import { type Busy, nextRun, type Process, type ProcessParts, type Step } from './process.ts';
import { startMachine } from './starting.ts';
import { closeDisks, deallocateMachine, deleteMachine, stopForRestart, stopMachine } from './stopping.ts';
import { nextProcess, processes } from './table.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const data = disk('data', 1, 'PREMIUM_SSD', 'des');
const fresh: PlannedDisk = {
  ...disk('fresh', 2, 'PREMIUM_SSD', 'des'),
  make: { sku: 'PREMIUM_SSD', sizeGib: 4, encryptionType: '', set: 'des' },
};

/** A machine with this history, with matching disks and guest, and the parts of a process. `isHostAway`: its VM host does not respond. */
const openWorld = async (history: readonly VmEvent[], isHostAway = false) => {
  const clock = virtualClock();
  const random = seededRandom(1);
  const store = memoryStore({ clock });
  const vms = category(store, virtualMachines);
  const disks = new FakeDiskService(clock.now);
  const driver = simulatedDriver(clock);
  const loaded = await vms.transact(vm, () => history, cause);
  const { state } = loaded;
  assert.ok(state.status === 'creating' || state.status === 'active');
  for (const planned of state.disks) {
    const { disk: name, sku, set, keyVersion } = planned;
    if (state.status === 'creating' && state.disks.some((one) => one.disk === name && one.make)) continue;
    const found = disks.disks.get(disks.add(name, { sku, set, keyVersion }));
    assert.ok(found);
    if (!('phase' in planned) || planned.phase === 'attaching') continue;
    Object.assign(found, {
      managedBy: vm,
      state: 'ATTACHED',
      isOpen: planned.access !== 'closed',
      attachEpoch: planned.attachEpoch,
    });
  }
  const hasGuest = state.status === 'active' && ['running', 'stopping', 'deallocating'].includes(state.power.state);
  if (hasGuest) await driver.start(vm, { machineId: 'm', guest: 'PROCESS', disks: [], workload: state.spec.workload });
  const parts: ProcessParts = {
    ...{ vms, guests: isHostAway ? away(driver) : ownGuests(driver), clock, random, losses: openLosses(store) },
    disks: openDisks({ client: disks.client, clock, random, tracer: trace.getTracer('test'), callsMax: 8 }),
    log: logger({ service: 'test', clock, write: () => {} }),
    measureStops: () => {},
    isOurs: () => true,
    startTimeoutMs: 60_000,
    guestStopTimeoutMs: 1_000,
  };
  return { clock, vms, parts, disks, driver, store, isHostAway };
};
const away = (driver: VmHost): Guests => ({ ...ownGuests(driver), stop: async () => 'unknown' });
type World = Awaited<ReturnType<typeof openWorld>>;

const context = () => ({ signal: new AbortController().signal, settled: async () => {} });

/** Carries out one process on the current machine. */
const runOnce = async <State extends Creating | Machine>(world: World, process: Process<State>): Promise<void> => {
  const next = nextRun(process, world.parts, await world.vms.load(vm));
  assert.ok(next, `${process.name} is next`);
  await world.clock.drive(next.carryOut(context()));
};

/** Carries out every process until nothing is left to do. */
const runAll = async (world: World): Promise<void> => {
  for (let runs = 0; ; runs += 1) {
    assert.ok(runs < 10, 'the machine comes to rest');
    const next = nextProcess(world.parts, await world.vms.load(vm));
    if (!next) return;
    await world.clock.drive(next.carryOut(context()));
  }
};

const lastEvents = async ({ store }: World, count: number): Promise<readonly string[]> =>
  (await store.read(`vm-${vm}`)).slice(-count).map(({ type }) => type);
const countOf = async ({ store }: World): Promise<number> => (await store.read(`vm-${vm}`)).length;

/** What others see of the outcome. */
const outcomeOf = async ({ disks, driver, vms }: World) => {
  const { state }: { readonly state: Vm } = await vms.load(vm);
  return {
    disks: [...disks.disks].map(([name, { managedBy, state: of, isOpen }]) => ({ name, managedBy, state: of, isOpen })),
    guests: [...driver.guests].map(([name, of]) => ({ name, disks: of.map((one) => one.disk).toSorted() })),
    power: state.status === 'active' ? state.power.state : state.status,
    phases: state.status === 'active' ? state.disks.map((one) => [one.disk, one.phase, one.access]) : [],
  };
};

const withEffect = <State>(
  process: Process<State>,
  at: number,
  effect: (step: Step<State>) => Step<State>['effect'],
): Process<State> => ({
  ...process,
  steps: process.steps.map((step, n) => (n === at ? { ...step, effect: effect(step) } : step)),
});

const refusal = () => new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'refused by the test');
const failure: Failure = {
  ...{ operation: 'create', operationId: 'c', status: 'UNAVAILABLE', code: 'X', message: '', at: 1_000 },
};
const covered: string[] = [];

/** Tests the same guarantees for every row of the table, whatever its steps are. */
const checkProcess = <State extends Creating | Machine>(
  process: Process<State>,
  history: readonly VmEvent[],
  { isHostAway = false } = {},
): void => {
  covered.push(process.name);
  const applied = process.steps.flatMap((step, n) => [{ step, n }]);
  const open = () => openWorld(history, isHostAway);

  describe(isHostAway ? `${process.name}, with a VM host that does not respond` : process.name, () => {
    test(`VM-20: "${process.name}" is the only process of its state and ends with ${process.success.event}`, async () => {
      const world = await open();
      const loaded = await world.vms.load(vm);
      assert.equal(processes.filter(({ next }) => next(world.parts, loaded) !== undefined).length, 1);
      await runOnce(world, process);
      assert.deepEqual(await lastEvents(world, 1), [process.success.event]);
    });

    for (const { step, n } of applied) {
      test(`VM-21: doing "${step.name}" twice changes nothing`, async () => {
        const [once, twice] = [await open(), await open()];
        await runOnce(once, process);
        const repeated = withEffect(
          process,
          n,
          ({ effect }) =>
            async (run) =>
              (await effect(run)) ?? effect(run),
        );
        await runOnce(twice, repeated);
        assert.deepEqual(await outcomeOf(twice), await outcomeOf(once));
      });

      test(`CMK-110: a failure of "${step.name}" is ${process.failure ? `stored as ${process.failure.event}` : 'retried'}`, async () => {
        const world = await open();
        if (step.when && !(await isReached(world, process, n))) return;
        const before = await countOf(world);
        const failing = withEffect(process, n, () => async () => {
          throw refusal();
        });
        if (process.failure === undefined) {
          await assert.rejects(runOnce(world, failing), { reason: 'KEY_DISABLED' });
          assert.equal(await countOf(world), before, 'nothing is stored');
          await runOnce(world, process);
          assert.deepEqual(await lastEvents(world, 1), [process.success.event]);
          return;
        }
        await runOnce(world, failing);
        const events = (await world.store.read(`vm-${vm}`)).slice(before).map(({ type }) => type);
        assert.ok(events.includes(process.failure.event), events.join());
        assert.ok(!events.includes(process.success.event), events.join());
        await runAll(world);
        const { disks, power } = await outcomeOf(world);
        if (power === 'abandoned') assert.ok(disks.every(({ managedBy }) => managedBy === ''));
      });

      test(`G7: a crash after "${step.name}" does not change the outcome`, async () => {
        const [straight, crashed] = [await open(), await open()];
        await runAll(straight);
        const crashing = withEffect(process, n, ({ effect }) => async (run) => {
          await effect(run);
          throw new Interrupted('the process crashed here');
        });
        if (step.when && !(await isReached(crashed, process, n))) return;
        await assert.rejects(runOnce(crashed, crashing), { name: 'Interrupted' });
        await runAll(crashed);
        assert.deepEqual(await outcomeOf(crashed), await outcomeOf(straight));
      });
    }
  });
};

/** Whether a run reaches a conditional step. */
const isReached = async <State extends Creating | Machine>(
  world: World,
  process: Process<State>,
  n: number,
): Promise<boolean> => {
  const state = process.appliesTo((await world.vms.load(vm)).state);
  const { when } = process.steps[n] ?? {};
  const run = { state, mayGuestRun: world.isHostAway };
  return state !== undefined && when?.(run as Parameters<typeof when>[0]) !== false;
};

const at = 1_000;
const creating: readonly VmEvent[] = [
  { type: 'VmCreationStarted', spec: specFor([os, fresh]), disks: [os, fresh], work: work('create', 'c'), at },
];
const attaching = { type: 'DiskAttaching', disk: data, work: { ...work('attach', 'a'), disk: data.disk }, at } as const;

checkProcess(createMachine, creating);
checkProcess(undoneCreation, [...creating, { type: 'VmCreationUndoing', failure, at }]);
checkProcess(startMachine, [...stopped([os, data]), { type: 'VmStarting', work: work('start'), from: 'stopped', at }]);
checkProcess(stopMachine, [...running([os, data]), { type: 'VmStopping', work: work('powerOff'), at }]);
checkProcess(stopMachine, [...running([os, data]), { type: 'VmStopping', work: work('powerOff'), at }], {
  isHostAway: true,
});
checkProcess(stopForRestart, [...running([os, data]), { type: 'VmStopping', work: work('restart'), at }]);
checkProcess(deallocateMachine, [...running([os, data]), { type: 'VmDeallocating', work: work('deallocate'), at }]);
checkProcess(deleteMachine, [...running([os, data]), { type: 'VmDeleting', work: work('delete'), at }]);
checkProcess(attachDisk, [...running([os]), attaching]);
checkProcess({ ...attachDisk, name: 'attach to a deallocated machine' }, [...deallocatedVm([os]), attaching]);
checkProcess(undoAttachment, [...running([os]), attaching, { type: 'DiskAttachUndoing', failure, at }]);
checkProcess(detachDisk, [
  ...running([os, data]),
  { type: 'DiskDetaching', disk: data.disk, work: { ...work('detach', 'd'), disk: data.disk }, at },
]);
checkProcess(closeDisks, [
  ...running([os, data]),
  { type: 'VmStopping', work: work('powerOff'), at },
  { type: 'VmStopped', at },
]);

test('G2: a machine whose VM host does not respond is off once its disks are closed, and its record says so', async () => {
  const world = await openWorld([...running([os, data]), { type: 'VmStopping', work: work('powerOff'), at }], true);
  let seen = '';
  const closesFirst: Process<Busy> = {
    ...stopMachine,
    success: {
      event: 'VmStopped',
      decide: (run) => {
        seen = [...world.disks.disks.values()].map(({ isOpen }) => (isOpen ? 'open' : 'closed')).join();
        return stopMachine.success.decide?.(run) ?? (() => []);
      },
    },
  };
  await runOnce(world, closesFirst);
  assert.equal(seen, 'closed,closed', 'before the machine is recorded as off');
  const [last] = (await world.store.read(`vm-${vm}`)).slice(-1);
  assert.deepEqual([last?.type, last?.data.isFenced], ['VmStopped', true]);
});

test('every process of the table is tested above', () => {
  assert.deepEqual(
    processes.map(({ name }) => name).filter((name) => !covered.includes(name)),
    [],
  );
});
