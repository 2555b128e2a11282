import type { AccessReason } from '@interlock/access';
import type { RejectionCode } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { GuestEnd, GuestKind, Workload } from '../guests/vm-host.ts';

/** Class of a disk. */
export type Sku = 'STANDARD_HDD' | 'STANDARD_SSD' | 'PREMIUM_SSD' | 'PREMIUM_SSD_V2' | 'ULTRA';

/** A key that a disk cannot use. */
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
  /** The identity that was deleted; absent for every other loss. */
  readonly principal?: string;
  /** The disk host whose outage it is: `diskHosts/{disk_host}`; absent for a loss, and if the disk service did not say it. */
  readonly host?: string;
}

/** How a machine ended without a request of its user and without an access loss: its guest, or its VM host, is gone. */
export type MachineEnd = GuestEnd | 'HOST_LOST' | 'HOST_DRAINED';

/** What becomes of a machine whose VM host is lost: it stays off until its user starts it, or starts at another host. */
export type HostLossPolicy = 'STAY' | 'RESTART';

/** Where the newest guest of a machine was started. */
export interface Placement {
  /** `vmHosts/{vm_host}`. */
  readonly host: string;
  /** Rises by one with each start: a VM host ignores what belongs to an earlier placement. */
  readonly number: number;
}

/** Why an operation failed. */
export interface Failure {
  readonly operation: WorkKind;
  readonly operationId: string;
  /** The status of the refusal for a waiting caller. */
  readonly status: RejectionCode;
  /** An `AccessReason`, or another reason in capitals. */
  readonly code: string;
  readonly message: string;
  readonly loss?: KeyLoss;
  /** The disk host that did not respond, or that has the disk of the loss: `diskHosts/{disk_host}`; absent if it is not known. */
  readonly diskHost?: string;
  readonly at: Instant;
}

/** The kinds of work on a machine. The platform starts the last two. */
export type WorkKind =
  | 'create'
  | 'start'
  | 'restart'
  | 'powerOff'
  | 'deallocate'
  | 'delete'
  | 'attach'
  | 'detach'
  | 'keyStop'
  | 'guestEnded';

/** Work under way, with all that is needed to continue it after a crash, in the name of its caller. */
export interface Work {
  /** UUID: the operation id of the activity log. */
  readonly id: string;
  readonly kind: WorkKind;
  readonly at: Instant;
  readonly correlationId: string;
  readonly caller: string;
  readonly traceparent?: string;
  /** W3C trace state and baggage of the request. */
  readonly tracestate?: string;
  readonly baggage?: string;
  /** Power off without a shutdown of the guest. */
  readonly isHard?: boolean;
  /** The disk that is attached or detached. */
  readonly disk?: string;
  /** The caller's id of a restart, so that a repeat does not restart again. */
  readonly requestId?: string;
  /** Why an attach or a creation is being undone; its failure is stored once nothing is left of it. */
  readonly undo?: Failure;
}

/** A disk as requested. */
export interface DiskSpec {
  /** Full name. */
  readonly disk: string;
  readonly lun: number;
  readonly isOs: boolean;
  readonly deleteWithVm: boolean;
  /** Present for a disk that is created with the machine. */
  readonly make?: {
    readonly sku: Sku;
    readonly sizeGib: number;
    readonly encryptionType: string;
    readonly set: string;
  };
}

/** A machine as requested. */
export interface VmSpec {
  readonly location: string;
  readonly ultraSsdEnabled: boolean;
  readonly guest: GuestKind;
  readonly workload: Workload;
  /** Absent: `STAY`. */
  readonly hostLossPolicy?: HostLossPolicy;
  /** The OS disk first, then data disks in order of their LUNs. */
  readonly disks: readonly DiskSpec[];
}

/** A requested disk with what the disk service returned about it. */
export interface PlannedDisk extends DiskSpec {
  readonly sku: Sku;
  /** Empty under a key of the platform. */
  readonly set: string;
  /** Empty under a key of the platform, and for a disk that is not created yet. */
  readonly keyVersion: string;
  /** Version of the disk's stream that set and key version are from; absent for a disk that is not created yet. */
  readonly diskVersion?: number;
}

/** A disk of a machine. */
export interface VmDisk {
  readonly disk: string;
  readonly lun: number;
  readonly isOs: boolean;
  readonly deleteWithVm: boolean;
  readonly sku: Sku;
  readonly set: string;
  readonly keyVersion: string;
  /** Version of the disk's stream that set and key version come from: facts of earlier versions are outdated. */
  readonly diskVersion?: number;
  readonly phase: 'attached' | 'attaching' | 'detaching';
  /** The request id of its attach, while it is being attached. */
  readonly attachRequest?: string;
  /** closed ──▶ opening ──▶ open ──▶ closing ──▶ closed. `opening` and `closing`: the disk service may have it open. */
  readonly access: 'closed' | 'opening' | 'open' | 'closing';
  /** Number of the last unwrap; 0 before the first. */
  readonly accessEpoch: number;
  /** The identity that unwrapped it last; absent before the first unwrap, and under a key of the platform. */
  readonly principal?: string;
  /** The disk host that opened it last, `diskHosts/{disk_host}`; absent before, and if the disk service did not say it. */
  readonly host?: string;
  /** Number of the last open; 0 before the first since it was attached. */
  readonly attachEpoch: number;
  /** Whether there may be a later open whose response was lost. */
  readonly isOpenUnsure?: boolean;
}
