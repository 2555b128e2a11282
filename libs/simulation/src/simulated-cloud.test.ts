import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSimulatedCloud } from './simulated-cloud.ts';
import { makeMachine } from './test-machine.ts';

test('CMK-100: in the simulated cloud a disabled key stops its machine, and an enabled one lets it start', async () => {
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
