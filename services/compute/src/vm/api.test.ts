import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { type EventStore, memoryStore } from '@interlock/event-store';
import { systemClock } from '@interlock/runtime';
import { openVirtualCloud, until } from '../testing/test-cloud.ts';
import { keyVersionOf, location } from '../testing/test-disks.ts';
import { fleetOf } from '../testing/test-fleet.ts';

const inner = memoryStore({ clock: systemClock });
/** While this is pending, waiting calls see no change of the store. */
let busy: Promise<void> | undefined;
const store: EventStore = {
  ...inner,
  async waitForEvents(position, signal) {
    const isThere = await inner.waitForEvents(position, signal);
    await busy;
    return isThere;
  },
};
const world = await openVirtualCloud(12, { store });
const { clock, disks } = world;
const fleet = fleetOf(world);
after(() => world.close());
afterEach(() => {
  disks.before = undefined;
  busy = undefined;
});

test('VM-10: a caller that waits for a failed creation never gets a later machine of the same name', () =>
  clock.drive(
    (async () => {
      const set = fleet.newSet();
      disks.lose(set, keyVersionOf(set));
      const parent = 'subscriptions/s/resourceGroups/g';
      const create = (dataDisk: string) =>
        world.compute.createVirtualMachine({
          parent,
          virtualMachineId: 'contended',
          location,
          osDisk: { source: { $case: 'disk', value: fleet.newDisk() } },
          dataDisks: [{ source: { $case: 'disk', value: dataDisk } }],
        });
      const isStored = (type: string) =>
        until(
          () => inner.read(`vm-${parent}/virtualMachines/contended`),
          (events) => events.some((event) => event.type === type),
          clock,
        );
      const held = Promise.withResolvers<void>();
      disks.before = async (call) => {
        if (call.startsWith('openDisk')) busy ??= held.promise;
      };
      const first = create(fleet.newDisk('PREMIUM_SSD', set)).then(
        () => 'made',
        (error: unknown) => error,
      );
      await isStored('VmCreationFailed');
      const second = create(fleet.newDisk());
      await isStored('VmStarted');
      held.resolve();
      assert.equal((await second).dataDisks.length, 1);
      const outcome = await first;
      assert.ok(outcome instanceof Error && 'reason' in outcome, String(outcome));
      assert.equal(outcome.reason, 'VIRTUAL_MACHINE_ALREADY_EXISTS');
    })(),
  ));

test('CMK-110: a caller waiting for an attach that a stop interrupted is refused, although the machine runs again', () =>
  clock.drive(
    (async () => {
      const set = fleet.newSet();
      const { name } = await fleet.running(['PREMIUM_SSD', set]);
      const disk = fleet.newDisk();
      const held = Promise.withResolvers<void>();
      const asked = Promise.withResolvers<void>();
      disks.before = async (call) => {
        if (call !== `attachDisk ${disk}`) return;
        asked.resolve();
        await held.promise;
      };
      const attaching = world.compute.attachDisk({ name, lun: 9, disk }).then(
        () => 'attached',
        (error: unknown) => error,
      );
      await asked.promise;
      busy = held.promise;
      const accessEpoch = disks.lose(set, keyVersionOf(set));
      await fleet.report(set, 'KEY_DISABLED', accessEpoch);
      await fleet.settled(name, 'STOPPED');
      disks.restore(set, keyVersionOf(set));
      await world.compute.startVirtualMachine({ name });
      await fleet.settled(name, 'RUNNING');
      held.resolve();
      const outcome = await attaching;
      assert.ok(outcome instanceof Error && 'reason' in outcome, String(outcome));
      assert.equal(outcome.reason, 'DISK_NOT_ATTACHED');
    })(),
  ));
