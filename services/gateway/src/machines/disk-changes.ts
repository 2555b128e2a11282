import type { AttachedDisk } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { CloudNames } from '../cloud/names.ts';
import { innerNameOfId, lastSegment } from '../cloud/resource-names.ts';
import { invalid } from '../disks/disk-body.ts';
import type { AttachDetachGiven, DataDiskGiven } from './machine-schemas.ts';

/** Highest LUN of a data disk. */
const lunMax = 63;

/** What changes a machine's data disks into the list of a body. */
export interface DiskChanges {
  /** Interlock names. */
  readonly detach: readonly string[];
  readonly attach: readonly DataDiskGiven[];
}

/** Whether the body's entry means this disk of the machine: by id, else by name. */
const means = (names: CloudNames, given: DataDiskGiven, { disk, lun }: AttachedDisk): boolean => {
  const id = given.managedDisk?.id;
  if (id !== undefined) {
    const name = innerNameOfId(names, id, ['disks'], 'properties.storageProfile.dataDisks.managedDisk.id');
    return name.toLowerCase() === disk.toLowerCase() && (given.lun ?? lun) === lun;
  }
  return given.name !== undefined && given.name.toLowerCase() === lastSegment(disk).toLowerCase() && given.lun === lun;
};

/**
 * Compares the data disks of a machine with those of a body (REST-50): a disk that the body does not have, or has with
 * `toBeDetached`, is detached.
 */
export const diskChangesOf = (
  names: CloudNames,
  current: readonly AttachedDisk[],
  given: readonly DataDiskGiven[],
): DiskChanges => {
  const wanted = given.filter(({ toBeDetached }) => toBeDetached !== true);
  return {
    detach: current.filter((disk) => !wanted.some((one) => means(names, one, disk))).map(({ disk }) => disk),
    attach: wanted.filter((one) => !current.some((disk) => means(names, one, disk))),
  };
};

/** The changes that `attachDetachDataDisks` describes; a disk without a LUN gets the lowest that is free. */
export const attachDetachChanges = (
  names: CloudNames,
  current: readonly AttachedDisk[],
  { dataDisksToAttach = [], dataDisksToDetach = [] }: AttachDetachGiven,
): DiskChanges => {
  const detach = dataDisksToDetach.map(({ diskId }) =>
    innerNameOfId(names, diskId, ['disks'], 'dataDisksToDetach.diskId'),
  );
  const taken = new Set([
    ...current.filter(({ disk }) => !detach.includes(disk)).map(({ lun }) => lun),
    ...dataDisksToAttach.flatMap(({ lun }) => (lun === undefined ? [] : [lun])),
  ]);
  const attach = dataDisksToAttach.map(({ diskId, lun, ...rest }) => {
    const free = lun ?? lowestFree(taken);
    taken.add(free);
    return { ...rest, lun: free, createOption: 'Attach', managedDisk: { id: diskId } };
  });
  return { detach, attach };
};

const lowestFree = (taken: ReadonlySet<number>): number => {
  const free = Array.from({ length: lunMax + 1 }, (_, lun) => lun).find((lun) => !taken.has(lun));
  if (free === undefined) throw invalid('dataDisksToAttach', `has more disks than a machine has LUNs (0 to ${lunMax})`);
  return free;
};
