import type { Encryption } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { DiskForMachine, NewDisk } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { CloudNames } from '../cloud/names.ts';
import { innerNameOfId } from '../cloud/resource-names.ts';
import { imageGib, invalid } from '../disks/disk-body.ts';
import { skuOf } from '../disks/skus.ts';
import { RestError } from '../errors/rest-error.ts';
import type { DataDiskGiven, OsDiskGiven } from './machine-schemas.ts';

/** The kind of an entry of `storageProfile`: an existing disk, or one to be made. @throws RestError 400 */
export const kindOf = (given: OsDiskGiven | DataDiskGiven, field: string): 'attach' | 'make' => {
  const option = given.createOption?.toLowerCase() ?? (given.managedDisk?.id === undefined ? 'empty' : 'attach');
  if (option === 'attach') return 'attach';
  // There are no images: the disk is empty.
  if (option === 'empty' || option === 'fromimage') return 'make';
  throw new RestError(
    400,
    'NotSupported',
    `${field}.createOption must be Attach, Empty or FromImage (got "${given.createOption}"). Create the disk as a copy first, and attach it.`,
  );
};

/** Interlock name of the disk to attach. @throws RestError 400 */
export const attachedName = (names: CloudNames, given: OsDiskGiven | DataDiskGiven, field: string): string => {
  const id = given.managedDisk?.id;
  if (id === undefined) throw invalid(`${field}.managedDisk.id`, 'is required to attach a disk');
  return innerNameOfId(names, id, ['disks'], `${field}.managedDisk.id`);
};

/** A disk to be made with or for a machine. @throws RestError 400 */
export const newDiskOf = (
  given: OsDiskGiven | DataDiskGiven,
  options: { readonly field: string; readonly isOs: boolean; readonly encryption: Encryption | undefined },
): NewDisk => {
  const { field, isOs, encryption } = options;
  const sizeGib = given.diskSizeGB ?? (isOs ? imageGib : undefined);
  if (sizeGib === undefined) throw invalid(`${field}.diskSizeGB`, 'is required for a new data disk');
  const type = given.managedDisk?.storageAccountType ?? 'Premium_LRS';
  return {
    diskId: given.name?.toLowerCase() ?? '',
    sku: skuOf(type, `${field}.managedDisk.storageAccountType`),
    sizeGib,
    encryption,
  };
};

/** Whether the disk is deleted with its machine. */
export const isDeletedWithMachine = ({ deleteOption }: OsDiskGiven | DataDiskGiven): boolean =>
  deleteOption?.toLowerCase() === 'delete';

/** A disk of a new machine. */
export const diskForMachine = (
  names: CloudNames,
  given: OsDiskGiven | DataDiskGiven,
  options: { readonly field: string; readonly isOs: boolean; readonly encryption: Encryption | undefined },
): DiskForMachine => ({
  source:
    kindOf(given, options.field) === 'attach'
      ? { $case: 'disk', value: attachedName(names, given, options.field) }
      : { $case: 'newDisk', value: newDiskOf(given, options) },
  lun: 'lun' in given ? (given.lun ?? 0) : 0,
  deleteWithVm: isDeletedWithMachine(given),
});
