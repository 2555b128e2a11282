import type { Instant } from '@interlock/runtime';
import type { ContentMismatch } from '../guests/vm-host.ts';
import type { Failure, KeyLoss, MachineEnd, PlannedDisk, VmSpec, Work } from './machine.ts';

/** A disk as the disk service opened it: what was unwrapped, and at which numbers. */
export interface OpenedDisk {
  readonly disk: string;
  readonly sku: PlannedDisk['sku'];
  /** Empty under a key of the platform, like `keyVersion`. */
  readonly set: string;
  readonly keyVersion: string;
  /** Number of the unwrap: a loss with a higher number concerns it. */
  readonly accessEpoch: number;
  /** Number of the open; a newer open ends it. */
  readonly attachEpoch: number;
  /** Version of the disk's stream that set and key version come from. */
  readonly diskVersion?: number;
  /** The identity that unwrapped it: the loss of another identity does not concern it. Absent under a key of the platform. */
  readonly principal?: string;
  /** The disk host that has it, `diskHosts/{disk_host}`; absent in events of earlier releases. */
  readonly host?: string;
}

/** The events of one machine. */
export type VmEvent = CreationEvent | PowerEvent | DisksEvent | AccessEvent;

/** The creation of a machine. */
export type CreationEvent =
  /** Its disks are created and attached next. Not published yet. */
  | {
      readonly type: 'VmCreationStarted';
      readonly spec: VmSpec;
      readonly disks: readonly PlannedDisk[];
      readonly work: Work;
      readonly at: Instant;
    }
  /** The creation fails. From now on every replica undoes what was created for it, and none reports it as created. */
  | { readonly type: 'VmCreationUndoing'; readonly failure: Failure; readonly at: Instant }
  /** The creation failed, and nothing of it is left. */
  | { readonly type: 'VmCreationFailed'; readonly failure: Failure; readonly at: Instant }
  /** Every disk is open; its guest is started next. */
  | {
      readonly type: 'VmCreated';
      readonly opened: readonly OpenedDisk[];
      /** Its first disks, so that the fact can be published from this event alone. */
      readonly disks: readonly Pick<PlannedDisk, 'disk' | 'lun' | 'isOs' | 'deleteWithVm' | 'sku'>[];
      readonly at: Instant;
    };

/** The power of a machine, up to its deletion. */
export type PowerEvent =
  /** Its disks are opened next, then its guest is started. */
  | {
      readonly type: 'VmStarting';
      readonly work: Work;
      /** The state a failed start falls back to. */
      readonly from: 'stopped' | 'deallocated';
      readonly at: Instant;
    }
  /** Its guest is started at that VM host next. Stored before the host is called, so that a stop knows where the guest may run. */
  | { readonly type: 'VmPlaced'; readonly host: string; readonly number: number; readonly at: Instant }
  | { readonly type: 'VmStarted'; readonly at: Instant }
  /** It stays off. `blocked`: each disk whose key blocks the start. */
  | {
      readonly type: 'VmStartFailed';
      readonly failure: Failure;
      readonly blocked: readonly KeyLoss[];
      readonly at: Instant;
    }
  /** Its guest is shut down next. */
  | {
      readonly type: 'VmStopping';
      readonly work: Work;
      /** The access loss that stops it; absent if its user requested the stop or the guest ended. */
      readonly reason?: KeyLoss;
      /** What ended it, if it was its guest or its VM host. */
      readonly end?: MachineEnd;
      /** The same in words, if there are any. */
      readonly detail?: string;
      /** It starts by this work once it is off: at another VM host. */
      readonly startsAgain?: Work;
      /** Every further disk under the lost key, besides that of `reason`. */
      readonly blocked?: readonly KeyLoss[];
      /** The failure of the operation that the stop replaces. */
      readonly preempted?: Failure;
      readonly at: Instant;
    }
  | {
      readonly type: 'VmStopped';
      readonly reason?: KeyLoss;
      /** Its VM host did not respond, so its guest may run: but every disk is closed, and it reads and writes nothing. */
      readonly isFenced?: true;
      readonly at: Instant;
    }
  /** Its user wants a machine off that an access loss or the end of its guest stopped: restored access does not start it. */
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
  /** The attach fails. From now on every replica frees the disk, and none reports it as attached. */
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
  /** The disk service moved the data key of a disk under another set or version. */
  | {
      readonly type: 'DiskKeyChanged';
      readonly disk: string;
      readonly set: string;
      readonly keyVersion: string;
      /** As in `OpenedDisk`. */
      readonly diskVersion?: number;
      /** As in `KeyAccessReturned`: the old key blocked the machine, and the new one does not. */
      readonly startsAgain?: Work;
      readonly owesStart?: boolean;
      readonly at: Instant;
    }
  /** Access to a key that blocked it is restored. The machine stays as it is (CMK-125), unless the owner of a set wants it started. */
  | {
      readonly type: 'KeyAccessReturned';
      readonly set: string;
      readonly keyVersion: string;
      /** As in `KeyLoss`: only the outage of that disk host is over; absent: every loss of the key. */
      readonly host?: string;
      /** The machine was still stopping: it starts by this work once it is off. */
      readonly startsAgain?: Work;
      /** Another of its keys is lost: it starts when access to that key is restored. */
      readonly owesStart?: boolean;
      readonly at: Instant;
    }
  /** The vault that was unreachable has decided: this loss blocks these disks. */
  | {
      readonly type: 'OutageExplained';
      readonly loss: Omit<KeyLoss, 'disk'>;
      readonly disks: readonly string[];
      readonly at: Instant;
    }
  /** Keys of open ultra disks were lost: the machine keeps running, and its next start needs them (CMK-102). */
  | {
      readonly type: 'NextStartBlocked';
      /** UUID: the operation id of the activity log. */
      readonly id: string;
      /** The disks whose loss is new. */
      readonly blocked: readonly KeyLoss[];
      readonly at: Instant;
    }
  /** Reads of its guest returned other bytes than it wrote. */
  | {
      readonly type: 'ContentMismatchFound';
      /** UUID: the operation id of the activity log. */
      readonly id: string;
      /** All since the machine was created. */
      readonly count: number;
      readonly newest: ContentMismatch;
      readonly at: Instant;
    };
