import type { Cause } from '@interlock/event-store';
import type { KeyGrant } from './lease.ts';

/** Whoever uses DEKs under a lease: an open disk, or a copy being made. */
export interface LeaseUser {
  /** Full name of the disk or snapshot. */
  readonly name: string;
  /** Keeps its DEK beyond the lease: an ultra disk of a running machine (CMK-102). */
  readonly isPinnable: boolean;
  /** Access epoch of the last unwrap on record. */
  readonly accessEpoch: number;
  /** Under which yes its DEK was unwrapped; undefined while it is not in memory. */
  grant(): KeyGrant | undefined;
  /** Overwrites the DEK: at once after a loss; when the time of the lease is over, unless something else allows its use. */
  drop(why: 'lost' | 'ended'): void;
  /** Asks the vault with the user's own wrapped DEK as the probe. @throws as `Deks.check` */
  probe(options: { readonly allowExpired: boolean; readonly deadlineMs: number }, cause: Cause): Promise<unknown>;
}
