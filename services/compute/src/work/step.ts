import type { Category, Cause, Loaded } from '@interlock/event-store';
import { type Clock, currentTraceparent, type Logger, type Random } from '@interlock/runtime';
import type { Driver } from '../guests/driver.ts';
import { keyStopWork } from '../losses/key-stops.ts';
import type { Losses } from '../losses/losses.ts';
import type { StopMeter } from '../losses/stop-metrics.ts';
import { asKnownBy } from '../vm/disk-state.ts';
import type { VmEvent } from '../vm/events.ts';
import { stopForKeyLoss } from '../vm/key-loss.ts';
import type { Work } from '../vm/machine.ts';
import { currentWork, type Machine, type Vm } from '../vm/state.ts';
import type { Disks } from './disks.ts';
import type { OpenOutcome } from './opening.ts';

/** What every process works with. */
export interface ProcessParts {
  readonly vms: Category<Vm, VmEvent>;
  readonly disks: Disks;
  readonly driver: Driver;
  readonly losses: Losses;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly measureStops: StopMeter;
  /** Whether this replica works on a machine at this moment: once it stood still, another may. */
  readonly isOurs: (vm: string) => boolean;
  /** How long a start, create or attach goes on without a definite answer. */
  readonly startTimeoutMs: number;
  /** How long a guest may take to shut down (VM-42). */
  readonly guestStopTimeoutMs: number;
}

/** What surrounds one run of a step. */
export interface StepContext {
  /** Aborted when something else has to be done with the machine now. */
  readonly signal: AbortSignal;
  /** Resolves once every earlier step that was cut short has really ended: nothing of it is on its way any more. */
  readonly settled: () => Promise<void>;
  /** The machine as the step was begun with it. */
  readonly loaded: Loaded<Vm>;
}

/**
 * Does the next thing for one machine and records the outcome. May run again from its beginning after a crash, so all it
 * does is idempotent; what it reports about work that is over decides nothing.
 * @returns the machine as it is then, where the step knows it
 */
export type Step<State> = (vm: string, state: State, context: StepContext) => Promise<Loaded<Vm> | undefined>;

/** A machine with work under way. */
export type Busy = Machine & { readonly work: Work };

/** The cause of what a process records: who asked in the first place. */
export const causeOf = ({ correlationId, causationId, caller, traceparent }: Work): Cause => {
  const current = currentTraceparent() ?? traceparent;
  return { correlationId, causationId, caller, ...(current === undefined ? {} : { traceparent: current }) };
};

/** Whether the same piece of work is still under way. */
export const isStillAt = (vm: Vm, work: Work): boolean => currentWork(vm)?.id === work.id;

/**
 * Stops a machine that has just opened disks under a key that was lost since they were unwrapped.
 * @param machine as it is with these disks open
 * @returns whether it did
 */
export const stopIfLossMissed = async (
  parts: ProcessParts,
  machine: Loaded<Vm>,
  outcome: Pick<OpenOutcome, 'opened'>,
): Promise<boolean> => {
  const { vms, losses, clock, random, driver } = parts;
  const opened = asKnownBy(machine.state, outcome.opened);
  const known = await losses.missedBy(opened);
  if (!known) return false;
  const { cause, isOver: _over, ...loss } = known;
  const isUnder = ({ disk }: { readonly disk: string }): boolean =>
    opened.some((one) => one.disk === disk && one.set === loss.set && one.keyVersion === loss.keyVersion);
  const terms = { loss, work: keyStopWork(cause, clock, random), isInstant: !driver.hasGuests, isUnder };
  const { events } = await vms.transact(machine.id, stopForKeyLoss(terms), cause);
  parts.measureStops(events);
  return true;
};
