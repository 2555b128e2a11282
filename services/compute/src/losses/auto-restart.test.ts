import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { openVirtualCloud } from '../testing/test-cloud.ts';
import { keyVersionOf } from '../testing/test-disks.ts';
import { fleetOf } from '../testing/test-fleet.ts';

const world = await openVirtualCloud(2);
const { clock, driver } = world;
const fleet = fleetOf(world);
after(() => world.close());
const promised = (name: string, run: () => Promise<void>) => test(name, () => clock.drive(run()));

const wantRestarts = (set: string, autoRestart = true) =>
  world.tellOfSet({
    $case: 'setOptionsChanged',
    value: { set, keyExpiry: 'STOP', autoRestart },
  });
/** Long enough to handle everything that was published. */
const quiet = () => clock.sleep(5_000);

promised('CMK-125: restored access starts a machine only if its set has autoRestart', async () => {
  const [wanted, usual] = [fleet.newSet(), fleet.newSet()];
  await wantRestarts(wanted);
  const again = await fleet.running(['PREMIUM_SSD', wanted]);
  const stays = await fleet.running(['PREMIUM_SSD', usual]);
  for (const set of [wanted, usual]) await fleet.lose(set);
  for (const { name } of [again, stays]) await fleet.settled(name, 'STOPPED');
  for (const set of [wanted, usual]) await fleet.restore(set);
  await fleet.settled(again.name, 'RUNNING');
  await quiet();
  assert.equal((await fleet.get(stays.name)).powerState, 'STOPPED');
  assert.equal(fleet.startsOf(again.name), 2);
  const { entries } = await world.compute.listActivityLog({ name: again.name });
  const last = entries.filter(({ operation }) => operation === 'virtualMachines/start/action');
  assert.deepEqual(
    last.map(({ status }) => status),
    ['STARTED', 'SUCCEEDED'],
  );
});

promised(
  'autoRestart: machines stopped before autoRestart was enabled also start when access is restored',
  async () => {
    const [set, other] = [fleet.newSet(), fleet.newSet()];
    const single = await fleet.running(['PREMIUM_SSD', set]);
    const double = await fleet.running(['PREMIUM_SSD', set], ['STANDARD_SSD', other]);
    for (const one of [set, other]) await fleet.lose(one);
    for (const { name } of [single, double]) await fleet.settled(name, 'STOPPED');
    await fleet.restore(other);
    await quiet();
    await wantRestarts(set);
    await wantRestarts(other);
    await quiet();
    assert.equal((await fleet.get(single.name)).powerState, 'STOPPED', 'its key is not back yet');
    await fleet.restore(set);
    for (const { name } of [single, double]) await fleet.settled(name, 'RUNNING');
  },
);

promised(
  'CMK-120, CMK-125: a machine stopped by a late report of an ended loss starts again if its set has autoRestart',
  async () => {
    const [wanted, usual] = [fleet.newSet(), fleet.newSet()];
    await wantRestarts(wanted);
    const again = await fleet.running(['PREMIUM_SSD', wanted]);
    const stays = await fleet.running(['PREMIUM_SSD', usual]);
    for (const [set, { name }] of [
      [wanted, again],
      [usual, stays],
    ] as const) {
      const accessEpoch = world.disks.lose(set, keyVersionOf(set), 'ACCESS_DENIED');
      await fleet.restore(set);
      await quiet();
      assert.equal((await fleet.get(name)).powerState, 'RUNNING');
      assert.deepEqual(await fleet.report(set, 'ACCESS_DENIED', accessEpoch), { stoppingCount: 1 });
    }
    await fleet.settled(again.name, 'RUNNING');
    assert.equal(fleet.startsOf(again.name), 2);
    await quiet();
    const { powerState, stopReason, keyReturned } = await fleet.get(stays.name);
    assert.deepEqual([powerState, stopReason?.reason, keyReturned], ['STOPPED', 'ACCESS_DENIED', true]);
  },
);

for (const first of ['wanted', 'usual'] as const) {
  for (const firstBack of ['wanted', 'usual'] as const) {
    promised(
      `autoRestart: of two sets with lost keys one with autoRestart is enough (first lost: ${first}, first back: ${firstBack})`,
      async () => {
        const sets = { wanted: fleet.newSet(), usual: fleet.newSet() };
        await wantRestarts(sets.wanted);
        const { name } = await fleet.running(['PREMIUM_SSD', sets.wanted], ['STANDARD_SSD', sets.usual]);
        const second = first === 'wanted' ? 'usual' : 'wanted';
        await fleet.lose(sets[first]);
        await fleet.settled(name, 'STOPPED');
        await fleet.lose(sets[second]);
        await quiet();
        await fleet.restore(sets[firstBack]);
        await quiet();
        const { powerState, keyReturned } = await fleet.get(name);
        assert.deepEqual([powerState, keyReturned], ['STOPPED', false], 'the other key is lost');
        await fleet.restore(sets[firstBack === 'wanted' ? 'usual' : 'wanted']);
        await fleet.settled(name, 'RUNNING');
        await quiet();
        assert.equal(fleet.startsOf(name), 2);
      },
    );
  }
}

