import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { makeMachine } from '../test-machine.ts';
import { createSimulatedCloud } from './simulated-cloud.ts';

test('CMK-100: in the simulated cloud a disabled key stops its machine, and an enabled one allows its start', async () => {
  const world = await createSimulatedCloud({ seed: 1 });
  await world.run(async () => {
    const { vault, compute, keyVersion, machine, untilState } = await makeMachine(world);
    await vault.disableKeyVersion({ name: keyVersion });
    await untilState('STOPPED');
    assert.equal(world.guests.guests.size, 0);
    await compute.startVirtualMachine({ name: machine });
    await world.clock.sleep(5_000);
    await untilState('STOPPED');
    assert.equal((await compute.getVirtualMachine({ name: machine })).failure?.code, 'KEY_DISABLED');
    await vault.enableKeyVersion({ name: keyVersion });
    await world.clock.sleep(5_000);
    await compute.startVirtualMachine({ name: machine });
    await untilState('RUNNING');
  });
  world.close();
});

test('a closed world is garbage-collected, with everything that its killed processes waited for', async () => {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect !== 'function') throw new Error('there is no way to collect garbage');
  const remembered = new Map<string, WeakRef<object>>();
  const live = async (seed: number): Promise<void> => {
    const world = await createSimulatedCloud({ seed });
    await world.run(async () => {
      await makeMachine(world);
      world.faults.crash('compute');
      world.faults.crash('disk');
    });
    const { clock, bus, diskHosts, guests } = world;
    const [volumes = {}] = diskHosts.map((host) => host.volumes);
    const parts = { world, clock, bus, volumes, guests, store: world.storeOf('compute') };
    for (const [name, part] of Object.entries(parts)) remembered.set(`${name} of ${seed}`, new WeakRef(part));
    world.close();
  };
  const worlds = 4;
  for (let seed = 0; seed < worlds; seed += 1) await live(seed);
  // The process may still refer to the newest world, for example in its tracing.
  const left = () => [...remembered].filter(([, ref]) => ref.deref()).map(([name]) => name);
  const isOld = (name: string): boolean => !name.endsWith(` of ${worlds - 1}`);
  // Several turns, because finalisers release objects that are collected later.
  for (let round = 0; round < 20 && left().some(isOld); round += 1) {
    await nextTurn();
    collect();
  }
  assert.deepEqual(left().filter(isOld), []);
});
