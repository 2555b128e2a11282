import {
  Evidence,
  type Experiment,
  type GroupMeasures,
  judge,
  measuresOf,
  type Outcome,
  type RuleVerdict,
  runExperiment,
} from '@interlock/experiment';
import { takeOrders } from '../../simulation/runs/take-orders.ts';
import { simulatedTarget } from './target.ts';

/** One history of an experiment, as a process reports it. */
export interface PlayedExperiment {
  readonly seed: number;
  readonly outcome: Outcome;
  /** One sentence. */
  readonly because: string;
  /** Rules that did not hold, or were not put to the test. */
  readonly broken: readonly RuleVerdict[];
  readonly groups: readonly GroupMeasures[];
  /** How long it took in virtual time, in milliseconds. */
  readonly virtualMs: number;
}

/** Nothing of a simulated run outlives it, so nothing is to be recovered. */
const noJournal = { append: () => undefined };

takeOrders(async (seed, experiment: Experiment): Promise<PlayedExperiment> => {
  const record = await runExperiment({
    experiment,
    target: simulatedTarget(seed),
    id: `simulated-${seed}`,
    journal: noJournal,
    signal: new AbortController().signal,
    say: () => undefined,
  });
  const { outcome, because, rules } = judge(experiment, record);
  const { startedMs = 0, endedMs = startedMs } = record.run;
  return {
    seed,
    outcome,
    because,
    broken: rules.filter(({ result }) => result !== 'held'),
    groups: measuresOf(new Evidence(experiment, record)),
    virtualMs: endedMs - startedMs,
  };
});
