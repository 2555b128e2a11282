import type { Experiment, Step } from '../experiment.ts';
import type { IoRecord, MachineRecord, RunRecord, StepRecord } from '../record.ts';
import { takesAccess } from '../timeline/actions.ts';
import { concerns, groupsOf, keyOfTarget, withoutThrottles } from '../timeline/concerns.ts';
import { IoIndex } from './io-index.ts';

/** A period without the key of a group: from the first loss to the last give-back of overlapping losses. */
export interface Episode {
  /** Effect of the first loss. */
  readonly startMs: number;
  /** When the last was given back; Infinity if none was. */
  readonly endMs: number;
  readonly losses: readonly Step[];
}

/** An experiment with the record of its run, prepared for measuring. Created once for each evaluation of a record. */
export class Evidence {
  readonly experiment: Experiment;
  readonly record: RunRecord;
  /** Start of the timeline; -Infinity if it never started. */
  readonly startMs: number;
  /** End of the timeline; while it runs, the latest time in the record. */
  readonly endMs: number;
  /** Names of the planned groups; for existing machines, the groups of the record. */
  readonly groups: readonly string[];
  readonly #machines: ReadonlyMap<string, readonly MachineRecord[]>;
  readonly #io: IoIndex;
  readonly #episodes = new Map<string, readonly Episode[]>();

  constructor(experiment: Experiment, record: RunRecord) {
    this.experiment = experiment;
    this.record = record;
    this.#machines = Map.groupBy(record.machines, ({ group }) => group);
    this.#io = IoIndex.of(record.io);
    this.startMs = record.run.startedMs ?? Number.NEGATIVE_INFINITY;
    this.endMs = record.run.endedMs ?? latestIn(record, this.#io.latestMs);
    const planned = groupsOf(experiment.estate).map(({ name }) => name);
    this.groups = experiment.estate.kind === 'planned' ? planned : [...this.#machines.keys()];
  }

  machinesOf(group: string): readonly MachineRecord[] {
    return this.#machines.get(group) ?? [];
  }

  /** By completion. */
  ioOf(machine: MachineRecord): readonly IoRecord[] {
    return this.#io.of(machine.name);
  }

  /** Operations of all machines of a group that failed while the timeline ran, by completion. */
  failuresDuringTimeline(group: string): readonly IoRecord[] {
    return this.machinesOf(group)
      .flatMap(({ name }) => this.#io.failedOf(name))
      .filter(({ completedMs }) => completedMs >= this.startMs && completedMs <= this.endMs)
      .toSorted((a, b) => a.completedMs - b.completedMs);
  }

  /** The first record of a step of the timeline. */
  stepRecord(step: Step): StepRecord | undefined {
    return this.record.steps.find(({ name }) => name === step.name);
  }

  /** The last record of the undo of a step. */
  undoRecord(step: Step): StepRecord | undefined {
    return this.record.steps.findLast(({ undoes }) => undoes === step.name);
  }

  /** When a step took effect; its completion if no effect was observed. */
  effectMs(step: Step): number | undefined {
    const record = this.stepRecord(step);
    return record?.effectMs ?? record?.doneMs;
  }

  /** When the undo of a step took effect. */
  undoneMs(step: Step): number | undefined {
    const record = this.undoRecord(step);
    return record?.error === undefined ? (record?.effectMs ?? record?.doneMs) : undefined;
  }

  /** Whether a step concerns a group: by the file, or by the key versions of existing machines. */
  concerns(step: Step, group: string): boolean {
    if (concerns(this.experiment, step, group)) return true;
    if (this.experiment.estate.kind === 'planned') return false;
    const taken = this.stepRecord(step)?.keyVersions ?? [];
    return this.machinesOf(group).some(({ disks }) => disks.some(({ keyVersion }) => taken.includes(keyVersion)));
  }

  roleOf(group: string): 'treatment' | 'control' {
    return this.experiment.timeline.some((step) => this.concerns(step, group)) ? 'treatment' : 'control';
  }

  /** The losses of a group that took effect, by time. */
  episodesOf(group: string): readonly Episode[] {
    const known = this.#episodes.get(group);
    if (known !== undefined) return known;
    const steps = this.experiment.timeline.filter(({ action }) => takesAccess(action));
    const intervals = withoutThrottles(steps.filter((step) => this.concerns(step, group)))
      .flatMap((step): Episode[] => {
        const startMs = this.stepRecord(step)?.effectMs;
        if (startMs === undefined) return [];
        return [{ startMs, endMs: this.undoneMs(step) ?? Number.POSITIVE_INFINITY, losses: [step] }];
      })
      .toSorted((a, b) => a.startMs - b.startMs);
    const episodes = merged(intervals);
    this.#episodes.set(group, episodes);
    return episodes;
  }

  /** Full names of a machine's disks whose key the losses of an episode took; all disks if the record does not tell. */
  disksUnder(machine: MachineRecord, { losses }: Episode): ReadonlySet<string> {
    const { estate } = this.experiment;
    const keys = losses.flatMap(({ targets }) => targets.map((target) => keyOfTarget(estate, target)));
    const versions = losses.flatMap((loss) => this.stepRecord(loss)?.keyVersions ?? []);
    const under = machine.disks.filter(({ key, keyVersion }) => keys.includes(key) || versions.includes(keyVersion));
    return new Set((under.length > 0 ? under : machine.disks).map(({ name }) => name));
  }
}

function merged(intervals: readonly Episode[]): readonly Episode[] {
  const episodes: Episode[] = [];
  for (const { startMs, endMs, losses } of intervals) {
    const last = episodes.at(-1);
    if (last === undefined || startMs > last.endMs) episodes.push({ startMs, endMs, losses });
    else
      episodes[episodes.length - 1] = {
        startMs: last.startMs,
        endMs: Math.max(last.endMs, endMs),
        losses: [...last.losses, ...losses],
      };
  }
  return episodes;
}

/** Latest time in the record. */
function latestIn({ run, steps, machines }: RunRecord, latestIoMs: number): number {
  let latest = run.startedMs ?? Number.NEGATIVE_INFINITY;
  const see = (ms: number | undefined): void => {
    if (ms !== undefined && ms > latest) latest = ms;
  };
  see(latestIoMs);
  for (const { doneMs, invokedMs } of steps) see(doneMs ?? invokedMs);
  for (const { power } of machines) see(power.at(-1)?.atMs);
  return latest;
}
