import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import type { Plan, Step } from '@interlock/lab';
import { MachineLog } from '@interlock/lab/judge/recording/machine-log';
import { readKeyState } from '../../cloud/key-state.ts';
import { createSimulatedCloud } from '../../simulation/cloud/simulated-cloud.ts';
import { clientsOf, group, location } from '../../simulation/workload/estate.ts';
import { existingMachines } from './existing-estate.ts';
import { makePlannedEstate } from './planned-estate.ts';

const step = (action: Step['action'], target: string): Step => ({
  name: `${action} ${target}`,
  atMs: 0,
  action,
  targets: [target],
  options: {},
  line: 1,
});

const experiment: Plan = {
  estate: {
    kind: 'planned',
    groups: [
      { name: 'premium', machines: 2, disks: [{ class: 'premium-ssd', key: 'k1' }], key: 'k1' },
      {
        name: 'ultra',
        machines: 1,
        disks: [
          { class: 'standard-ssd', key: 'platform' },
          { class: 'ultra', key: 'k1' },
        ],
        key: 'k1',
      },
      {
        name: 'control',
        machines: 1,
        disks: [
          { class: 'standard-ssd', key: 'platform' },
          { class: 'premium-ssd-v2', key: 'other' },
        ],
        key: '',
      },
      { name: 'plain', machines: 1, disks: [{ class: 'standard-hdd', key: 'platform' }], key: '' },
    ],
  },
  timeline: [step('remove-role', 'premium'), { ...step('assign-key', 'control'), options: { to: 'next' } }],
};

test('makes a vault and a set for each key, with roles where a step removes a role, and machines that run', async () => {
  const world = await createSimulatedCloud({ seed: 1 });
  const log = new MachineLog();
  world.onCommit(({ service, events }) => {
    if (service === 'compute') for (const event of events) log.apply(event);
  });
  await world.run(async () => {
    const clients = clientsOf(world);
    const owner = world.people.administrator.name;
    const uuid = () => world.random.uuid();
    const maker = { clients, clock: world.clock, uuid, resourceGroup: group, location, owner, tag: 't' };
    const { keys, machines } = await makePlannedEstate(maker, experiment);
    assert.deepEqual([...keys.keys()], ['k1', 'other', 'next']);
    const states = await Promise.all([...keys.values()].map((place) => readKeyState(clients, place)));
    assert.deepEqual(
      states.map(({ permissionModel, roles, permissions }) => [permissionModel, roles.length, permissions.length]),
      [
        ['ROLE_ASSIGNMENT', 1, 0],
        ['ACCESS_POLICY', 0, 3],
        ['ACCESS_POLICY', 0, 3],
      ],
    );
    assert.deepEqual(
      machines.map(({ group: of }) => of),
      ['premium', 'premium', 'ultra', 'control', 'plain'],
    );
    const existing = await existingMachines(clients, group);
    const ultra = existing.groups.find(({ name }) => name === 'ultra-1');
    assert.deepEqual(ultra, {
      ...{ name: 'ultra-1', machines: 1, key: 'k1' },
      disks: [
        { class: 'standard-ssd', key: 'platform' },
        { class: 'ultra', key: 'k1' },
      ],
    });
    assert.equal(existing.idle.size, 5, 'the machines run, without a workload');
    const [premium] = machines;
    await clients.compute.deallocateVirtualMachine({ name: premium?.name ?? '' });
    await world.clock.sleep(20_000);
    const [first, ...others] = log.records(machines, new Map([[premium?.disks[0]?.name ?? '', { keyVersion: 'v1' }]]));
    assert.deepEqual(
      first?.power.map(({ state }) => state),
      ['starting', 'running', 'stopping', 'deallocated'],
    );
    assert.deepEqual(
      first?.disks.map(({ class: of, key, keyVersion }) => [of, key, keyVersion]),
      [['premium-ssd', 'k1', 'v1']],
    );
    assert.deepEqual(
      others.map(({ starts }) => starts.map(({ outcome }) => outcome)),
      [['running'], ['running'], ['running'], ['running']],
    );
  });
  world.close();
});

test('repeats the creation of a machine that is refused because its disk already exists', async () => {
  const world = await createSimulatedCloud({ seed: 1 });
  await world.run(async () => {
    const clients = clientsOf(world);
    let refused = 0;
    const createVirtualMachine: typeof clients.compute.createVirtualMachine = (...args) => {
      refused += 1;
      if (refused > 1) return clients.compute.createVirtualMachine(...args);
      return Promise.reject(new Rejection('ALREADY_EXISTS', 'DISK_ALREADY_EXISTS', 'plain-1-d0 exists'));
    };
    const compute = new Proxy(clients.compute, {
      get: (of, method) => (method === 'createVirtualMachine' ? createVirtualMachine : Reflect.get(of, method)),
    });
    const maker = {
      ...{ clients: { ...clients, compute }, clock: world.clock },
      ...{ uuid: () => world.random.uuid(), resourceGroup: group, location, tag: 't' },
      owner: world.people.administrator.name,
    };
    const plain = { name: 'plain', machines: 1, disks: [{ class: 'standard-hdd', key: 'platform' }], key: '' } as const;
    const { machines } = await makePlannedEstate(maker, { estate: { kind: 'planned', groups: [plain] }, timeline: [] });
    assert.deepEqual([machines.length, refused], [1, 2]);
  });
  world.close();
});
