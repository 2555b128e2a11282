import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { idleDriver } from './drivers/idle-driver.ts';
import { openVirtualCloud } from './test-cloud.ts';
import { keyVersionOf } from './test-disk-service.ts';
import { fleetOf } from './test-fleet.ts';

/** Machines whose guest is gone, and nobody can tell how it came to its end. */
const unreadable = new Set<string>();
const world = await openVirtualCloud(11, {
  settings: {
    driver: {
      ...idleDriver(),
      hasGuests: true,
      isRunning: async (vm) => !unreadable.has(vm),
      endOf: async () => {
        throw new Error('what is left of the guest cannot be read');
      },
    },
    sweepIntervalMs: 5_000,
  },
});
const { clock, disks } = world;
const fleet = fleetOf(world);
after(() => world.close());

test('G2: a machine whose guest nobody can tell about keeps the sweep from no other machine', () =>
  clock.drive(
    (async () => {
      const set = fleet.newSet();
      const [broken, lost] = [await fleet.running(), await fleet.running(['PREMIUM_SSD', set])];
      unreadable.add(broken.name);
      // Nothing is told and nothing reported: only the sweep can find it.
      disks.lose(set, keyVersionOf(set));
      disks.show(set, keyVersionOf(set), 'KEY_DISABLED');
      await clock.sleep(20_000);
      const { powerState, stopReason } = await fleet.get(lost.name);
      assert.deepEqual([powerState, stopReason?.reason], ['STOPPED', 'KEY_DISABLED']);
    })(),
  ));
