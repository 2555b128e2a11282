import {
  Evidence,
  type Experiment,
  type GroupMeasures,
  measuresOf,
  type Outcome,
  type RuleVerdict,
  type RunRecord,
  runExperiment,
  verdictOfRun,
} from '@interlock/lab';
import { simulatedTarget } from './target.ts';

/** The result of one history of an experiment. */
export interface PlayedExperiment {
  readonly seed: number;
  readonly outcome: Outcome;
  /** One sentence. */
  readonly because: string;
  /** Rules that did not hold, or that the run did not test. */
  readonly broken: readonly RuleVerdict[];
  readonly groups: readonly GroupMeasures[];
  /** How long it took in virtual time, in milliseconds. */
  readonly virtualMs: number;
}

/** A simulated run leaves nothing behind, so there is nothing to recover. */
const noJournal = { append: () => undefined };

/** Plays one history of an experiment in this process. @returns what it recorded, not judged */
export const recordOf = (experiment: Experiment, seed: number): Promise<RunRecord> =>
  runExperiment({
    experiment,
    target: simulatedTarget(seed),
    id: `simulated-${seed}`,
    journal: noJournal,
    signal: new AbortController().signal,
    say: () => undefined,
  });

/** Plays one history of an experiment in this process, and judges it. */
export const playExperiment = async (experiment: Experiment, seed: number): Promise<PlayedExperiment> => {
  const record = await recordOf(experiment, seed);
  const { outcome, because, rules } = verdictOfRun(experiment, record);
  const { startedMs = 0, endedMs = startedMs } = record.run;
  return {
    seed,
    outcome,
    because,
    broken: rules.filter(({ result }) => result !== 'held'),
    groups: measuresOf(new Evidence(experiment, record)),
    virtualMs: endedMs - startedMs,
  };
};
