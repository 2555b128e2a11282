import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeMachine } from '../test-machine.ts';
import { createSimulatedCloud } from './simulated-cloud.ts';

test('G2: with VM hosts in the simulated cloud, a machine runs at one of them, also while its process is away', async () => {
  const world = await createSimulatedCloud({ seed: 1, vmHosts: 2 });
  await world.run(async () => {
    const { vault, compute, keyVersion, machine, untilState } = await makeMachine(world);
    const [guest, ...others] = world.guests.all();
    assert.deepEqual(others, []);
    const host = world.vmHosts.find(({ name }) => name === guest?.host);
    assert.ok(host);
    assert.deepEqual([...world.guests.guests.keys()], [machine]);
    world.faults.crash('compute', host.replica.replica);
    assert.ok(world.guests.guests.has(machine), 'the guest survives the process of its host');
    await vault.disableKeyVersion({ name: keyVersion });
    await untilState('STOPPED');
    assert.ok(world.guests.guests.has(machine), 'a guest whose host is away is fenced');
    await world.faults.restart('compute', host.replica.replica);
    await world.clock.sleep(world.settings.vmHosts.ttlMs + 2 * world.settings.sweepIntervalMs);
    assert.deepEqual(world.guests.all(), [], 'the survey ends it once its host is back');
    assert.equal((await compute.getVirtualMachine({ name: machine })).powerState, 'STOPPED');
  });
  world.close();
});
