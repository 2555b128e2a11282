import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Category, category, type Loaded, memoryStore } from '@interlock/event-store';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { Disks } from './disks.ts';
import { idleDriver } from './drivers/idle-driver.ts';
import { createEngine } from './engine.ts';
import { openLosses } from './losses.ts';
import { type Vm, virtualMachines } from './vm/decider.ts';
import type { VmEvent } from './vm/events.ts';
import { disk, fold, running } from './vm/test-machine.ts';

const state = fold(running([disk('os', 0, 'PREMIUM_SSD')]));

/** An engine over a store in which every machine runs, and which of them it has read. */
const openEngine = () => {
  const store = memoryStore({ clock: systemClock, random: systemRandom });
  const read: string[] = [];
  const vms: Category<Vm, VmEvent> = {
    ...category(store, virtualMachines),
    async load(id) {
      read.push(id);
      return { id, state, version: 3 };
    },
  };
  const engine = createEngine({
    ...{ vms, driver: idleDriver(), losses: openLosses(store), disks: {} as Disks },
    ...{ clock: systemClock, random: systemRandom, tracer: trace.getTracer('test') },
    log: logger({ service: 'test', clock: systemClock, write: () => {} }),
    measureStops: () => {},
    startTimeoutMs: 60_000,
    guestStopTimeoutMs: 0,
  });
  const ending = new AbortController();
  const done = engine.run(ending.signal);
  return {
    engine,
    read,
    async end() {
      ending.abort();
      await done;
    },
  };
};

/** Long enough for everything that waits for no time and no store. */
const manyTurns = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
};

const machines = (count: number): readonly Loaded<Vm>[] =>
  Array.from({ length: count }, (_, n) => ({ id: `vm${n}`, state, version: 3 }));

test('a machine that was stored a moment ago is not read again, one that is only named is, and so is one that both speak of', async () => {
  const { engine, read, end } = openEngine();
  const [known, both, turned] = machines(3);
  assert.ok(known && both && turned);
  engine.kick([turned.id]);
  engine.begun([known, both, turned]);
  engine.kick(['named', both.id]);
  await manyTurns();
  assert.deepEqual(read, [turned.id, both.id, 'named']);
  await end();
});

test('of a fleet larger than there is room for only the names are kept until its machines are worked on', async () => {
  const { engine, read, end } = openEngine();
  engine.begun(machines(2_500));
  await manyTurns();
  assert.equal(read.length, 500);
  await end();
});
