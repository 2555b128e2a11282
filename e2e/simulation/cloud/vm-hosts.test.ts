import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GuestPlan } from '../../../services/compute/src/guests/vm-host.ts';
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

test('G2: attempts of starts and stops that arrive late at a VM host change nothing', async () => {
  const world = await createSimulatedCloud({ seed: 1, vmHosts: 1 });
  await world.run(async () => {
    const lateMs = 1_500;
    Object.assign(world.faults.rates.calls, { late: 1, lateMs });
    const { compute, machine: name, untilState } = await makeMachine(world);
    await compute.powerOffVirtualMachine({ name });
    await untilState('STOPPED');
    await world.clock.sleep(lateMs);
    assert.deepEqual(world.guests.all(), [], 'the late start came after the stop');
    await compute.startVirtualMachine({ name });
    await untilState('RUNNING');
    await world.clock.sleep(lateMs);
    assert.equal(world.guests.all().length, 1);
    assert.deepEqual(world.vmHosts[0]?.outdated, []);
  });
  world.close();
});

test('G2: the guests of a VM host end with its machine, and the machines there stop once it is declared lost', async () => {
  const world = await createSimulatedCloud({ seed: 1, vmHosts: 1 });
  await world.run(async () => {
    const { compute, untilState } = await makeMachine(world);
    const [host] = world.vmHosts;
    assert.ok(host);
    world.guests.slowToStart.set('another', 500);
    const plan = { machineId: 'id', disks: [] } as unknown as GuestPlan;
    const started = Promise.allSettled([host.driver.start('another', plan), world.clock.sleep(1_000)]);
    world.faults.loseVmHost(host, false);
    assert.deepEqual(world.guests.all(), []);
    await started;
    assert.deepEqual(world.guests.all(), [], 'a guest that was starting ends too');
    await compute.declareVmHostLost({ name: `vmHosts/${host.name}` });
    await untilState('STOPPED');
    await world.faults.healAll();
    assert.ok(!world.log.some((line) => line.includes('started: vm-host-0')), 'nothing starts it again');
  });
  world.close();
});
