import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';

/** Interlock names of the resources in a group: at most one page of each kind, machines first. @param group `subscriptions/<s>/resourceGroups/<g>` */
export const openResourcesIn =
  ({ keyVault, sets, disks, compute }: Omit<Backends, 'identity'>) =>
  async (group: string, caller: Caller): Promise<readonly string[]> => {
    const page = { parent: group, pageSize: 100 };
    const [machines, disksThere, snapshots, setsThere, vaults] = await Promise.all([
      compute.listVirtualMachines(page, caller.as('compute')),
      disks.listDisks(page, caller.as('disk')),
      disks.listSnapshots(page, caller.as('disk')),
      sets.listDiskEncryptionSets(page, caller.as('disk-encryption-set')),
      keyVault.listVaults(page, caller.as('key-vault')),
    ]);
    return [
      ...machines.virtualMachines,
      ...disksThere.disks,
      ...snapshots.snapshots,
      ...setsThere.diskEncryptionSets,
      ...vaults.vaults,
    ].map(({ name }) => name);
  };
