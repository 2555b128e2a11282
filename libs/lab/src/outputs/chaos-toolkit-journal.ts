import type { Experiment } from '../experiment.ts';
import type { RunRecord, StepRecord } from '../record.ts';
import type { Outcome, RuleVerdict, Verdict } from '../verdict.ts';

/**
 * `journal.json` in the shape that Chaos Toolkit writes and its report generator reads: the steady checks are the hypothesis before, all
 * other rules the hypothesis after, steps the run, undos the rollbacks.
 */
export const chaosToolkitJournal = (experiment: Experiment, record: RunRecord, verdict: Verdict): string =>
  `${JSON.stringify(journalOf(experiment, record, verdict), undefined, 2)}\n`;

/**
 * The status of each outcome. Only a violated rule is a deviation. A run that an abort condition ended is `interrupted`, as by a control of
 * Chaos Toolkit; `aborted` there is a run that failed itself.
 */
const statuses: Readonly<Record<Outcome, string>> = {
  held: 'completed',
  violated: 'failed',
  vacuous: 'failed',
  aborted: 'interrupted',
  inconclusive: 'aborted',
};

function journalOf(experiment: Experiment, record: RunRecord, { outcome, rules }: Verdict): object {
  const { run, steps } = record;
  const startMs = run.startedMs ?? steps[0]?.invokedMs ?? 0;
  const endMs = run.endedMs ?? startMs;
  const before = rules.filter(({ kind }) => kind === 'steady');
  const after = rules.filter(({ kind }) => kind !== 'steady');
  const method = steps.filter(({ undoes }) => undoes === undefined);
  const rollbacks = steps.filter(({ undoes }) => undoes !== undefined);
  const neverStarted = run.startedMs === undefined;
  return {
    'chaoslib-version': '1.0.0',
    platform: `interlock ${run.target}`,
    node: run.id,
    experiment: {
      version: '1.0.0',
      title: experiment.title,
      description: experiment.description ?? experiment.title,
      tags: ['interlock', run.target],
      configuration: experiment.settings,
      'steady-state-hypothesis': { title: experiment.title, probes: after.map(probeOf) },
      method: method.map(actionOf),
      rollbacks: rollbacks.map(actionOf),
    },
    start: utc(startMs),
    status: neverStarted ? 'failed' : statuses[outcome],
    deviated: outcome === 'violated',
    steady_states: {
      before: hypothesis(before, startMs, startMs),
      after: neverStarted ? null : hypothesis(after, endMs, endMs),
      during: [],
    },
    run: method.map(runOf),
    rollbacks: rollbacks.map(runOf),
    end: utc(endMs),
    duration: (endMs - startMs) / 1_000,
  };
}

/** Chaos Toolkit writes times in UTC without a zone. */
const utc = (ms: number): string => new Date(ms).toISOString().slice(0, -1);

/** The provider of an activity, which Chaos Toolkit requires. */
const provider = (argument: string) => ({ type: 'process', path: 'interlock', arguments: ['experiment', argument] });

const probeOf = ({ text }: RuleVerdict) => ({
  type: 'probe',
  name: text,
  tolerance: true,
  provider: provider('judge'),
});

const actionOf = ({ name, action, targets }: StepRecord) => ({
  type: 'action',
  name,
  provider: { ...provider('run'), arguments: ['experiment', 'run', action, ...targets] },
});

const hypothesis = (rules: readonly RuleVerdict[], startMs: number, endMs: number) => ({
  steady_state_met: rules.every(({ result }) => result === 'held'),
  probes: rules.map((rule) => ({
    activity: probeOf(rule),
    output: rule.result === 'held',
    status: 'succeeded',
    tolerance_met: rule.result === 'held',
    start: utc(startMs),
    end: utc(endMs),
    duration: (endMs - startMs) / 1_000,
    seen: rule.seen,
    ...(rule.firstBreak !== undefined && { first_break: rule.firstBreak }),
  })),
});

const runOf = (step: StepRecord) => {
  const { invokedMs, doneMs = invokedMs, effectMs, error } = step;
  return {
    activity: actionOf(step),
    output: effectMs === undefined ? null : { effect: utc(effectMs), trace_id: step.traceId ?? null },
    status: error === undefined ? 'succeeded' : 'failed',
    ...(error !== undefined && { exception: [error] }),
    start: utc(invokedMs),
    end: utc(doneMs),
    duration: (doneMs - invokedMs) / 1_000,
  };
};
