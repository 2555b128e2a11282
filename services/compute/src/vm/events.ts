import type { Instant } from '@interlock/runtime';
import type { ContentMismatch, GuestEnd } from '../guests/vm-host.ts';
import type { Failure, KeyLoss, PlannedDisk, Wish, Work } from './machine.ts';

/** A disk as the disk service opened it: what was unwrapped, and at which numbers. */
export interface OpenedDisk {
  readonly disk: string;
  readonly sku: PlannedDisk['sku'];
  /** Empty under a key of the platform, like `keyVersion`. */
  readonly set: string;
  readonly keyVersion: string;
  /** Number of the unwrap: a loss with a higher one concerns it. */
  readonly accessEpoch: number;
  /** Number of the open; a newer one ends it. */
  readonly attachEpoch: number;
  /** Version of the disk's stream that set and key version are from; absent in old events. */
  readonly diskVersion?: number;
  /** As whom it was unwrapped: the end of another identity does not concern it. Absent under a key of the platform. */
  readonly principal?: string;
}

/** The events of one machine. */
export type VmEvent = CreationEvent | PowerEvent | DisksEvent | AccessEvent;

/** The creation of a machine. */
export type CreationEvent =
  /** Somebody wants a machine; its disks are made and attached now. Nobody else has been told. */
  | {
      readonly type: 'VmCreationBegun';
      readonly wish: Wish;
      readonly disks: readonly PlannedDisk[];
      readonly work: Work;
      readonly at: Instant;
    }
  /** It comes to nothing: from now on whoever works on it undoes what was made for it, and nobody reports it as made. */
  | { readonly type: 'VmCreationUndoing'; readonly failure: Failure; readonly at: Instant }
  /** It came to nothing and nothing is left of it. */
  | { readonly type: 'VmCreationFailed'; readonly failure: Failure; readonly at: Instant }
  /** Every disk is there and open; its guest is started now. */
  | {
      readonly type: 'VmCreated';
      readonly opened: readonly OpenedDisk[];
      /** The disks it begins with, so that the fact can be told by itself. */
      readonly disks: readonly Pick<PlannedDisk, 'disk' | 'lun' | 'isOs' | 'deleteWithVm' | 'sku'>[];
      readonly at: Instant;
    };

/** The power of a machine, up to its deletion. */
export type PowerEvent =
  /** Its disks are opened now, then its guest is started. */
  | {
      readonly type: 'VmStarting';
      readonly work: Work;
      /** What it falls back to when it cannot be started. */
      readonly from: 'stopped' | 'deallocated';
      readonly at: Instant;
    }
  | { readonly type: 'VmStarted'; readonly at: Instant }
  /** It stays off. `blocked`: each disk whose key is in the way. */
  | {
      readonly type: 'VmStartFailed';
      readonly failure: Failure;
      readonly blocked: readonly KeyLoss[];
      readonly at: Instant;
    }
  /** Its guest is shut down now. */
  | {
      readonly type: 'VmStopping';
      readonly work: Work;
      /** The lost key behind it; absent when somebody asked or the guest ended by itself. */
      readonly reason?: KeyLoss;
      /** How the guest came to its end, where it was gone before anything was decided; absent in old events. */
      readonly end?: GuestEnd;
      /** Every further disk under the lost key, besides that of `reason`. */
      readonly blocked?: readonly KeyLoss[];
      /** What became of the operation that was under way. */
      readonly preempted?: Failure;
      readonly at: Instant;
    }
  | { readonly type: 'VmStopped'; readonly reason?: KeyLoss; readonly at: Instant }
  /** Its user wants a machine off that a lost key, or the end of its guest, stopped: it does not start by itself when a key returns. */
  | { readonly type: 'VmKeptOff'; readonly at: Instant }
  | { readonly type: 'VmDeallocating'; readonly work: Work; readonly at: Instant }
  | { readonly type: 'VmDeallocated'; readonly at: Instant }
  | { readonly type: 'VmDeleting'; readonly work: Work; readonly at: Instant }
  | { readonly type: 'VmDeleted'; readonly at: Instant };

/** The disks of a machine. */
export type DisksEvent =
  /** The disk service unwrapped these data keys. */
  | { readonly type: 'DisksOpened'; readonly opened: readonly OpenedDisk[]; readonly at: Instant }
  /** The disk service ended the reads and writes of a machine that is off. */
  | { readonly type: 'DisksClosed'; readonly at: Instant }
  | { readonly type: 'DiskAttaching'; readonly disk: PlannedDisk; readonly work: Work; readonly at: Instant }
  | {
      readonly type: 'DiskAttachedToVm';
      readonly disk: string;
      readonly lun: number;
      readonly deleteWithVm: boolean;
      readonly sku: PlannedDisk['sku'];
      readonly at: Instant;
    }
  /** It cannot be attached: from now on whoever works on it frees the disk, and nobody reports it as attached. */
  | { readonly type: 'DiskAttachUndoing'; readonly failure: Failure; readonly at: Instant }
  | {
      readonly type: 'DiskAttachFailed';
      readonly disk: string;
      readonly failure: Failure;
      readonly at: Instant;
    }
  | { readonly type: 'DiskDetaching'; readonly disk: string; readonly work: Work; readonly at: Instant }
  | { readonly type: 'DiskDetachedFromVm'; readonly disk: string; readonly at: Instant };

/** Keys of a machine's disks, and the data its guest reads. */
export type AccessEvent =
  /** Its data key is under another set or version; told by the disk service. */
  | {
      readonly type: 'DiskKeyChanged';
      readonly disk: string;
      readonly set: string;
      readonly keyVersion: string;
      /** As in `OpenedDisk`. */
      readonly diskVersion?: number;
      /** As in `KeyAccessReturned`: the key it was under was in the way, and the new one is not. */
      readonly startsAgain?: Work;
      readonly owesStart?: boolean;
      readonly at: Instant;
    }
  /** A key that was in the way can be used again; the machine stays as it is (CMK-125), unless its owner wants it started. */
  | {
      readonly type: 'KeyAccessReturned';
      readonly set: string;
      readonly keyVersion: string;
      /** The machine was still stopping: it starts again once it is off. */
      readonly startsAgain?: Work;
      /** Another of its keys is lost: it starts again when that one returns. */
      readonly owesStart?: boolean;
      readonly at: Instant;
    }
  /** The vault that gave no answer has decided something: that is what is in the way of these disks. */
  | {
      readonly type: 'OutageExplained';
      readonly loss: Omit<KeyLoss, 'disk'>;
      readonly disks: readonly string[];
      readonly at: Instant;
    }
  /** Keys of ultra disks it has open were lost: it goes on, and its next start needs them (CMK-102). */
  | {
      readonly type: 'NextStartBlocked';
      /** UUID: the operation id of the activity log. */
      readonly id: string;
      /** Every disk that this is news about. */
      readonly blocked: readonly KeyLoss[];
      readonly at: Instant;
    }
  /** Reads of its guest returned other bytes than it has written. */
  | {
      readonly type: 'ContentMismatchFound';
      /** UUID: the operation id of the activity log. */
      readonly id: string;
      /** All since the machine was made. */
      readonly count: number;
      readonly newest: ContentMismatch;
      readonly at: Instant;
    };
