import assert from 'node:assert/strict';
import { after, mock, test } from 'node:test';
import type { StartVirtualMachineOutcome } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { type Rejection, VersionConflict } from '@interlock/event-store';
import { openVirtualCloud } from '../testing/test-cloud.ts';
import { fleetOf } from '../testing/test-fleet.ts';

const world = await openVirtualCloud(11);
const { clock, compute, disks, random } = world;
const fleet = fleetOf(world);
after(() => world.close());
/** In virtual time. */
const driven = (run: () => Promise<void>) => () => clock.drive(run());

/** Machines with a data disk under a set, all off. */
const off = async (count: number, set = fleet.newSet()): Promise<string[]> => {
  const machines = await Promise.all(Array.from({ length: count }, () => fleet.running(['PREMIUM_SSD', set])));
  for (const { name } of machines) await compute.powerOffVirtualMachine({ name });
  for (const { name } of machines) await fleet.settled(name, 'STOPPED');
  return machines.map(({ name }) => name);
};
const start = async (names: readonly string[]): Promise<readonly string[]> =>
  (await compute.startVirtualMachines({ names: [...names] })).outcomes.map(wordOf);
const wordOf = ({ outcome }: StartVirtualMachineOutcome): string =>
  outcome?.$case === 'starting' ? outcome.value.powerState : (outcome?.value.reason ?? '');
const settledAll = async (names: readonly string[]): Promise<void> => {
  for (const name of names) await fleet.settled(name, 'RUNNING');
};

test(
  'VM-11, G10: machines started in one call are decided in one commit, and each starts with the cause of the call',
  driven(async () => {
    const names = await off(40);
    const commit = mock.method(world.store, 'commit');
    assert.deepEqual(new Set(await start(names)), new Set(['STARTING']));
    const sizes = commit.mock.calls.map(({ arguments: [{ appends = [] }] }) => appends.length);
    commit.mock.restore();
    assert.ok(sizes.includes(names.length), `decided in one commit, not in ${sizes}`);
    await settledAll(names);
    const causes = new Set<string>();
    for (const name of names) {
      const latest = (await world.store.read(`vm-${name}`)).slice(-3);
      assert.deepEqual(
        latest.map(({ type }) => type),
        ['VmStarting', 'DisksOpened', 'VmStarted'],
      );
      for (const { cause } of latest) causes.add(`${cause.correlationId} ${cause.caller}`);
      const { entries } = await compute.listActivityLog({ name });
      assert.equal(entries.at(-1)?.operation, 'virtualMachines/start/action');
      assert.equal(fleet.startsOf(name), 2);
    }
    assert.equal(causes.size, 1, 'that of the call');
  }),
);

test(
  'VM-11: a machine that is named again, also in the same call, is started once',
  driven(async () => {
    const names = await off(3);
    assert.deepEqual(await start([...names, ...names]), Array(6).fill('STARTING'));
    await start(names);
    await settledAll(names);
    assert.deepEqual(await start(names), Array(3).fill('RUNNING'));
    for (const name of names) {
      const types = (await world.store.read(`vm-${name}`)).map(({ type }) => type);
      assert.equal(types.filter((type) => type === 'VmStarting').length, 1);
      assert.equal(fleet.startsOf(name), 2);
    }
  }),
);

test(
  'VM-11, VM-20: each machine is refused alone, with its reason, and the others start',
  driven(async () => {
    const [first = '', busy = '', last = ''] = await off(3);
    await compute.deallocateVirtualMachine({ name: busy });
    const missing = `${first}-missing`;
    assert.deepEqual(await start([first, missing, 'vm1', busy, last]), [
      'STARTING',
      'VIRTUAL_MACHINE_NOT_FOUND',
      'NAME_INVALID',
      'OPERATION_IN_PROGRESS',
      'STARTING',
    ]);
    await settledAll([first, last]);
    await fleet.settled(busy, 'DEALLOCATED');
  }),
);

test(
  'VM-11: a contended machine is refused alone with CONTENTION, and the others start at once',
  driven(async () => {
    const [first = '', busy = '', last = ''] = await off(3);
    const { commit } = world.store;
    const beaten = mock.method(world.store, 'commit', async (...given: Parameters<typeof commit>) => {
      const [{ appends = [] }] = given;
      const isStart = appends.some(({ stream, events }) => stream === `vm-${busy}` && events[0]?.type === 'VmStarting');
      if (isStart) throw new VersionConflict([`vm-${busy}`]);
      return commit(...given);
    });
    assert.deepEqual(await start([first, busy, last]), ['STARTING', 'CONTENTION', 'STARTING']);
    const since = clock.now();
    await settledAll([first, last]);
    assert.ok(clock.now() - since < 1_000, 'long before a sweep finds them');
    beaten.mock.restore();
    assert.deepEqual(await start([busy]), ['STARTING']);
    await settledAll([busy]);
  }),
);

test(
  'a machine that the caller may not start is refused alone',
  driven(async () => {
    const [allowed = '', other = ''] = await off(2);
    const caller = world.computeAs('disk');
    const ask = async () => (await caller.startVirtualMachines({ names: [other, allowed] })).outcomes;
    const [refused] = await ask();
    assert.deepEqual((await ask()).map(wordOf), ['ACCESS_DENIED', 'ACCESS_DENIED']);
    const principal = refused?.outcome?.$case === 'refused' ? (refused.outcome.value.metadata.principal ?? '') : '';
    const assignment = { principal, role: 'roles/contributor', scope: allowed };
    await world.identity.createRoleAssignment({ roleAssignmentId: random.uuid(), ...assignment });
    // A refusal is cached for as long as a response may be used.
    await clock.sleep(61_000);
    assert.deepEqual((await ask()).map(wordOf), ['ACCESS_DENIED', 'STARTING']);
    await settledAll([allowed]);
    assert.equal((await fleet.get(other)).powerState, 'STOPPED');
  }),
);

test(
  'REST-51: a call that names no machine, or too many, is refused as a whole',
  driven(async () => {
    const [name = ''] = await off(1);
    for (const names of [[], Array.from({ length: 257 }, (_, n) => `${name}-${n}`)]) {
      await assert.rejects(
        compute.startVirtualMachines({ names }),
        ({ reason, metadata }: Rejection) => reason === 'BATCH_SIZE_INVALID' && metadata.field === 'names',
      );
    }
    assert.equal((await fleet.get(name)).powerState, 'STOPPED');
  }),
);

test(
  'VM-47, G3: of machines started together only those under a lost key fail, and name the set',
  driven(async () => {
    const lost = fleet.newSet();
    const [blocked, free] = [await off(3, lost), await off(3)];
    await fleet.lose(lost);
    await start([...blocked, ...free]);
    await settledAll(free);
    for (const name of blocked) {
      const { failure } = await fleet.settled(name, 'STOPPED');
      assert.equal(failure?.code, 'KEY_DISABLED');
      assert.equal(failure?.accessLoss?.diskEncryptionSet, lost);
    }
  }),
);

test(
  'G2, VM-45: a key lost while machines are started together stops only the machines under it',
  driven(async () => {
    const lost = fleet.newSet();
    const [concerned, free] = [await off(8, lost), await off(8)];
    const { promise: held, resolve: letGo } = Promise.withResolvers<void>();
    disks.before = async (call) => (call.startsWith('openDisk') ? held : undefined);
    await start([...concerned, ...free]);
    await fleet.lose(lost);
    disks.before = undefined;
    letGo();
    await settledAll(free);
    for (const name of concerned) await fleet.settled(name, 'STOPPED');
  }),
);
