import { Rejection } from '@interlock/event-store';
import { diskSizeGibMax } from '@interlock/rpc';
import { type Encryption, type Sku, skuOnWire } from './encryption.ts';

/** What a class of disks can and cannot do. */
export interface DiskClass {
  readonly canBootMachine: boolean;
  readonly canEncryptTwice: boolean;
  readonly canSnapshotFully: boolean;
}

const solidState: DiskClass = {
  canBootMachine: true,
  canEncryptTwice: true,
  canSnapshotFully: true,
};
/** Data disks only, incremental snapshots only, one layer of encryption: CMK-61, CMK-71. */
const direct: DiskClass = {
  canBootMachine: false,
  canEncryptTwice: false,
  canSnapshotFully: false,
};

/** What each class can; its largest size is `diskSizeGibMax`, and `outlivesKeyLoss` says what a lost key does. Rules CMK-61, CMK-71. */
export const diskClasses: Readonly<Record<Sku, DiskClass>> = {
  standard_hdd: solidState,
  standard_ssd: solidState,
  premium_ssd: solidState,
  premium_ssd_v2: direct,
  ultra: direct,
};

/** @throws Rejection INVALID_ARGUMENT DISK_SIZE_INVALID unless the class has disks of that size. */
export const checkSize = (sku: Sku, sizeGib: number): void => {
  const sizeGibMax = diskSizeGibMax[skuOnWire[sku]];
  if (Number.isSafeInteger(sizeGib) && sizeGib >= 1 && sizeGib <= sizeGibMax) return;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'DISK_SIZE_INVALID',
    `size_gib of a ${skuOnWire[sku]} disk must be 1 to ${sizeGibMax} GiB, not ${sizeGib}`,
    { field: 'size_gib', value: String(sizeGib), max: String(sizeGibMax) },
  );
};

/** @throws Rejection INVALID_ARGUMENT DOUBLE_ENCRYPTION_NOT_SUPPORTED. Rule CMK-71. */
export const checkLayers = (sku: Sku, encryption: Encryption): void => {
  if (encryption.type !== 'double' || diskClasses[sku].canEncryptTwice) return;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'DOUBLE_ENCRYPTION_NOT_SUPPORTED',
    `a ${skuOnWire[sku]} disk cannot be encrypted twice: choose a set with the customer's key alone`,
    { field: 'encryption.type', sku: skuOnWire[sku] },
  );
};
