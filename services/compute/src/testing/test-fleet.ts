import type { AccessReason } from '@interlock/access';
import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { Clock, Random } from '@interlock/runtime';
import type { Sku } from '../vm/machine.ts';
import { type TestCloud, until } from './test-cloud.ts';
import { keyVersionOf, location } from './test-disks.ts';

const parent = 'subscriptions/s/resourceGroups/g';

/** Operations on machines for tests in virtual time. None of them advances the time by itself. */
export const fleetOf = (world: TestCloud & { readonly clock: Clock; readonly random: Random }) => {
  const { compute, disks, clock, random } = world;
  const idOf = (kind: string): string => `${kind}-${random.uuid().slice(0, 8)}`;
  const newSet = (): string => `${parent}/diskEncryptionSets/${idOf('des')}`;
  const newDisk = (sku: Sku = 'PREMIUM_SSD', set = ''): string =>
    disks.add(`${parent}/disks/${idOf('d')}`, { sku, set, keyVersion: set && keyVersionOf(set) });
  const get = (name: string): Promise<VirtualMachine> => compute.getVirtualMachine({ name });
  const settled = (name: string, power: VirtualMachine['powerState']): Promise<VirtualMachine> =>
    until(
      () => get(name),
      (vm) => vm.powerState === power && !['CREATING', 'UPDATING'].includes(vm.provisioningState),
      clock,
    );
  const create = (dataDisks: readonly string[], osDisk = newDisk()): Promise<VirtualMachine> =>
    compute.createVirtualMachine({
      parent,
      virtualMachineId: idOf('vm'),
      location,
      osDisk: { source: { $case: 'disk', value: osDisk } },
      dataDisks: dataDisks.map((disk, lun) => ({ source: { $case: 'disk', value: disk }, lun })),
      ultraSsdEnabled: true,
    });
  return {
    newSet,
    newDisk,
    get,
    settled,
    create,
    /** A running machine with a data disk of each class under each set. */
    async running(...rows: readonly (readonly [Sku, string])[]) {
      const dataDisks = rows.map(([sku, set]) => newDisk(sku, set));
      const { name } = await create(dataDisks);
      await settled(name, 'RUNNING');
      return { name, disks: dataDisks };
    },
    /** The vault takes a key away and sets publish it. @returns the number of the loss */
    async lose(set: string, reason: AccessReason = 'KEY_DISABLED'): Promise<number> {
      const keyVersion = keyVersionOf(set);
      const accessEpoch = disks.lose(set, keyVersion, reason);
      const value = { set, keyVersion, reason, accessEpoch, since: new Date(clock.now()), partial: false };
      await world.tellOfSet({ $case: 'keyAccessLost', value });
      return accessEpoch;
    },
    /** It gives the key back and sets publish it. */
    async restore(set: string): Promise<void> {
      const keyVersion = keyVersionOf(set);
      disks.show(set, keyVersion, undefined);
      const accessEpoch = disks.restore(set, keyVersion);
      await world.tellOfSet({ $case: 'keyAccessRestored', value: { set, keyVersion, accessEpoch } });
    },
    /** Reports a loss of a version of a set, as a disk host does. */
    report: (set: string, reason: AccessReason, accessEpoch = 0, diskHost = 'h1') =>
      world.computeAs('disk').reportAccessLost({
        diskHost,
        diskEncryptionSet: set,
        keyVersion: keyVersionOf(set),
        reason,
        accessEpoch,
        traceId: 'cd'.repeat(16),
      }),
    /** How often the guest of a machine was started. */
    startsOf: (name: string): number => world.driver.history.filter((line) => line === `start ${name}`).length,
    stopsOf: (name: string): number => world.driver.history.filter((line) => line === `stop ${name}`).length,
  };
};
