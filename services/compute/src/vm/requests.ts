import type {
  CreateVirtualMachineRequest,
  DiskForMachine,
  VirtualMachine_Guest,
  Workload as WireWorkload,
} from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { Rejection } from '@interlock/event-store';
import { checkId, diskSizeGibMax, names } from '@interlock/rpc';
import type { GuestKind, Workload } from '../guests/vm-host.ts';
import type { DiskSpec, Sku, VmSpec } from './machine.ts';
import { mostDataDisks, refuseLun, tooManyDisks } from './operations.ts';
import { skuOf } from './wire-sku.ts';

/** Highest LUN. */
const lunMax = 63;
/** A sector of a disk in bytes: a guest reads and writes whole ones. */
const sectorBytes = 4_096;
/** Bounds of a guest's work: enough to show that it continues, too little to wear out a disk. */
const ioSizeBytesMax = 1_048_576;
const ioPerSecondMax = 10_000;

/**
 * The machine that a request describes.
 * @throws Rejection INVALID_ARGUMENT naming the field and what is allowed
 */
export const specOf = (
  request: CreateVirtualMachineRequest,
  dataDisksMax: number,
): { readonly vm: string; readonly spec: VmSpec } => {
  names.resourceGroup.parse(request.parent, 'parent');
  const id = checkId(request.virtualMachineId, 'virtualMachine', 'virtual_machine_id');
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) {
    throw invalid('ID_INVALID', 'virtual_machine_id', `must be 1 to 64 letters, digits, _ or -, not "${id}"`);
  }
  if (request.location === '') throw invalid('LOCATION_MISSING', 'location', 'must name the region of the disks');
  if (!request.osDisk) throw invalid('OS_DISK_MISSING', 'os_disk', 'must be given: a machine boots from it');
  const guest = guestOf(request.guest);
  const most = mostDataDisks(guest, dataDisksMax);
  if (request.dataDisks.length > most) throw tooManyDisks(most);

  const about = { parent: request.parent, id, ultraSsdEnabled: request.ultraSsdEnabled };
  const osDisk = diskSpec(request.osDisk, 'os_disk', about, true);
  const dataDisks: DiskSpec[] = [];
  for (const [n, wanted] of request.dataDisks.entries()) {
    const disk = diskSpec(wanted, `data_disks[${n}]`, about, false);
    refuseLun(dataDisks, disk.lun);
    dataDisks.push(disk);
  }
  const disks = [osDisk, ...dataDisks.toSorted((a, b) => a.lun - b.lun)];
  const twice = disks.find((one, n) => disks.findIndex(({ disk }) => disk === one.disk) !== n);
  if (twice) throw invalid('DISK_NAMED_TWICE', 'data_disks', `names ${twice.disk} twice; each disk may be there once`);
  const { location, ultraSsdEnabled } = request;
  const policy = request.hostLossPolicy === 'RESTART' ? { hostLossPolicy: 'RESTART' as const } : {};
  const spec = { location, ultraSsdEnabled, guest, workload: workloadOf(request.workload), ...policy, disks };
  return { vm: `${request.parent}/virtualMachines/${id}`, spec };
};

const diskSpec = (
  { source, lun, deleteWithVm }: DiskForMachine,
  field: string,
  about: { readonly parent: string; readonly id: string; readonly ultraSsdEnabled: boolean },
  isOs: boolean,
): DiskSpec => {
  const place = { lun: isOs ? 0 : checkLun(lun, `${field}.lun`), isOs, deleteWithVm };
  if (source?.$case === 'disk') return { ...place, disk: checkDisk(source.value, `${field}.disk`, about.parent) };
  if (source?.$case !== 'newDisk') {
    throw invalid('DISK_SOURCE_MISSING', field, 'must name an existing disk or describe a new one');
  }
  const { diskId, sku: wireSku, sizeGib, encryption } = source.value;
  const derived = diskId || `${about.id}-${isOs ? 'os' : `data-${lun}`}`;
  const sku = skuOf(wireSku);
  if (!sku) throw invalid('DISK_SKU_MISSING', `${field}.new_disk.sku`, 'must name a class');
  checkSku(sku, isOs, about.ultraSsdEnabled, field);
  const sizeGibMax = diskSizeGibMax[sku];
  if (!Number.isInteger(sizeGib) || sizeGib < 1 || sizeGib > sizeGibMax) {
    const limits = `of a ${sku} disk must be 1 to ${sizeGibMax} GiB, not ${sizeGib}`;
    throw invalid('DISK_SIZE_INVALID', `${field}.new_disk.size_gib`, limits);
  }
  const { type = '', diskEncryptionSet: set = '' } = encryption ?? {};
  if (set !== '') names.diskEncryptionSet.parse(set, `${field}.new_disk.encryption.disk_encryption_set`);
  const disk = `${about.parent}/disks/${checkId(derived, 'disk', `${field}.new_disk.disk_id`)}`;
  return { ...place, disk, make: { sku, sizeGib, encryptionType: type, set } };
};

