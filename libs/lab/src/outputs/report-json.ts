import type { Experiment } from '../experiment.ts';
import type { RunRecord, StepRecord } from '../record.ts';
import { exitCodes, type GroupFigures, type Outcome, type RuleVerdict, type Verdict } from '../verdict.ts';

/** `report.json`: the verdict and the data for comparing runs. Times are milliseconds; those of steps count from the start. */
export interface ExperimentReport {
  readonly title: string;
  readonly outcome: Outcome;
  readonly exitCode: number;
  /** One sentence. */
  readonly because: string;
  /** Why the run cannot be trusted; empty if it can. */
  readonly problems: readonly string[];
  readonly run: {
    readonly id: string;
    readonly target: string;
    readonly seed: number;
    /** ISO 8601; null if the timeline never started. */
    readonly startedAt: string | null;
    readonly durationMs: number | null;
    readonly abortedBy: string | null;
    readonly versions: Readonly<Record<string, string>>;
  };
  /** Variables of the services that the file set. */
  readonly settings: Readonly<Record<string, string>>;
  readonly steps: readonly StepReport[];
  readonly rules: readonly RuleVerdict[];
  readonly groups: readonly GroupFigures[];
  readonly bytesCompared: number;
  readonly bytesLost: number;
}

/** A step of the timeline, or the undo of one. */
export interface StepReport {
  readonly name: string;
  readonly action: string;
  readonly targets: readonly string[];
  /** Step that it undoes; null if it is no undo. */
  readonly undoes: string | null;
  readonly plannedMs: number | null;
  readonly invokedMs: number | null;
  readonly doneMs: number | null;
  /** t0 of a loss. */
  readonly effectMs: number | null;
  readonly traceId: string | null;
  readonly error: string | null;
}

/** The report as a value. */
export function reportOf(experiment: Experiment, record: RunRecord, verdict: Verdict): ExperimentReport {
  const { run } = record;
  const { outcome, because, problems, rules, groups, bytesCompared, bytesLost } = verdict;
  return {
    title: experiment.title,
    outcome,
    exitCode: exitCodes[outcome],
    because,
    problems,
    run: {
      id: run.id,
      target: run.target,
      seed: run.seed,
      startedAt: run.startedMs === undefined ? null : new Date(run.startedMs).toISOString(),
      durationMs: run.startedMs === undefined || run.endedMs === undefined ? null : run.endedMs - run.startedMs,
      abortedBy: run.abortedBy ?? null,
      versions: run.versions,
    },
    settings: experiment.settings,
    steps: record.steps.map((step) => stepReport(step, run.startedMs)),
    rules,
    groups,
    bytesCompared,
    bytesLost,
  };
}

/** `report.json` as text. */
export const reportJson = (experiment: Experiment, record: RunRecord, verdict: Verdict): string =>
  `${JSON.stringify(reportOf(experiment, record, verdict), undefined, 2)}\n`;

const stepReport = (step: StepRecord, startedMs: number | undefined): StepReport => {
  const since = (ms: number | undefined): number | null =>
    ms === undefined || startedMs === undefined ? null : ms - startedMs;
  return {
    name: step.name,
    action: step.action,
    targets: step.targets,
    undoes: step.undoes ?? null,
    plannedMs: since(step.plannedMs),
    invokedMs: since(step.invokedMs),
    doneMs: since(step.doneMs),
    effectMs: since(step.effectMs),
    traceId: step.traceId ?? null,
    error: step.error ?? null,
  };
};
