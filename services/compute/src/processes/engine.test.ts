import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Category, category, type Loaded, memoryStore } from '@interlock/event-store';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { Disks } from '../disk-service/disks.ts';
import { ownGuests } from '../guests/guests.ts';
import { idleDriver } from '../guests/idle-driver.ts';
import type { VmHost } from '../guests/vm-host.ts';
import { openLosses } from '../losses/losses.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import type { Vm } from '../vm/state.ts';
import { at, disk, fold, running, work } from '../vm/test-machine.ts';
import { Engine } from './engine.ts';

const state = fold(running([disk('os', 0, 'PREMIUM_SSD')]));

/**
 * An engine with machines that run and have nothing to do. It records which of them it reads.
 * @param world.reading each read of a machine waits for it
 * @param world.stopping the end of each guest waits for it
 * @param world.first what the first read finds; after any step the machine runs
 */
const openEngine = (
  world: { readonly reading?: Promise<void>; readonly stopping?: Promise<void>; readonly first?: Vm } = {},
) => {
  const store = memoryStore({ clock: systemClock });
  const read: string[] = [];
  const driven: string[] = [];
  const vms: Category<Vm, VmEvent> = {
    ...category(store, virtualMachines),
    async load(id) {
      const isFirst = read.push(id) === 1;
      await world.reading;
      return isFirst ? { id, state: world.first ?? state, version: 3 } : { id, state, version: 9 };
    },
    transact: async (id) => ({ id, state, version: 9, events: [], positions: [] }),
  };
  const driver: VmHost = {
    ...idleDriver(),
    async stop(vm) {
      driven.push(`stop ${vm}`);
      await world.stopping;
    },
  };
  const engine = new Engine({
    ...{ vms, guests: ownGuests(driver), losses: openLosses(store), disks: {} as Disks },
    ...{ clock: systemClock, random: systemRandom, tracer: trace.getTracer('test') },
    log: logger({ service: 'test', clock: systemClock, write: () => {} }),
    measureStops: () => {},
    isOurs: () => true,
    startTimeoutMs: 60_000,
    guestStopTimeoutMs: 0,
  });
  const ending = new AbortController();
  const done = engine.run(ending.signal);
  return {
    engine,
    read,
    driven,
    async end() {
      ending.abort();
      await done;
    },
  };
};

/** Long enough for everything that waits for neither time nor the store. */
const manyTurns = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
};

const machines = (count: number): readonly Loaded<Vm>[] =>
  Array.from({ length: count }, (_, n) => ({ id: `vm${n}`, state, version: 3 }));

test('a machine passed with its state is not read again; one passed by name, or notified twice, is read', async () => {
  const { engine, read, end } = openEngine();
  const [known, both, turned] = machines(3);
  assert.ok(known && both && turned);
  engine.kick([turned.id]);
  engine.resume([known, both, turned]);
  engine.kick(['named', both.id]);
  await manyTurns();
  assert.deepEqual(read, [turned.id, both.id, 'named']);
  await end();
});

test('G2: a notice that arrives while a machine is read causes another read, also if the first finds nothing', async () => {
  const gate = Promise.withResolvers<void>();
  const { engine, read, end } = openEngine({ reading: gate.promise });
  engine.kick(['vm0']);
  await manyTurns();
  engine.kick(['vm0']);
  await manyTurns();
  assert.deepEqual(read, ['vm0'], 'one look at a time');
  gate.resolve();
  await manyTurns();
  assert.deepEqual(read, ['vm0', 'vm0']);
  await end();
});

test('G2: a notice that arrives during a run causes another read of the machine', async () => {
  const later = fold([...running([disk('os', 0, 'PREMIUM_SSD')]), { type: 'VmStopping', work: work('powerOff'), at }]);
  for (const isSaid of [false, true]) {
    const gate = Promise.withResolvers<void>();
    const { engine, read, driven, end } = openEngine({ stopping: gate.promise, first: later });
    engine.kick(['vm0']);
    await manyTurns();
    assert.deepEqual(driven, ['stop vm0']);
    if (isSaid) engine.kick(['vm0']);
    await manyTurns();
    gate.resolve();
    await manyTurns();
    assert.deepEqual(read, isSaid ? ['vm0', 'vm0'] : ['vm0'], `said: ${isSaid}`);
    await end();
  }
});

test('G5: a machine that was worked on since it was stored is read: the response of the store was late', async () => {
  const { engine, read, driven, end } = openEngine();
  engine.kick(['vm0']);
  await manyTurns();
  engine.kick(['vm0']);
  await manyTurns();
  assert.deepEqual(read, ['vm0', 'vm0']);
  const stopping = fold([
    ...running([disk('os', 0, 'PREMIUM_SSD')]),
    { type: 'VmStopping', work: work('powerOff'), at },
  ]);
  engine.resume([{ id: 'vm0', state: stopping, version: 8 }]);
  await manyTurns();
  assert.deepEqual([read.length, driven], [3, []], 'its stop is over: a later guest runs');
  engine.resume([{ id: 'vm0', state: stopping, version: 9 }]);
  await manyTurns();
  assert.deepEqual([read.length, driven], [3, ['stop vm0']], 'what is as new is not read again');
  await end();
});

test('beyond its room the engine keeps only the names of machines, and reads them when it works on them', async () => {
  const { engine, read, end } = openEngine();
  engine.resume(machines(2_500));
  await manyTurns();
  assert.equal(read.length, 500);
  await end();
});