promised(
  'CMK-125: once a machine stays off after restored access, loss and return of another key do not start it',
  async () => {
    const [wanted, usual] = [fleet.newSet(), fleet.newSet()];
    await wantRestarts(wanted);
    const { name } = await fleet.running(['PREMIUM_SSD', usual], ['STANDARD_SSD', wanted]);
    await fleet.lose(usual);
    await fleet.settled(name, 'STOPPED');
    await fleet.restore(usual);
    await quiet();
    await fleet.lose(wanted);
    await quiet();
    const { keyReturned, nextStartLosses } = await fleet.get(name);
    assert.equal(keyReturned, false, 'its next start would fail');
    assert.deepEqual(
      nextStartLosses.map(({ diskEncryptionSet, reason }) => [diskEncryptionSet, reason]),
      [[wanted, 'KEY_DISABLED']],
    );
    await fleet.restore(wanted);
    await quiet();
    assert.deepEqual([(await fleet.get(name)).powerState, (await fleet.get(name)).keyReturned], ['STOPPED', true]);
  },
);

promised(
  'CMK-120: a loss consumed after its end stops a machine that unwrapped before it, and starts it again',
  async () => {
    const set = fleet.newSet();
    await wantRestarts(set);
    const { name } = await fleet.running(['PREMIUM_SSD', set]);
    const keyVersion = keyVersionOf(set);
    const accessEpoch = world.disks.lose(set, keyVersion, 'KEY_DISABLED');
    await fleet.restore(set);
    const value = {
      set,
      keyVersion,
      reason: 'KEY_DISABLED',
      accessEpoch,
      since: new Date(clock.now()),
      partial: false,
    } as const;
    await world.tellOfSet({ $case: 'keyAccessLost', value });
    await quiet();
    await fleet.settled(name, 'RUNNING');
    assert.equal(fleet.startsOf(name), 2, 'it had unwrapped before the loss');
  },
);

promised('autoRestart: enabled after access was restored, it starts nothing', async () => {
  const set = fleet.newSet();
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  await fleet.lose(set);
  await fleet.settled(name, 'STOPPED');
  await fleet.restore(set);
  await quiet();
  await wantRestarts(set);
  await quiet();
  assert.equal((await fleet.get(name)).powerState, 'STOPPED');
});

promised(
  'autoRestart: the activity log names compute as the caller of the start and restored access as its cause',
  async () => {
    const set = fleet.newSet();
    await wantRestarts(set);
    const { name } = await fleet.running(['PREMIUM_SSD', set]);
    await fleet.lose(set);
    await fleet.settled(name, 'STOPPED');
    const keyVersion = keyVersionOf(set);
    world.disks.show(set, keyVersion, undefined);
    const accessEpoch = world.disks.restore(set, keyVersion);
    const traceId = 'ab'.repeat(16);
    const givenBack = {
      caller: 'principals/owner',
      correlationId: 'given-back',
      traceparent: `00-${traceId}-${'1'.repeat(16)}-01`,
    };
    await world.tellOfSet({ $case: 'keyAccessRestored', value: { set, keyVersion, accessEpoch } }, givenBack);
    await fleet.settled(name, 'RUNNING');
    const { entries } = await world.compute.listActivityLog({ name });
    const rows = entries.filter(({ correlationId }) => correlationId === 'given-back');
    assert.deepEqual(
      rows.map(({ status, caller }) => `${status} ${caller}`),
      ['RESOLVED ', 'STARTED system:compute', 'SUCCEEDED system:compute'],
    );
    const { cause, diskEncryptionSet, keyUrl, traceId: found } = rows[1]?.properties ?? {};
    assert.deepEqual([cause, diskEncryptionSet, keyUrl, found], ['KEY_ACCESS_RESTORED', set, keyVersion, traceId]);
  },
);

promised('autoRestart: nothing starts after it is disabled, or after its set is deleted', async () => {
  const [off, gone] = [fleet.newSet(), fleet.newSet()];
  await wantRestarts(off);
  await wantRestarts(off, false);
  await wantRestarts(gone);
  await world.tellOfSet({ $case: 'setDeleted', value: { set: gone } });
  for (const set of [off, gone]) {
    const { name } = await fleet.running(['PREMIUM_SSD', set]);
    await fleet.lose(set);
    await fleet.settled(name, 'STOPPED');
    await fleet.restore(set);
    await quiet();
    assert.equal((await fleet.get(name)).powerState, 'STOPPED');
  }
});

