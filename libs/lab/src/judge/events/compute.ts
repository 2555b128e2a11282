import type { AccessReason } from '@interlock/access';
import type { Instant } from '@interlock/runtime';

/** Class of a disk, as events of compute have it. */
export type MachineSku = 'STANDARD_HDD' | 'STANDARD_SSD' | 'PREMIUM_SSD' | 'PREMIUM_SSD_V2' | 'ULTRA';

/** A key that a disk of a machine cannot use. */
export interface KeyLoss {
  readonly reason: AccessReason;
  readonly disk: string;
  readonly set: string;
  readonly keyVersion: string;
  readonly since: Instant;
  /** 32 hexadecimal digits; empty when the cause was not traced. */
  readonly traceId: string;
  /** Number of the loss; 0 for an outage, and if the disk service did not say it. */
  readonly accessEpoch: number;
  /** The disk host whose outage it is: `diskHosts/{disk_host}`; absent for a loss, and in events of earlier releases. */
  readonly host?: string;
}

/** A disk of a machine, as it was planned. */
interface PlannedDisk {
  readonly disk: string;
  readonly sku: MachineSku;
  readonly isOs: boolean;
  readonly lun: number;
}

/** A disk whose data key was unwrapped, and the number of the unwrap: a loss with a higher number concerns it. */
export interface OpenedDisk {
  readonly disk: string;
  readonly accessEpoch: number;
}

/** What the judge reads of the events of a machine. The stream names it: `vm-<name>`. */
export type ReadVmEvent =
  | { readonly type: 'VmCreationStarted' | 'VmCreationFailed' | 'VmDeleted' }
  | { readonly type: 'VmCreated'; readonly disks: readonly PlannedDisk[]; readonly opened: readonly OpenedDisk[] }
  | { readonly type: 'VmStarting' | 'VmStarted' | 'VmDeallocating' | 'VmDeallocated' }
  /** Its guest is started at that VM host next: `vmHosts/{vm_host}`. */
  | { readonly type: 'VmPlaced'; readonly host: string; readonly number: number }
  /** `code`: an `AccessReason`, or another reason in capitals. */
  | {
      readonly type: 'VmStartFailed';
      readonly failure: { readonly code: string };
      readonly blocked?: readonly KeyLoss[];
    }
  /** `reason`: the access loss that stops it; absent if its user requested the stop or the guest ended. */
  | {
      readonly type: 'VmStopping';
      readonly reason?: KeyLoss;
      readonly blocked?: readonly KeyLoss[];
      readonly preempted?: { readonly code: string };
      /** What ended it, if that was its guest or its VM host. */
      readonly end?: string;
    }
  /** `isFenced`: every disk was closed, and its VM host did not say that the guest is gone. */
  | { readonly type: 'VmStopped'; readonly reason?: KeyLoss; readonly isFenced?: true }
  /** Lost keys of open ultra disks: the next start needs them. */
  | { readonly type: 'NextStartBlocked'; readonly blocked: readonly KeyLoss[] }
  | { readonly type: 'DisksOpened'; readonly opened: readonly OpenedDisk[] }
  | { readonly type: 'DisksClosed' }
  | { readonly type: 'DiskAttaching'; readonly disk: PlannedDisk }
  | {
      readonly type: 'DiskAttachedToVm' | 'DiskAttachFailed' | 'DiskDetaching' | 'DiskDetachedFromVm';
      readonly disk: string;
    }
  /** Access is restored. `host`: only the outage of that disk host is over. */
  | { readonly type: 'KeyAccessReturned'; readonly set: string; readonly keyVersion: string; readonly host?: string }
  /** The vault that was unreachable has decided. */
  | { readonly type: 'OutageExplained'; readonly loss: Omit<KeyLoss, 'disk'> };
