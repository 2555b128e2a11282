import type { Clock } from '@interlock/runtime';
import type { Clients } from '../../cloud/clients.ts';
import type { MadeEstate } from './planned-estate.ts';

/** How long a part may take to be deleted, and the pause between two checks, in milliseconds. */
const goneWithinMs = 60_000;
const lookEveryMs = 100;
const pageSize = 1_000;

/**
 * Deletes what was created for an experiment in a cloud that stays. Its vaults remain deleted but not purged, because they are protected.
 * @throws Error that names what cannot be deleted
 */
export const removeEstate = async (
  { compute, disks, sets, keyVault }: Clients,
  { resourceGroup: parent, keys }: MadeEstate,
  clock: Clock,
): Promise<void> => {
  const { virtualMachines } = await compute.listVirtualMachines({ parent, pageSize });
  await Promise.all(virtualMachines.map(({ name }) => compute.deleteVirtualMachine({ name })));
  const gone = async (what: string, isGone: () => Promise<boolean>): Promise<void> => {
    for (const endMs = clock.monotonicMs() + goneWithinMs; !(await isGone()); await clock.sleep(lookEveryMs))
      if (clock.monotonicMs() > endMs) throw new Error(`${what} of ${parent} are not gone after ${goneWithinMs} ms`);
  };
  await gone('machines', async () => {
    const left = await compute.listVirtualMachines({ parent, pageSize });
    return left.virtualMachines.length === 0;
  });
  const { snapshots } = await disks.listSnapshots({ parent, pageSize });
  for (const { name } of snapshots) await disks.deleteSnapshot({ name });
  const { disks: left } = await disks.listDisks({ parent, pageSize });
  for (const { name } of left) await disks.deleteDisk({ name });
  await gone('disks', async () => (await disks.listDisks({ parent, pageSize })).disks.length === 0);
  for (const { set, vault } of keys.values()) {
    await sets.deleteDiskEncryptionSet({ name: set });
    await keyVault.deleteVault({ name: vault, confirmName: vault });
  }
};
