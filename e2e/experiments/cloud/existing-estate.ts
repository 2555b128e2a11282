import type { DiskClass, ExistingMachines } from '@interlock/lab';
import { shortName } from '@interlock/lab/short-name';
import type { Clients } from '../../cloud/clients.ts';
import type { KeyPlace } from '../../cloud/key-state.ts';
import type { MadeEstate, MadeMachine } from './planned-estate.ts';

const pageSize = 1_000;
/**
 * Reads the machines of a resource group as an estate. Each machine is a group with its own short name. Each key of their disks
 * has its short name, or `<vault>-<key>` if two vaults have a key of that name.
 * @param resourceGroup `subscriptions/<s>/resourceGroups/<g>`
 * @throws Error if it has no machine, or more than 1,000
 */
export const existingEstate = async (
  { compute, disks, sets }: Pick<Clients, 'compute' | 'disks' | 'sets'>,
  resourceGroup: string,
): Promise<MadeEstate> => {
  const parent = resourceGroup;
  const [{ virtualMachines, nextPageToken }, { disks: listed }] = await Promise.all([
    compute.listVirtualMachines({ parent, pageSize }),
    disks.listDisks({ parent, pageSize }),
  ]);
  if (virtualMachines.length === 0) throw new Error(`${resourceGroup} has no machine to experiment on`);
  if (nextPageToken !== '') throw new Error(`${resourceGroup} has more than ${pageSize} machines`);
  const setNames = [...new Set(listed.flatMap(({ encryption }) => encryption?.diskEncryptionSet || []))];
  const places = await Promise.all(setNames.map((set) => placeOf(sets, resourceGroup, set)));
  const keys = new Map<string, KeyPlace>();
  const nameOfSet = new Map<string, string>();
  for (const place of places) {
    const short = shortName(place.key);
    const taken = keys.get(short);
    const name = taken === undefined || taken.key === place.key ? short : `${shortName(place.vault)}-${short}`;
    keys.set(name, keys.get(name) ?? place);
    nameOfSet.set(place.set, name);
  }
  const known = new Map(listed.map((disk) => [disk.name, disk]));
  const machines = virtualMachines.map(({ name, osDisk, dataDisks, powerState, workload, guest }): MadeMachine => {
    const names = [...(osDisk === undefined ? [] : [osDisk.disk]), ...dataDisks.map(({ disk }) => disk)];
    return {
      name,
      group: shortName(name),
      isIdle: powerState === 'RUNNING' && (workload?.kind !== 'WRITE_AND_VERIFY' || guest === 'IDLE'),
      isQemu: guest === 'QEMU',
      disks: names.map((disk) => {
        const found = known.get(disk);
        const sku = (found?.sku ?? '').toLowerCase().replaceAll('_', '-');
        return {
          name: disk,
          class: sku as DiskClass,
          key: nameOfSet.get(found?.encryption?.diskEncryptionSet ?? '') ?? 'platform',
        };
      }),
    };
  });
  return { resourceGroup, keys, machines };
};

/** The machines of a resource group as groups of an experiment. @throws Error if it has no machine, or more than 1,000 */
export const existingMachines = async (
  clients: Pick<Clients, 'compute' | 'disks' | 'sets'>,
  resourceGroup: string,
): Promise<ExistingMachines> => {
  const { machines } = await existingEstate(clients, resourceGroup);
  const groups = machines.map(({ group: name, disks }) => {
    const key = disks.find((disk) => disk.key !== 'platform')?.key ?? '';
    return { name, machines: 1, disks: disks.map((disk) => ({ class: disk.class as DiskClass, key: disk.key })), key };
  });
  return { groups, idle: new Set(machines.flatMap(({ group, isIdle }) => (isIdle === true ? [group] : []))) };
};

const placeOf = async (sets: Clients['sets'], resourceGroup: string, set: string): Promise<KeyPlace> => {
  const { activeKey } = await sets.getDiskEncryptionSet({ name: set });
  const [key = ''] = (activeKey?.keyVersion ?? '').split('/versions/');
  const [vault = ''] = key.split('/keys/');
  return { resourceGroup, vault, key, set };
};
