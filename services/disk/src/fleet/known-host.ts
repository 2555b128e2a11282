import { fnv1a32 } from '@interlock/messaging';
import type { HostLease } from '../host/owner/lease-row.ts';
import type { RegisteredHost } from './decider.ts';

/** The hash of a name: computed once for each host, because a choice weighs every host. */
export const hashOf = fnv1a32;

/** A host as this process knows it. */
export interface KnownHost {
  readonly name: string;
  /** `hashOf` its name. */
  readonly nameHash: number;
  readonly status: RegisteredHost['status'];
  /** Whether its lease is held, as far as this process has seen. */
  readonly isServing: boolean;
  /** Its newest lease, with its addresses and its free space; undefined before this process has seen one. */
  readonly lease: HostLease | undefined;
  /** Disks and snapshots that name it, as counted last; 0 if this process does not count them. */
  readonly volumeCount: number;
}
