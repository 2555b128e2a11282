import type { Stepping } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { ContentMismatch } from '../guests/vm-host.ts';
import type { Failure, KeyLoss, MachineEnd, Placement, PlannedDisk, VmDisk, VmSpec, Work } from './machine.ts';

/**
 * A virtual machine.
 *
 *   absent ──create──▶ creating ──▶ active ──delete──▶ deleted       an abandoned or deleted machine is gone:
 *                          └──────▶ abandoned                        a new machine may get its name
 */
export type Vm = Stepping &
  (
    | { readonly status: 'absent' }
    | Creating
    | { readonly status: 'abandoned'; readonly failure: Failure }
    | Machine
    | { readonly status: 'deleted'; readonly deletedAt: Instant }
  );

/** A machine whose disks are created and opened. */
export interface Creating extends Stepping {
  readonly status: 'creating';
  readonly spec: VmSpec;
  readonly disks: readonly PlannedDisk[];
  readonly work: Work;
  readonly createdAt: Instant;
}

/** A machine that exists, with what is known of it in every power state. */
export interface Machine extends Stepping {
  readonly status: 'active';
  /** UUID of this machine alone: after its deletion another machine may have its name. */
  readonly uniqueId: string;
  /** As requested at its creation; the other fields say what it is now. */
  readonly spec: VmSpec;
  /** The OS disk first, if there is one. */
  readonly disks: readonly VmDisk[];
  readonly power: PowerState;
  /** Where its newest guest was started; absent before its first start, and where compute runs the guests itself. */
  readonly placement?: Placement;
  /** Keys that block a start as far as known, at most one per disk. */
  readonly blocked: readonly KeyLoss[];
  /** Of the last operation; absent once an operation succeeds. */
  readonly failure?: Failure;
  /** Request ids of the latest restarts, newest last. */
  readonly restarts: readonly string[];
  /** Disks detached last and not attached again, newest last: detaching one of them again is a repeat. */
  readonly detached?: readonly string[];
  readonly createdAt: Instant;
  readonly startedAt?: Instant;
  readonly stoppedAt?: Instant;
  /** How many reads returned other bytes than the machine wrote, and the newest of them; absent without any. */
  readonly mismatches?: { readonly count: number; readonly newest: ContentMismatch };
}

/**
 * What a machine does (VM-02, VM-03). Independent of what its last operation did (VM-01).
 *
 *            ┌────────────── start ◀───────────────┐
 *            ▼                                     │
 *   ──▶ starting ──▶ running ──▶ stopping ──▶ stopped ──┐
 *          │ │          │            │  restart          │ deallocate
 *          │ │          │            └──▶ starting       ▼
 *          │ │          └──────────────────────▶ deallocating ──▶ deallocated ── start ──▶ starting
 *          │ └─ fails ──▶ stopped or deallocated, as before
 *          └─ access loss ──▶ stopping
 *
 * At most one piece of work is under way (VM-20). A stop because of a key replaces that of a machine that runs or starts, except
 * its deletion.
 */
export type PowerState =
  | (InState<'starting'> & {
      readonly work: Work;
      /** The state a failed start falls back to, and why the machine was off there. */
      readonly from: 'stopped' | 'deallocated';
      readonly cause: StopCause;
    })
  | (InState<'running'> & { readonly work?: Work })
  | (InState<'stopping'> & { readonly work: Work; readonly cause: StopCause })
  | (Off<'stopped'> & { readonly work?: Work })
  | (InState<'deallocating'> & { readonly work: Work; readonly cause: StopCause })
  | (Off<'deallocated'> & { readonly work?: Work });

interface InState<State extends string> {
  readonly state: State;
  readonly since: Instant;
}

interface Off<State extends string> extends InState<State> {
  readonly cause: StopCause;
  /** Trace context of the work that left disks to be closed; absent if it was not traced. */
  readonly offTraceparent?: string;
}

/** Power states that end with their work. */
type Transition = Extract<PowerState, { state: 'starting' | 'stopping' | 'deallocating' }>;

/** Why a machine is off, or about to be. */
export type StopCause =
  /** Its user asked for it, or it has never run. */
  | { readonly kind: 'requested' }
  /** Its guest ended, or its VM host is gone, although its user did not ask for it. */
  | {
      readonly kind: 'guestEnded';
      readonly end: MachineEnd;
      /** The same in words, if there are any. */
      readonly detail?: string;
      /** It starts by this work once it is off. */
      readonly startsWhenOff?: Work;
    }
  | { readonly kind: 'keyLoss'; readonly loss: KeyLoss; readonly afterRestore: AfterRestore };

/** What becomes of a machine that an access loss stopped, once access is restored. */
export type AfterRestore =
  /** It starts if the owner of a set wants that (CMK-125). */
  | { readonly kind: 'ownerDecides' }
  /** Since then its user has requested it to be off. */
  | { readonly kind: 'staysOff' }
  /** It starts when access to the last of its lost keys is restored. */
  | { readonly kind: 'owesStart' }
  /** It was still stopping then: it starts by this work once it is off. */
  | { readonly kind: 'startsWhenOff'; readonly work: Work };

/** The work under way on a machine, if there is any. */
export const currentWork = (vm: Vm): Work | undefined => {
  if (vm.status === 'creating') return vm.work;
  return vm.status === 'active' ? vm.power.work : undefined;
};

/** Why a machine is off or about to be; a running one has no such cause. */
export const stopCauseOf = ({ power }: Machine): StopCause | undefined =>
  power.state === 'running' ? undefined : power.cause;

/** The access loss that stopped a machine, if one did. It stays until the next start succeeds. */
export const stoppingLossOf = (machine: Machine): KeyLoss | undefined => {
  const cause = stopCauseOf(machine);
  return cause?.kind === 'keyLoss' ? cause.loss : undefined;
};

/** Whether a power state ends with its work. */
export const isInTransition = (power: PowerState): power is Transition =>
  power.state === 'starting' || power.state === 'stopping' || power.state === 'deallocating';

/** Whether a machine runs or is being started. */
export const isOnOrStarting = ({ power }: Machine): boolean => power.state === 'running' || power.state === 'starting';

/** Whether a machine is off and no guest may run for it. */
export const isOff = ({ power }: Machine): boolean => power.state === 'stopped' || power.state === 'deallocated';
