import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import { shortName } from '@interlock/lab/short-name';
import type { CallOptions } from '@interlock/rpc';
import { type NewDiskPlan, newDisk, newDisksOfMachine } from '../cloud/make-estate.ts';
import { location } from '../cloud/world.ts';
import type { Place } from './place.ts';
import { type DiskClass, diskClasses, type MachineState, machineStates } from './table.ts';

/** A machine of a fleet: one for each disk class and state. */
export interface Member {
  readonly diskClass: DiskClass;
  readonly state: MachineState;
  /** Full name. */
  readonly vm: string;
  /** The disk it boots from. */
  readonly os: FleetDisk;
  /** Its other disks, except the one that is being attached. */
  readonly data: readonly FleetDisk[];
  /** The disk that is being attached to it; only in that state. */
  readonly attached?: FleetDisk;
}

/** A disk of a fleet. */
export interface FleetDisk {
  /** Full name. */
  readonly name: string;
  readonly sku: DiskSku;
  readonly isUnderKey: boolean;
}

/** For calls that wait at a gate, or for other calls of a fleet. */
export const patient: CallOptions = { deadlineMs: 60_000 };

/** LUN of the disk that is attached later. */
export const attachLun = 9;

const skus: Readonly<Record<Exclude<DiskClass, 'mixed'>, DiskSku>> = {
  'Premium SSD': 'PREMIUM_SSD',
  'Premium SSD v2': 'PREMIUM_SSD_V2',
  'Standard SSD': 'STANDARD_SSD',
  'Standard HDD': 'STANDARD_HDD',
  Ultra: 'ULTRA',
};

/** The machines of a fleet in a resource group: one for every pair of class and state. */
export const fleetIn = (group: string): readonly Member[] =>
  diskClasses.flatMap((diskClass) => machineStates.map((state) => memberOf(group, diskClass, state)));

const memberOf = (group: string, diskClass: DiskClass, state: MachineState): Member => {
  const id = `${diskClass} ${state}`.toLowerCase().replaceAll(' ', '-');
  const disk = (part: string, sku: DiskSku, isUnderKey = true): FleetDisk => ({
    name: `${group}/disks/${id}-${part}`,
    sku,
    isUnderKey,
  });
  const common = { diskClass, state, vm: `${group}/virtualMachines/${id}` };
  const platformOs = disk('os', 'PREMIUM_SSD', false);
  const main = disk('main', diskClass === 'mixed' ? 'PREMIUM_SSD' : skus[diskClass]);
  const ultra = diskClass === 'mixed' ? [disk('ultra', 'ULTRA')] : [];
  if (state === 'attaching') return { ...common, os: platformOs, data: ultra, attached: main };
  // An ultra or Premium SSD v2 disk cannot be booted from (CMK-61).
  const boots = main.sku !== 'ULTRA' && main.sku !== 'PREMIUM_SSD_V2';
  return boots ? { ...common, os: main, data: ultra } : { ...common, os: platformOs, data: [main, ...ultra] };
};

/** Every disk of a machine that is under the key. */
export const disksUnderKey = ({ os, data, attached }: Member): readonly FleetDisk[] =>
  [os, ...data, ...(attached === undefined ? [] : [attached])].filter(({ isUnderKey }) => isUnderKey);

const groupOf = (name: string): string => name.split('/').slice(0, 4).join('/');

const planOf = ({ name, sku, isUnderKey }: FleetDisk, set: string): NewDiskPlan => ({
  id: shortName(name),
  sku,
  set: isUnderKey ? set : '',
});

/** Creates a machine with new disks; resolves once all of them exist and are open. */
export const createMember = async ({ compute }: Place, set: string, { vm, os, data }: Member): Promise<void> => {
  const request = {
    parent: groupOf(vm),
    virtualMachineId: shortName(vm),
    location,
    ...newDisksOfMachine([os, ...data].map((disk) => planOf(disk, set))),
    ultraSsdEnabled: true,
  };
  await compute.createVirtualMachine(request, patient);
};

/** Creates an unattached disk. */
export const createFreeDisk = async ({ disks }: Pick<Place, 'disks'>, set: string, disk: FleetDisk): Promise<void> => {
  await disks.createDisk({ parent: groupOf(disk.name), location, ...newDisk(planOf(disk, set)) });
};
