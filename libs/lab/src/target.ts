import type { Clock } from '@interlock/runtime';
import type { ExistingMachines, Experiment, Problem, SteadyCheck, Step } from './experiment.ts';
import type {
  ContentRecord,
  GuaranteeRecord,
  IoRecord,
  MachineRecord,
  RawRecord,
  RefusalRecord,
  SightingRecord,
} from './record.ts';

/** Where experiments run: a local cloud, an existing one, a cluster, or the simulation. */
export interface Target {
  readonly name: 'local' | 'existing' | 'kubernetes' | 'simulated';
  /** Problems: parts of the experiment that this target cannot do. Starts nothing. */
  refuse(experiment: Experiment): readonly Problem[];
  /** Problems that only the running cloud shows, such as its settings. Changes nothing. @throws Error if it cannot be read */
  refuseThere?(experiment: Experiment): Promise<readonly Problem[]>;
  /** The machines of a resource group, for a target with existing machines. @throws Error if the group has none */
  existing?(resourceGroup: string): Promise<ExistingMachines>;
  /**
   * Starts the cloud or connects to it, creates the estate, and waits until its machines run.
   * @throws Error with the reason, after everything that was created is removed
   */
  open(experiment: Experiment, signal: AbortSignal): Promise<Lab>;
}

/** A cloud with the estate of one experiment. */
export interface Lab {
  /** Clock of the run: that of the operating system, or virtual time. */
  readonly clock: Clock;
  readonly versions: Readonly<Record<string, string>>;
  /**
   * Reads what the undo of the step needs (previous permissions, the id of a role assignment, a process id) and changes nothing.
   * The engine stores it before it calls `carryOut`, so a killed runner leaves a record of what to undo.
   */
  plan(step: Step): Promise<Undo>;
  carryOut(step: Step, undo: Undo): Promise<Effect>;
  /** Undoes a step; does nothing if it was undone, or never carried out. @param start also starts machines that it stopped */
  undo(undo: Undo, start: boolean): Promise<Effect>;
  /** @returns why the check does not hold; undefined if it does */
  check(check: SteadyCheck): Promise<string | undefined>;
  /** Observations since `open`; may be called at any time, for abort conditions and at the end. */
  observe(): Promise<Observed>;
  /** Waits until restored machines run, then compares all acknowledged content. */
  compareContent(): Promise<ContentRecord>;
  /** Removes everything that `open` created. */
  close(): Promise<void>;
}

/** Everything needed to undo a step from another process: plain JSON. */
export interface Undo {
  readonly step: string;
  readonly action: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What a step did. `effectMs`: when it took effect, by the clock of its owner. */
export interface Effect {
  readonly effectMs?: number;
  readonly traceId?: string;
  readonly keyVersions?: readonly string[];
  /** The disk hosts that it affected, if its targets do not say which: `disk-host-0` for `disk-host-of-premium`. */
  readonly hosts?: readonly string[];
  /** Operations of the step that a service refused because a key was lost. */
  readonly refused?: readonly RefusalRecord[];
}

export interface Observed {
  readonly machines: readonly MachineRecord[];
  readonly io: readonly IoRecord[];
  readonly sightings: readonly SightingRecord[];
  readonly guarantees: readonly GuaranteeRecord[];
  /** From which power records and guarantees derive. */
  readonly raw?: RawRecord;
}
