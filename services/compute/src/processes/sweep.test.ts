import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { idleDriver } from '../guests/idle-driver.ts';
import { openVirtualCloud } from '../testing/test-cloud.ts';
import { keyVersionOf } from '../testing/test-disks.ts';
import { fleetOf } from '../testing/test-fleet.ts';

/** Machines whose guest is gone for an unknown reason. */
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

const guests = await openVirtualCloud(12, { settings: { sweepIntervalMs: 5_000 } });
const guestFleet = fleetOf(guests);
after(() => guests.close());

test('the sweep ends a guest whose machine is off or deleted, and no other', () =>
  guests.clock.drive(
    (async () => {
      const { driver, compute } = guests;
      const [off, on, gone] = [await guestFleet.running(), await guestFleet.running(), await guestFleet.running()];
      await compute.powerOffVirtualMachine({ name: off.name });
      await guestFleet.settled(off.name, 'STOPPED');
      await compute.deleteVirtualMachine({ name: gone.name });
      await guests.clock.sleep(10_000);
      for (const { name } of [off, gone]) driver.orphan(name);
      await guests.clock.sleep(10_000);
      assert.deepEqual([...driver.guests.keys()], [on.name]);
      assert.equal((await guestFleet.get(on.name)).powerState, 'RUNNING');
      await compute.startVirtualMachine({ name: off.name });
      await guestFleet.settled(off.name, 'RUNNING');
      await guests.clock.sleep(20_000);
      assert.deepEqual([...driver.guests.keys()].sort(), [on.name, off.name].sort());
    })(),
  ));

test('G2: a machine whose guest cannot be examined does not keep the sweep from the others', () =>
  clock.drive(
    (async () => {
      const set = fleet.newSet();
      const [broken, lost] = [await fleet.running(), await fleet.running(['PREMIUM_SSD', set])];
      unreadable.add(broken.name);
      // No fact and no report: only the sweep can find it.
      disks.lose(set, keyVersionOf(set));
      disks.show(set, keyVersionOf(set), 'KEY_DISABLED');
      await clock.sleep(20_000);
      const { powerState, stopReason } = await fleet.get(lost.name);
      assert.deepEqual([powerState, stopReason?.reason], ['STOPPED', 'KEY_DISABLED']);
    })(),
  ));
