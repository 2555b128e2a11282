import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readExperiment } from '@interlock/lab';
import { RpcFailure } from '@interlock/rpc';
import { createSimulatedCloud } from '../../simulation/cloud/simulated-cloud.ts';
import { clientsOf, group, location } from '../../simulation/workload/estate.ts';
import type { CloudAccess } from './cloud-access.ts';
import { CloudLab } from './cloud-lab.ts';
import { makePlannedEstate } from './planned-estate.ts';

const text = `title: a loss
estate: {premium: {machines: 2, disks: [premium-ssd], key: k1}}
timeline: [{at: 1s, disable-key: premium, as: loss}, {at: 9s, give-back: loss, start: true}]
`;

test('a give-back does not start a machine that was off before the loss', async () => {
  const read = readExperiment(text);
  assert.ok('experiment' in read);
  const { experiment } = read;
  const world = await createSimulatedCloud({ seed: 1 });
  await world.run(async () => {
    const clients = clientsOf(world);
    const maker = {
      ...{ clients, clock: world.clock, uuid: () => world.random.uuid() },
      ...{ resourceGroup: group, location, owner: world.people.administrator.name, tag: '' },
    };
    const made = await makePlannedEstate(maker, experiment);
    const [on, off] = made.machines.map(({ name }) => name);
    await clients.compute.deallocateVirtualMachine({ name: off ?? '' });
    while ((await clients.compute.getVirtualMachine({ name: off ?? '' })).powerState !== 'DEALLOCATED')
      await world.clock.sleep(100);
    // The plan of a key action reads from the services only.
    const access = { clients, journals: () => ({}), versions: {} } as unknown as CloudAccess;
    const lab = new CloudLab(access, experiment, made, async () => undefined);
    await lab.prepare();
    const [loss] = experiment.timeline;
    assert.ok(loss);
    assert.deepEqual((await lab.plan(loss)).data.machines, [on]);
  });
  world.close();
});

test('without a fault, a read is repeated until its service responds: after a fault a connection may need some seconds', async () => {
  const read = readExperiment(text.replace('timeline:', 'steady: [{io: premium, gap: 1s}]\ntimeline:'));
  assert.ok('experiment' in read);
  const { experiment } = read;
  let reads = 0;
  const journals = {
    async read() {
      reads += 1;
      if (reads === 1) throw new RpcFailure('UNAVAILABLE', 'ReadGuestJournal', 'localhost:1', 'connect ECONNREFUSED');
      return [];
    },
    known: () => [],
    console: () => [],
  };
  let feedReads = 0;
  const feeds = {
    async read() {
      feedReads += 1;
      if (feedReads === 1) throw new RpcFailure('UNAVAILABLE', 'ReadEvents', 'localhost:1', 'connect ECONNREFUSED');
      return [];
    },
  };
  const none = () => [];
  const faults = { disturbances: none, shifts: none, sightings: none };
  const access = { clients: {}, journals: () => journals, feeds, faults, versions: {} };
  const estate = { machines: [{ name: 'm', group: 'premium', disks: [] }], keys: new Map() };
  const lab = new CloudLab(
    access as unknown as CloudAccess,
    experiment,
    estate as unknown as ConstructorParameters<typeof CloudLab>[2],
    async () => undefined,
  );
  const [check] = experiment.steady;
  assert.ok(check);
  assert.equal(await lab.check(check), undefined);
  assert.equal(reads, 2);
  await lab.observe();
  assert.equal(feedReads, 6, 'five services, one of them twice');
});