promised('autoRestart: machines that their user powered off or deallocated stay off', async () => {
  const set = fleet.newSet();
  await wantRestarts(set);
  const keptOff = await fleet.running(['PREMIUM_SSD', set]);
  const givenBack = await fleet.running(['PREMIUM_SSD', set]);
  const wasOff = await fleet.running(['PREMIUM_SSD', set]);
  await world.compute.powerOffVirtualMachine({ name: wasOff.name });
  await fleet.settled(wasOff.name, 'STOPPED');
  await fleet.lose(set);
  for (const { name } of [keptOff, givenBack]) {
    assert.equal((await fleet.settled(name, 'STOPPED')).stopCause, 'KEY_LOST');
  }
  await world.compute.powerOffVirtualMachine({ name: keptOff.name });
  await world.compute.deallocateVirtualMachine({ name: givenBack.name });
  await fleet.settled(givenBack.name, 'DEALLOCATED');
  await fleet.restore(set);
  await quiet();
  assert.equal((await fleet.get(keptOff.name)).stopCause, 'STOP_CAUSE_UNSPECIFIED', 'off is what its user wants now');
  const powers = await Promise.all(
    [keptOff, givenBack, wasOff].map(async ({ name }) => (await fleet.get(name)).powerState),
  );
  assert.deepEqual(powers, ['STOPPED', 'DEALLOCATED', 'STOPPED']);
});

promised(
  'autoRestart: a machine with disks of two sets starts when access to both keys is restored, in any order',
  async () => {
    for (const backFirst of [0, 1] as const) {
      const sets = [fleet.newSet(), fleet.newSet()] as const;
      for (const set of sets) await wantRestarts(set);
      const { name } = await fleet.running(['PREMIUM_SSD', sets[0]], ['STANDARD_SSD', sets[1]]);
      for (const set of sets) await fleet.lose(set);
      await fleet.settled(name, 'STOPPED');
      await fleet.restore(sets[backFirst]);
      await quiet();
      assert.equal((await fleet.get(name)).powerState, 'STOPPED');
      await fleet.restore(sets[1 - backFirst] ?? '');
      await fleet.settled(name, 'RUNNING');
      assert.equal(fleet.startsOf(name), 2);
    }
  },
);

promised('autoRestart: access to two keys restored at the same time starts a machine once', async () => {
  const sets = [fleet.newSet(), fleet.newSet()] as const;
  for (const set of sets) await wantRestarts(set);
  const { name } = await fleet.running(['PREMIUM_SSD', sets[0]], ['STANDARD_SSD', sets[1]]);
  await Promise.all(sets.map((set) => fleet.lose(set)));
  await fleet.settled(name, 'STOPPED');
  await Promise.all(sets.map((set) => fleet.restore(set)));
  await fleet.settled(name, 'RUNNING');
  assert.equal(fleet.startsOf(name), 2);
});

promised('autoRestart: a machine runs again after its key was lost and restored within milliseconds', async () => {
  const set = fleet.newSet();
  await wantRestarts(set);
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  driver.slowToStop.set(name, 150);
  await fleet.lose(set);
  await fleet.restore(set);
  await quiet();
  assert.equal((await fleet.settled(name, 'RUNNING')).stopReason, undefined);
  assert.deepEqual([fleet.stopsOf(name), fleet.startsOf(name)], [1, 2]);
});

promised('autoRestart: a failed start is shown and not retried', async () => {
  const set = fleet.newSet();
  await wantRestarts(set);
  const { name } = await fleet.running(['PREMIUM_SSD', set]);
  await fleet.lose(set);
  await fleet.settled(name, 'STOPPED');
  driver.broken.add(name);
  await fleet.restore(set);
  await quiet();
  const failed = await fleet.settled(name, 'STOPPED');
  assert.deepEqual([failed.failure?.operation, failed.failure?.code], ['start', 'GUEST_START_FAILED']);
  driver.broken.delete(name);
  await clock.sleep(300_000);
  assert.equal((await fleet.get(name)).powerState, 'STOPPED');
});

/** A rotation: the disk service moves one disk to another key and publishes that. */
const moved = async (disk: string, set: string): Promise<void> => {
  const previousKeyVersion = keyVersionOf(set);
  const keyVersion = previousKeyVersion.replace('/keys/', '/keys/next-');
  Object.assign(world.disks.disks.get(disk) ?? {}, { keyVersion });
  const value = { resource: disk, diskEncryptionSet: set, previousKeyVersion, keyVersion, generation: 2 };
  await world.publishOfDisk({ $case: 'dekRewrapped', value });
};

