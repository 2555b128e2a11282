import type { IoRecord, MachineRecord, PowerRecord, StepRecord } from '../../record.ts';
import { effectOf, lossesOf, returnsOf } from '../experiment/losses.ts';

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
  /** The disk hosts, also those without disks of the group; those with disks of it if the caller may list no others. */
  readonly hosts: readonly ActivityHost[];
  /** What could not be read, and why. */
  readonly unread: readonly string[];
}

/** A disk host at the end, with the disks of the group that it has. */
export interface ActivityHost {
  readonly name: string;
  /** `HOST_SERVING`, `HOST_UNREACHABLE`, `HOST_LOST`; empty if it is not known. */
  readonly state: string;
  readonly diskCount: number;
}

/** A machine with its state at the end. Its group is named by the keys of its disks. */
export interface ActiveMachine extends MachineRecord {
  readonly power: readonly ActivePower[];
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

export interface ActivePower extends PowerRecord {
  /** Set on a stop whose end is not known: `atMs` is the time of the decision. */
  readonly isDecision?: true;
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

/** What access losses did to a machine in the period. Durations in milliseconds; of several stops each is the longest. */
export interface LossSummary {
  readonly machine: ActiveMachine;
  /** The losses that stopped it, each once. */
  readonly reasons: readonly string[];
  readonly stopCount: number;
  /** Stops whose access loss is not in `changes`: their durations are not known. */
  readonly unmeasuredCount: number;
  /** From the loss to its last good read or write; undefined if none is known. */
  readonly lastGoodAfterMs?: number;
  readonly offAfterMs?: number;
  /** Of stops whose end is not known: from the loss to the decision. The machine was off later. */
  readonly decidedAfterMs?: number;
  /** From the return of access until it ran again. */
  readonly backAfterMs?: number;
  readonly isRunning: boolean;
}

/** What happened in one stop. */
type StopTimes = Pick<LossSummary, 'lastGoodAfterMs' | 'offAfterMs' | 'decidedAfterMs' | 'backAfterMs'>;

/** What losses did to each machine. */
export function lossSummariesOf(activity: Activity): readonly LossSummary[] {
  const ioOf = Map.groupBy(activity.io, ({ machine }) => machine);
  return activity.machines.map((machine) => {
    const stops = machine.power.filter(
      ({ atMs, state, reason }) => atMs >= activity.fromMs && state === 'stopped' && reason !== '',
    );
    const times = stops.map((stop) => timesOf(stop, machine, activity, ioOf.get(machine.name) ?? []));
    const longest = (of: keyof StopTimes): StopTimes => {
      const known = times.flatMap((one) => one[of] ?? []);
      return known.length === 0 ? {} : { [of]: known.reduce((a, b) => Math.max(a, b)) };
    };
    return {
      machine,
      reasons: [...new Set(stops.map(({ reason }) => reason))],
      stopCount: stops.length,
      unmeasuredCount: times.filter((one) => Object.keys(one).length === 0).length,
      isRunning: machine.power.at(-1)?.state === 'running',
      ...longest('lastGoodAfterMs'),
      ...longest('offAfterMs'),
      ...longest('decidedAfterMs'),
      ...longest('backAfterMs'),
    };
  });
}

function timesOf(stop: ActivePower, machine: ActiveMachine, activity: Activity, io: readonly IoRecord[]): StopTimes {
  const happenings = { machines: activity.machines, steps: activity.changes.map(({ step }) => step) };
  const decision = machine.power.findLast(({ atMs, state }) => state === 'stopping' && atMs <= stop.atMs) ?? stop;
  const losses = lossesOf(machine, happenings).filter((loss) => effectOf(loss) <= decision.atMs);
  // A loss that was undone before the decision is not its cause.
  const loss = losses.findLast((one) => !returnsOf([one], happenings).some((at) => at <= decision.atMs));
  if (loss === undefined) return {};
  const lossMs = effectOf(loss);
  const lastGood = io.findLast(({ ok, op, completedMs }) => ok && op !== 'flush' && completedMs <= stop.atMs);
  const ran = machine.power.find(({ atMs, state }) => state === 'running' && atMs >= stop.atMs);
  const returned = returnsOf(losses, happenings).findLast((at) => at >= lossMs && at <= (ran?.atMs ?? 0));
  const isDecision = stop.isDecision === true;
  return {
    [isDecision ? 'decidedAfterMs' : 'offAfterMs']: stop.atMs - lossMs,
    // What it did between a decision and its unknown end is not known.
    ...(lastGood === undefined || isDecision ? {} : { lastGoodAfterMs: lastGood.completedMs - lossMs }),
    ...(returned === undefined || ran === undefined ? {} : { backAfterMs: ran.atMs - returned }),
  };
}
