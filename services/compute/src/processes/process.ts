import { type Category, type Cause, type Loaded, stepIds, type Transacted } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import { type Disks, Interrupted } from '../disk-service/disks.ts';
import type { Guests } from '../guests/guests.ts';
import type { GuestDisk } from '../guests/vm-host.ts';
import type { Losses } from '../losses/losses.ts';
import type { StopMeter } from '../losses/stop-metrics.ts';
import { causeOf, ownCause, streamOf } from '../vm/causes.ts';
import type { OpenedDisk, VmEvent } from '../vm/events.ts';
import type { Work } from '../vm/machine.ts';
import { type Creating, currentWork, type Machine, type PowerState, type Vm } from '../vm/state.ts';

/** What every process works with. */
export interface ProcessParts {
  readonly vms: Category<Vm, VmEvent>;
  readonly disks: Disks;
  readonly guests: Guests;
  readonly losses: Losses;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly measureStops: StopMeter;
  /** Whether this replica owns the machine's work partition at this moment. */
  readonly isOurs: (vm: string) => boolean;
  /** How long a start, create or attach is retried without a definite answer, in milliseconds. */
  readonly startTimeoutMs: number;
  /** How long a guest may take to shut down, in milliseconds (VM-42). */
  readonly guestStopTimeoutMs: number;
}

/** The result of opening several disks. */
export interface OpenOutcome {
  readonly opened: readonly OpenedDisk[];
  /** The same disks as the guest reaches them, with secrets. */
  readonly guestDisks: readonly GuestDisk[];
}

/** How far a disk of a creation got in a run: what an undo has to know. A call without a response may still be carried out. */
export interface MakingProgress {
  /** `taken`: a disk of another owner has the name. */
  make: 'not sent' | 'unsure' | 'made' | 'taken';
  attach: 'not sent' | 'unsure' | 'answered';
  /** Unique id of the disk that was made, once that was answered. */
  madeId?: string;
}

/** What surrounds one run of a process. */
export interface RunContext {
  /** Aborted when the machine needs something else now. */
  readonly signal: AbortSignal;
  /** Resolves once every interrupted earlier run has ended: none of its calls is on its way any more. */
  readonly settled: () => Promise<void>;
}

/** One run of a process. */
export interface Run<State> extends RunContext {
  readonly parts: ProcessParts;
  readonly vm: string;
  /** The machine as the run found it. */
  readonly state: State;
  readonly cause: Cause;
  /** The machine as this run last read or stored it. */
  loaded: Loaded<Vm>;
  /** The disks this run opened. They have secrets and are never stored. */
  opening: OpenOutcome | undefined;
  /** The VM host did not say that the guest is gone: only closing its disks makes sure that it does nothing. */
  mayGuestRun: boolean;
  /** How far each disk of a creation got in this run. */
  readonly progressOfDisks: Map<string, MakingProgress>;
}

/** A step ended the process: it has stored the outcome itself, or other work has replaced its work. */
export interface Ended {
  /** The machine as it is then, where the step knows it. */
  readonly ended: Loaded<Vm> | undefined;
}

/** One step of a process. */
export interface Step<State> {
  readonly name: string;
  /** Whether the step applies to this run; absent: it always does. */
  readonly when?: (run: Run<State>) => boolean;
  /** It runs while an interrupted run may still wait for a call: the end of a guest never waits (VM-45). */
  readonly isUrgent?: true;
  /** Idempotent, because it runs again after a crash. It throws to let the process fail. */
  readonly effect: (run: Run<State>) => Promise<Ended | undefined>;
}

type Decision = (vm: Vm) => readonly VmEvent[];

/**
 * One row of the table of processes. Its state says that it is next; it runs its steps in order and stores the event of its
 * success or failure. Nothing else is remembered, so a crash at any point is followed by the same row again.
 */
