import type { Category, Cause } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { Neighbours } from './neighbours.ts';
import type { SetEvent } from './set/events.ts';
import type { DiskEncryptionSet } from './set/state.ts';

/** What the work on sets needs. */
export interface SetParts extends Neighbours {
  readonly clock: Clock;
  readonly sets: Category<DiskEncryptionSet, SetEvent>;
  /** Whether a key's vault must have purge protection on (CMK-22). */
  readonly requirePurgeProtection: boolean;
}

/** Options of a call for a cause: passes its correlation id on. */
export const callFor = ({ correlationId }: Cause): { readonly correlationId: string } => ({ correlationId });