promised(
  'CMK-121, autoRestart: machines whose disks moved to another key start again if their set has autoRestart',
  async () => {
    const [wanted, usual] = [fleet.newSet(), fleet.newSet()];
    await wantRestarts(wanted);
    const again = await fleet.running(['PREMIUM_SSD', wanted], ['STANDARD_SSD', wanted]);
    const stays = await fleet.running(['PREMIUM_SSD', usual]);
    for (const set of [wanted, usual]) await fleet.lose(set);
    for (const { name } of [again, stays]) await fleet.settled(name, 'STOPPED');
    const [first = '', second = ''] = again.disks;
    await moved(first, wanted);
    await moved(stays.disks[0] ?? '', usual);
    await quiet();
    assert.equal((await fleet.get(again.name)).powerState, 'STOPPED', 'one of its disks is still under the lost key');
    await moved(second, wanted);
    await fleet.settled(again.name, 'RUNNING');
    await moved(second, wanted);
    await quiet();
    assert.deepEqual([fleet.startsOf(again.name), fleet.startsOf(stays.name)], [2, 1]);
    const { entries } = await world.compute.listActivityLog({ name: stays.name });
    const health = entries.filter(({ category }) => category === 'RESOURCE_HEALTH').map(({ status }) => status);
    assert.deepEqual(health, ['ACTIVE', 'SUCCEEDED', 'RESOLVED'], 'nothing blocks the other machine either');
  },
);

promised('CMK-121, autoRestart: disks that move at the same time start their machine once', async () => {
  const set = fleet.newSet();
  await wantRestarts(set);
  const { name, disks } = await fleet.running(['PREMIUM_SSD', set], ['STANDARD_SSD', set], ['STANDARD_HDD', set]);
  await fleet.lose(set);
  await fleet.settled(name, 'STOPPED');
  await Promise.all(disks.map((disk) => moved(disk, set)));
  await fleet.settled(name, 'RUNNING');
  await quiet();
  assert.equal(fleet.startsOf(name), 2);
});

promised(
  'CMK-121, autoRestart: a machine starts once one key is replaced and the other is restored, in any order',
  async () => {
    for (const isReplacedFirst of [true, false]) {
      const sets = [fleet.newSet(), fleet.newSet()] as const;
      for (const set of sets) await wantRestarts(set);
      const { name, disks } = await fleet.running(['PREMIUM_SSD', sets[0]], ['STANDARD_SSD', sets[1]]);
      for (const set of sets) await fleet.lose(set);
      await fleet.settled(name, 'STOPPED');
      const replace = () => moved(disks[0] ?? '', sets[0]);
      const restore = () => fleet.restore(sets[1]);
      const [first, second] = isReplacedFirst ? [replace, restore] : [restore, replace];
      await first();
      await quiet();
      assert.equal((await fleet.get(name)).powerState, 'STOPPED');
      await second();
      await fleet.settled(name, 'RUNNING');
      assert.equal(fleet.startsOf(name), 2);
    }
  },
);

for (const moment of ['while the machine runs', 'while it is off for another key'] as const) {
  promised(`CMK-120: a deletion of an identity that is consumed late, ${moment}, keeps no machine off`, async () => {
    const [set, wanted] = [fleet.newSet(), fleet.newSet()];
    await wantRestarts(wanted);
    const identities = [`principals/${world.random.uuid()}`, `principals/${world.random.uuid()}`] as const;
    world.disks.identities.set(set, identities[0]);
    const { name } = await fleet.running(['PREMIUM_SSD', set], ['STANDARD_SSD', wanted]);
    const value = {
      set,
      keyVersion: keyVersionOf(set),
      reason: 'IDENTITY_DELETED',
      accessEpoch: Number.MAX_SAFE_INTEGER,
      since: new Date(clock.now()),
      partial: false,
      principal: identities[0],
    } as const;
    await world.tellOfSet({ $case: 'keyAccessLost', value });
    await fleet.settled(name, 'STOPPED');
    world.disks.identities.set(set, identities[1]);
    await fleet.restore(set);
    await world.compute.startVirtualMachine({ name });
    await fleet.settled(name, 'RUNNING');
    const tellLate = async () => {
      await world.tellOfSet({ $case: 'keyAccessLost', value });
      await quiet();
    };
    if (moment === 'while the machine runs') await tellLate();
    assert.equal((await fleet.get(name)).powerState, 'RUNNING');
    await fleet.lose(wanted);
    await fleet.settled(name, 'STOPPED');
    if (moment !== 'while the machine runs') await tellLate();
    const { nextStartLosses } = await fleet.get(name);
    assert.deepEqual(nextStartLosses, [], 'the loss that stopped it is its stop reason');
    await fleet.restore(wanted);
    await fleet.settled(name, 'RUNNING');
  });
}
