import type { Cause } from '@interlock/event-store';
import type { KeyGrant } from './lease.ts';

/** A user of DEKs under a lease: an open disk, or a copy in progress. */
export interface LeaseUser {
  /** Full name of the disk or snapshot. */
  readonly name: string;
  /** Keeps its DEK beyond the lease: an ultra disk of a running machine (CMK-102). */
  readonly isPinnable: boolean;
  /** Access epoch of the last stored unwrap. */
  readonly accessEpoch: number;
  /** Event of the open or of the copy, a cause of the calls of its lease; undefined if it is not known. */
  readonly openedBy?: string | undefined;
  /** The grant under which its DEK was unwrapped; undefined while the DEK is not in memory. */
  grant(): KeyGrant | undefined;
  /** Overwrites the DEK: at once after a loss; at the end of the lease, unless something else allows its use. */
  drop(why: 'lost' | 'ended'): void;
  /** Checks with the vault, with the user's own wrapped DEK. @throws as `Deks.check` */
  probe(options: { readonly allowExpired: boolean; readonly deadlineMs: number }, cause: Cause): Promise<unknown>;
}
