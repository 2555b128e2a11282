/**
 * The judge of `libs/lab` has its own reading of recorded events, because a library imports no service. This file compiles only
 * while each service stores events that the judge can read: `tsc` fails here after a change of an event that the judge reads.
 */
import type { ReadVmEvent } from '@interlock/lab/judge/events/compute';
import type { ReadDiskEvent, ReadSnapshotEvent } from '@interlock/lab/judge/events/disk';
import type { ReadSetEvent } from '@interlock/lab/judge/events/disk-encryption-set';
import type { ReadPrincipalEvent, ReadRoleAssignmentEvent } from '@interlock/lab/judge/events/identity';
import type { ReadKeyEvent, ReadVaultEvent } from '@interlock/lab/judge/events/key-vault';
import type { VmEvent } from '../../services/compute/src/vm/events.ts';
import type { DiskEvent } from '../../services/disk/src/disk/events.ts';
import type { SnapshotEvent } from '../../services/disk/src/snapshot/events.ts';
import type { SetEvent } from '../../services/disk-encryption-set/src/set/events.ts';
import type { PrincipalEvent } from '../../services/identity/src/principal/events.ts';
import type { RoleAssignmentEvent } from '../../services/identity/src/role-assignment/events.ts';
import type { KeyEvent } from '../../services/key-vault/src/key/events.ts';
import type { VaultEvent } from '../../services/key-vault/src/vault/events.ts';

interface Typed {
  readonly type: string;
}

/** The fields of the event of a type. A union member that names several types counts for each. */
type FieldsOf<Event extends Typed, Type extends string> = Event extends Typed
  ? Type extends Event['type']
    ? Omit<Event, 'type'>
    : never
  : never;

type NamesIn<Fields> = Fields extends unknown ? keyof Fields : never;

/** Whether events with the stored fields can be read. A read field that is not stored counts also if it is optional: it was renamed. */
type IsReadable<Stored, Read> = [Stored] extends [never]
  ? false
  : [Exclude<NamesIn<Read>, NamesIn<Stored>>] extends [never]
    ? [Stored] extends [Read]
      ? true
      : false
    : false;

/** Types of events that the judge reads and that the service does not store, or stores with other fields. */
type Misread<Stored extends Typed, Read extends Typed> = {
  [Type in Read['type']]: IsReadable<FieldsOf<Stored, Type>, FieldsOf<Read, Type>> extends true ? never : Type;
}[Read['type']];

/** `true` without one; otherwise the types, for the message of the compiler. */
type None<Types> = [Types] extends [never] ? true : Types;

/** Every event that the judge misreads; none. */
type MisreadEvents =
  | Misread<PrincipalEvent, ReadPrincipalEvent>
  | Misread<RoleAssignmentEvent, ReadRoleAssignmentEvent>
  | Misread<KeyEvent, ReadKeyEvent>
  | Misread<VaultEvent, ReadVaultEvent>
  | Misread<SetEvent, ReadSetEvent>
  | Misread<DiskEvent, ReadDiskEvent>
  | Misread<SnapshotEvent, ReadSnapshotEvent>
  | Misread<VmEvent, ReadVmEvent>;

/** "Type 'true' is not assignable to type …": that event of a service has changed. Change what the judge reads of it, and how. */
export const canReadAll: None<MisreadEvents> = true;

/** What the judge reads in the checks of this file. */
type Read = { readonly type: 'A'; readonly a: 'x'; readonly b?: number } | { readonly type: 'B' | 'C' };

/** The checks of this file: a missing type, a missing, a renamed and a widened field are each noticed, and more is allowed. */
export const checks: readonly [
  Misread<({ type: 'A'; a: 'x' } & { b?: number }) | { type: 'B' }, Read>,
  Misread<{ type: 'A'; b?: number } | { type: 'B' } | { type: 'C' }, Read>,
  Misread<{ type: 'A'; a: 'x'; c?: number } | { type: 'B' } | { type: 'C' }, Read>,
  Misread<{ type: 'A'; a: 'x' | 'y'; b?: number } | { type: 'B' } | { type: 'C' }, Read>,
  None<Misread<{ type: 'A'; a: 'x'; b: 1; more: 1 } | { type: 'B' } | { type: 'C' } | { type: 'D' }, Read>>,
] = ['C', 'A', 'A', 'A', true];