/** Checks the name of an existing disk. @throws Rejection INVALID_ARGUMENT NAME_INVALID, SUBSCRIPTION_MISMATCH (CMK-52) */
export const checkDisk = (disk: string, field: string, of: string): string => {
  const { subscription } = names.disk.parse(disk, field);
  const [, own = ''] = /^subscriptions\/([^/]+)/.exec(of) ?? [];
  if (subscription === own) return disk;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'SUBSCRIPTION_MISMATCH',
    `Subscription ${own} of the request must match the subscription ${subscription} contained in the managed disk id.`,
    { field, subscription: own, diskSubscription: subscription },
  );
};

/** Checks a LUN. @throws Rejection INVALID_ARGUMENT LUN_INVALID */
export const checkLun = (lun: number, field: string): number => {
  if (Number.isInteger(lun) && lun >= 0 && lun <= lunMax) return lun;
  throw invalid('LUN_INVALID', field, `must be from 0 to ${lunMax}, not ${lun}`);
};

/**
 * Checks that a class may be used like that (REST-51, CMK-61).
 * @throws Rejection INVALID_ARGUMENT OS_DISK_SKU_NOT_ALLOWED, ULTRA_SSD_NOT_ENABLED
 */
export const checkSku = (sku: Sku, isOs: boolean, ultraSsdEnabled: boolean, field: string): void => {
  if (isOs && (sku === 'ULTRA' || sku === 'PREMIUM_SSD_V2')) {
    throw invalid('OS_DISK_SKU_NOT_ALLOWED', field, `cannot be of class ${sku}: those are data disks only`);
  }
  if (sku === 'ULTRA' && !ultraSsdEnabled) {
    throw invalid('ULTRA_SSD_NOT_ENABLED', field, 'is an ultra disk, and ultra_ssd_enabled is not set on the machine');
  }
};

const guestOf = (given: VirtualMachine_Guest): GuestKind => (given === 'QEMU' || given === 'IDLE' ? given : 'PROCESS');

const workloadOf = (given: WireWorkload | undefined): Workload => {
  const { kind = 'IDLE', ioPerSecond = 0, ioSizeBytes = 0 } = given ?? {};
  if (ioPerSecond < 0 || ioPerSecond > ioPerSecondMax) {
    throw invalid(
      'WORKLOAD_INVALID',
      'workload.io_per_second',
      `must be from 0 to ${ioPerSecondMax}, not ${ioPerSecond}`,
    );
  }
  if (ioSizeBytes < 0 || ioSizeBytes > ioSizeBytesMax || ioSizeBytes % sectorBytes !== 0) {
    const expected = `must be a multiple of ${sectorBytes} up to ${ioSizeBytesMax}, not ${ioSizeBytes}`;
    throw invalid('WORKLOAD_INVALID', 'workload.io_size_bytes', expected);
  }
  return {
    kind: kind === 'WRITE_AND_VERIFY' ? kind : 'IDLE',
    ioPerSecond: ioPerSecond || 10,
    ioSizeBytes: ioSizeBytes || sectorBytes,
  };
};

const invalid = (reason: string, field: string, expected: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', reason, `${field} ${expected}`, { field });
