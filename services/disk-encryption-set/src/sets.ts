import type { Category, Cause } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { Neighbours } from './neighbours.ts';
import type { SetEvent } from './set/events.ts';
import type { DiskEncryptionSet } from './set/state.ts';

/** What every process over sets works with. */
export interface SetParts extends Neighbours {
  readonly clock: Clock;
  readonly sets: Category<DiskEncryptionSet, SetEvent>;
  /** Whether a key's vault must have purge protection on (CMK-22). */
  readonly requirePurgeProtection: boolean;
}

/** Options of a call that is made for a cause: the correlation id goes with it, also outside of any request. */
export const callFor = ({ correlationId }: Cause): { readonly correlationId: string } => ({ correlationId });
