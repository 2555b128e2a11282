import type { IoRecord, MachineRecord, StepRecord } from '@interlock/experiment';
import { effectOf, lossesOf, returnsOf } from '../experiment/fate.ts';

/** What happened to the machines of a resource group in a period, without an experiment. Times are milliseconds since the epoch. */
export interface Activity {
  readonly group: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly machines: readonly ActiveMachine[];
  /** Changes of the keys of their disks, by time. */
  readonly changes: readonly KeyChange[];
  /** Uses of those keys that were refused. */
  readonly refusals: readonly Refusal[];
  /** Reads and writes of guests, by completion; empty if no journals could be read. */
  readonly io: readonly IoRecord[];
  /** What could not be read, and why. */
  readonly unread: readonly string[];
}

/** A machine with its state at the end. Its group is named by the keys of its disks. */
export interface ActiveMachine extends MachineRecord {
  /** `RUNNING`, `STOPPED`. */
  readonly powerState: string;
  /** Counters of its guest since the machine was created; undefined if no guest ran. */
  readonly counted?: {
    readonly reads: number;
    readonly writes: number;
    readonly failures: number;
    readonly mismatches: number;
  };
}

/** A change of a key, a vault or a grant. `step.action`: its name as in experiments, or a text. */
export interface KeyChange {
  readonly step: StepRecord;
  /** As the vault recorded it: `KeyUpdate: disable`. */
  readonly recorded: string;
  /** Short name of the caller. */
  readonly by: string;
}

/** Equal refusals: same caller, operation, key and reason. */
export interface Refusal {
  readonly operation: string;
  readonly key: string;
  readonly reason: string;
  readonly by: string;
  readonly count: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

/** The effect on a machine of the first access loss of the period that concerns it. Durations in milliseconds. */
export interface Fate {
  readonly machine: ActiveMachine;
  /** Why the platform stopped it; empty if it did not. */
  readonly reason: string;
  /** From the loss to its last good read or write; undefined if none is known. */
  readonly lastGoodAfterMs?: number;
  readonly offAfterMs?: number;
  /** From the return of access until it ran again. */
  readonly backAfterMs?: number;
  readonly isOff: boolean;
}

/** The fate of each machine. */
export function fatesOf({ machines, changes, io, fromMs }: Activity): readonly Fate[] {
  const happenings = { machines, steps: changes.map(({ step }) => step) };
  const ioOf = Map.groupBy(io, ({ machine }) => machine);
  return machines.map((machine) => {
    const losses = lossesOf(machine, happenings);
    const stop = machine.power.find(
      ({ atMs, state, reason }) => atMs >= fromMs && state === 'stopped' && reason !== '',
    );
    const isOff = machine.power.at(-1)?.state !== 'running';
    if (stop === undefined) return { machine, reason: '', isOff };
    const loss = losses.findLast((one) => effectOf(one) <= stop.atMs);
    const [lossMs, stopMs] = [loss === undefined ? undefined : effectOf(loss), stop.atMs];
    const lastGood = (ioOf.get(machine.name) ?? []).findLast(
      ({ ok, op, completedMs }) => ok && op !== 'flush' && completedMs <= stopMs,
    );
    const returned = returnsOf(losses, happenings).find((at) => at >= stopMs);
    const ran = machine.power.find(({ atMs, state }) => state === 'running' && atMs > stopMs);
    return {
      machine,
      reason: stop.reason,
      isOff,
      ...(lossMs === undefined ? {} : { offAfterMs: stopMs - lossMs }),
      ...(lossMs === undefined || lastGood === undefined ? {} : { lastGoodAfterMs: lastGood.completedMs - lossMs }),
      ...(returned === undefined || ran === undefined ? {} : { backAfterMs: ran.atMs - returned }),
    };
  });
}
