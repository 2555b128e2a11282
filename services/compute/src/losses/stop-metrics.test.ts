import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testMeter } from '@interlock/runtime/test-meter';
import { idleDriver } from '../guests/idle-driver.ts';
import { openVirtualCloud, type TestCloudOptions } from '../testing/test-cloud.ts';
import { keyVersionOf } from '../testing/test-disks.ts';
import { fleetOf } from '../testing/test-fleet.ts';

/** Stops two machines by a lost key, and one by its user. @returns what was measured */
const measured = async (settings: TestCloudOptions['settings'] = {}) => {
  const { meter, read } = testMeter();
  const world = await openVirtualCloud(3, { meter, settings });
  const fleet = fleetOf(world);
  return world.clock.drive(
    (async () => {
      const set = fleet.newSet();
      const [one, two] = [await fleet.running(['PREMIUM_SSD', set]), await fleet.running(['STANDARD_HDD', set])];
      const off = await fleet.running(['PREMIUM_SSD', fleet.newSet()]);
      await world.compute.powerOffVirtualMachine({ name: off.name });
      await fleet.settled(off.name, 'STOPPED');
      const keyVersion = keyVersionOf(set);
      const accessEpoch = world.disks.lose(set, keyVersion, 'KEY_DISABLED');
      const since = new Date(world.clock.now() - 2_000);
      const value = { set, keyVersion, reason: 'KEY_DISABLED', accessEpoch, since, partial: false } as const;
      await world.tellOfSet({ $case: 'keyAccessLost', value });
      for (const { name } of [one, two]) await fleet.settled(name, 'STOPPED');
      const duration = await read('interlock.revocation.duration');
      const [[, late] = []] = await read('interlock.revocation.late');
      await world.close();
      return { duration, late };
    })(),
  );
};

test('the duration of a revocation is a metric by reason, with one value per machine that it stopped', async () => {
  for (const settings of [{}, { driver: idleDriver() }]) {
    const { duration, late } = await measured(settings);
    const [[by, value] = [], ...others] = duration;
    assert.equal(late, 0, 'within LEASE_TTL_MS');
    assert.deepEqual(others, []);
    assert.deepEqual(by, { 'interlock.reason': 'KEY_DISABLED' });
    const { count, sum } = value as { count: number; sum: number };
    assert.equal(count, 2);
    assert.equal(Math.round(sum), 4, `${sum} s, told two seconds late`);
  }
});

test('a machine that is off later than LEASE_TTL_MS counts as late', async () => {
  assert.equal((await measured({ leaseTtlMs: 1_000 })).late, 2);
});
