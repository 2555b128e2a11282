import type { Grant } from '@interlock/access';
import type { Cause } from '@interlock/event-store';
import type { Principal } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import type { DiskHeader } from './header/disk-header-format.ts';
import type { DekHolder } from './keys/deks.ts';

/** The newest access to a disk: of its machine, or of a user for a time. Only the newest attach epoch may read and write. */
export type GrantedAccess = {
  readonly attachEpoch: number;
  readonly tokenHash: string;
  /** Epoch of the host that opened the disk (`Ownership.epoch`); absent in old rows. */
  readonly hostEpoch?: number;
} & (
  | { readonly by: 'machine' }
  | {
      readonly by: 'user';
      readonly principal: Principal;
      readonly level: 'read' | 'write';
      readonly expiresAt: Instant;
    }
);

/** A disk as the store records it, as far as a host needs it. */
export interface DiskRecord {
  readonly holder: DekHolder;
  /** `null`: no access is granted, or it has expired. */
  readonly access: GrantedAccess | null;
  /** Epoch of the newest access that was ever granted. */
  readonly attachEpoch: number;
  /** The grant with which the key version was last used for this disk. */
  readonly grant: Grant;
  /** Event of the newest access; undefined before the first. */
  readonly openedBy?: string | undefined;
  /** Whether a move to another host was announced and has not ended. */
  readonly isMoving: boolean;
  /** Whether a running machine keeps its DEK during an access loss (CMK-102). */
  readonly outlivesKeyLoss: boolean;
}

/** The store as a host reads it. The control side implements it, so that a host depends on no decider. */
export interface DiskRecords {
  /** @throws Rejection NOT_FOUND DISK_NOT_FOUND; ABORTED DISK_CREATING, DISK_DELETING */
  disk(name: string): Promise<DiskRecord>;
  /** The accesses to these disks. Absent: the disk does not exist, or is being deleted. */
  accesses(names: readonly string[]): Promise<ReadonlyMap<string, Pick<DiskRecord, 'access' | 'attachEpoch'>>>;
  /** A disk or snapshot by full name; undefined unless it is active. */
  holder(name: string): Promise<DekHolder | undefined>;
  /** The names of all disks of this host with a granted access. */
  withAccess(): AsyncIterable<string>;
  /** The header of a volume as the last event describes it; undefined if no event names the volume. Its `hostEpoch` is 0. */
  header(volumeId: string): Promise<DiskHeader | undefined>;
  /** Records the end of the direct access with this token. */
  endAccess(name: string, tokenHash: string, cause: Cause): Promise<void>;
}