export interface Process<State> {
  readonly name: string;
  /** The machine, if this row is next for it. */
  readonly appliesTo: (vm: Vm) => State | undefined;
  readonly steps: readonly Step<State>[];
  /** Decides nothing where the work is over or replaced. Without `decide`, the last step stores the event. */
  readonly success: { readonly event: VmEvent['type']; readonly decide?: (run: Run<State>) => Decision };
  /** Absent: the row is retried until it succeeds. */
  readonly failure?: {
    readonly event: VmEvent['type'];
    readonly decide: (run: Run<State>, error: unknown) => Decision;
  };
  /** Runs after the outcome is stored, whichever replica stored it. */
  readonly afterwards?: (run: Run<State>, stored: Transacted<Vm, VmEvent>) => Promise<Loaded<Vm> | undefined>;
}

/** A machine with work under way. */
export type Busy = Machine & { readonly work: Work };

/** A process that is next for a machine. */
export interface NextProcess {
  readonly name: string;
  /** The work that it carries out, with the trace of its request. */
  readonly work: Work | undefined;
  /** The events it continues. */
  readonly events: readonly string[];
  /** Runs it. @returns the machine as it is then, where the run knows it */
  carryOut(context: RunContext): Promise<Loaded<Vm> | undefined>;
}

/** The process as the next of a machine; `undefined` if another is, or none. */
export const nextRun = <State extends Creating | Machine>(
  process: Process<State>,
  parts: ProcessParts,
  loaded: Loaded<Vm>,
): NextProcess | undefined => {
  const state = process.appliesTo(loaded.state);
  if (state === undefined) return undefined;
  const work = currentWork(loaded.state);
  const off = stepIds(streamOf(loaded.id), loaded.state, 'off');
  const cause = work === undefined ? ownCause(parts.random, ...off) : causeOf(loaded.id, loaded.state, work);
  const name = work === undefined ? process.name : `${work.kind} virtual machine`;
  return {
    name,
    work,
    events: cause.causes.map(({ id }) => id),
    carryOut: ({ signal, settled }) =>
      carryOut(process, {
        ...{ parts, vm: loaded.id, state, cause, loaded, signal, settled },
        opening: undefined,
        mayGuestRun: false,
        progressOfDisks: new Map(),
      }),
  };
};

const carryOut = async <State>(process: Process<State>, run: Run<State>): Promise<Loaded<Vm> | undefined> => {
  const { success, failure } = process;
  let decision: Decision | undefined;
  try {
    const end = await runSteps(process.steps, run);
    if (end) return end.ended;
    decision = success.decide?.(run);
  } catch (error) {
    if (error instanceof Interrupted || failure === undefined) throw error;
    decision = failure.decide(run, error);
  }
  if (decision === undefined) return undefined;
  const { parts, vm, cause, loaded } = run;
  const stored = await parts.vms.transact(vm, decision, cause, { known: loaded, step: 'work' });
  return process.afterwards === undefined ? stored : process.afterwards(run, stored);
};

const runSteps = async <State>(steps: readonly Step<State>[], run: Run<State>): Promise<Ended | undefined> => {
  let isSettled = false;
  for (const { when, isUrgent, effect } of steps) {
    if (when?.(run) === false) continue;
    if (!isSettled && isUrgent !== true) {
      await run.settled();
      isSettled = true;
    }
    const end = await effect(run);
    if (end) return end;
  }
  return undefined;
};

/** Accepts a machine in a power state. */
export const inPower =
  (state: PowerState['state'], accepts: (work: Work) => boolean = () => true) =>
  (vm: Vm): Busy | undefined => {
    const busy = busyOf(vm);
    return busy?.power.state === state && accepts(busy.work) ? busy : undefined;
  };

/** Accepts a machine with such work under way. */
export const atWork =
  (accepts: (work: Work) => boolean) =>
  (vm: Vm): Busy | undefined => {
    const busy = busyOf(vm);
    return busy !== undefined && accepts(busy.work) ? busy : undefined;
  };

const busyOf = (vm: Vm): Busy | undefined => {
  const work = vm.status === 'active' ? vm.power.work : undefined;
  return vm.status === 'active' && work !== undefined ? { ...vm, work } : undefined;
};

/** Whether the same piece of work is still under way. */
export const isStillAt = (vm: Vm, work: Work): boolean => currentWork(vm)?.id === work.id;
