import type { Experiment, Step } from '../experiment.ts';
import type { StepRecord } from '../record.ts';
import type { Verdict } from '../verdict.ts';
import { type ExpectationState, expectationsSoFar } from './expectation-state.ts';
import type { RunPhase, RunProgress } from './run-progress.ts';

/** A step of the timeline, or an undo. */
export interface StepState {
  readonly name: string;
  readonly action: string;
  readonly targets: readonly string[];
  /** After the start of the timeline, in milliseconds. */
  readonly atMs: number;
  readonly state: 'planned' | 'running' | 'done' | 'failed';
  /** Why it failed; empty otherwise. */
  readonly error: string;
}

/** A run as other processes see it while it continues. Times in milliseconds since the epoch. */
export interface RunState {
  readonly title: string;
  readonly id: string;
  readonly target: string;
  readonly phase: RunPhase;
  readonly sinceMs: number;
  /** Start of the timeline; undefined before it. */
  readonly startedMs?: number;
  readonly endedMs?: number;
  /** The process that runs it. */
  readonly runner: { readonly pid: number; readonly startedAt: string };
  /** By time. */
  readonly steps: readonly StepState[];
  /** Steps that are not in `steps`, because there are too many. */
  readonly stepsLeftOut: number;
  readonly expectations: readonly ExpectationState[];
  readonly aborts: readonly { readonly text: string; readonly isMet: boolean }[];
  /** Why the run may prove nothing. */
  readonly problems: readonly string[];
  /** After the end. */
  readonly verdict?: { readonly outcome: string; readonly because: string };
  /** Folder of the evidence. */
  readonly folder: string;
}

/** Most steps, conditions and problems of a state, and most characters of a text: a state has at most 256 KiB. */
export const stateBounds = { steps: 60, conditions: 40, problems: 10, text: 200 } as const;

/** What a state has besides the progress of its run. */
export interface RunStateParts extends Pick<RunState, 'sinceMs' | 'runner' | 'folder'> {
  readonly id: string;
  readonly target: string;
  readonly experiment: Experiment;
}

/** The state of a run. @param ended its verdict and the time, after the end */
export const runStateOf = (
  { experiment, ...parts }: RunStateParts,
  { phase, record, seenMs }: RunProgress,
  ended?: { readonly verdict: Verdict; readonly atMs: number },
): RunState => {
  const { startedMs, abortedBy, problems } = record.run;
  const steps = stepsOf(experiment.timeline, record.steps, startedMs);
  const shown = shownOf(steps);
  const expectations =
    ended === undefined ? expectationsSoFar(experiment, record, seenMs) : expectationsOf(ended.verdict);
  return {
    ...parts,
    id: cut(parts.id),
    title: cut(experiment.title),
    phase: ended === undefined ? phase : 'ended',
    ...(startedMs !== undefined && { startedMs }),
    steps: shown,
    stepsLeftOut: steps.length - shown.length,
    expectations: expectations
      .slice(0, stateBounds.conditions)
      .map(({ text, state, seen }) => ({ text: cut(text), state, seen: cut(seen) })),
    aborts: experiment.abort
      .slice(0, stateBounds.conditions)
      .map(({ text }) => ({ text: cut(text), isMet: text === abortedBy })),
    problems: (ended?.verdict.problems ?? problems).slice(0, stateBounds.problems).map(cut),
    ...(ended && {
      endedMs: ended.atMs,
      verdict: { outcome: ended.verdict.outcome, because: cut(ended.verdict.because) },
    }),
  };
};

const expectationsOf = ({ rules }: Verdict): readonly ExpectationState[] => {
  const states = { held: 'holds', violated: 'broken', vacuous: 'open' } as const;
  return rules
    .filter(({ kind }) => kind === 'expectation')
    .map(({ text, result, seen, firstBreak }) => ({ text, state: states[result], seen: firstBreak ?? seen }));
};

/** Steps and undos: those of the file, and undos that only the end of the run brought. */
const stepsOf = (timeline: readonly Step[], records: readonly StepRecord[], startedMs = 0): readonly StepState[] => {
  const planned = timeline.flatMap(({ name, action, targets, atMs, forMs }) => [
    { name, action, targets, atMs },
    ...(forMs === undefined ? [] : [{ name: `undo ${name}`, action: 'undo', targets, atMs: atMs + forMs }]),
  ]);
  const byName = new Map(records.map((record) => [record.name, record]));
  const names = new Set(planned.map(({ name }) => name));
  const others = records
    .filter(({ name }) => !names.has(name))
    .map(({ name, action, targets, plannedMs }) => ({ name, action, targets, atMs: plannedMs - startedMs }));
  return [...planned, ...others]
    .map((one) => stepState(one, byName.get(one.name)))
    .toSorted((one, other) => one.atMs - other.atMs);
};

const stepState = (
  { name, action, targets, atMs }: Pick<StepState, 'name' | 'action' | 'targets' | 'atMs'>,
  record: StepRecord | undefined,
): StepState => {
  const error = cut(record?.error ?? '');
  const ended = error === '' ? 'done' : 'failed';
  const state = record === undefined ? 'planned' : record.doneMs === undefined ? 'running' : ended;
  return { name: cut(name), action, targets: targets.slice(0, 2).map(cut), atMs, state, error };
};

/** The steps around the first that is not done. */
const shownOf = (steps: readonly StepState[]): readonly StepState[] => {
  const open = steps.findIndex(({ state }) => state === 'planned' || state === 'running');
  const around = (open === -1 ? steps.length : open) - stateBounds.steps / 2;
  const from = Math.max(0, Math.min(around, steps.length - stateBounds.steps));
  return steps.slice(from, from + stateBounds.steps);
};

const cut = (text: string): string =>
  text.length <= stateBounds.text ? text : `${text.slice(0, stateBounds.text - 1)}…`;
