import type { RecordedEvent } from '@interlock/event-store';
import { readExperiment } from '@interlock/lab';
import { type RunData, type TraceMeasures, traceMeasures } from '@interlock/lab/dataset';
import { judgeCauses } from '@interlock/lab/judge/causes/judge-causes';
import { deviationsIn } from '@interlock/lab/judge/conventions/span-conventions';
import { readSpans } from '@interlock/local/read-spans.ts';
import { serviceNames } from '@interlock/local/services.ts';
import type { Workload } from '@interlock/rpc';
import { IncompleteRun, recordRun } from '../../record-run.ts';
import { experimentOf } from './experiment-of.ts';

/** The figures of one run. */
export interface SeedRow extends TraceMeasures {
  readonly seed: number;
  readonly kills: number;
  /** Stored causes compared with those that the data of the events imply. */
  readonly causeRecall: number;
  readonly causePrecision: number;
  /** The faults of the causes, as texts. */
  readonly causeFaults: readonly string[];
  /** Deviations from the semantic conventions, each kind once. */
  readonly deviations: readonly string[];
  readonly outcome: string;
}

/** Runs the experiment of a seed on real processes and measures its causes and spans. @throws IncompleteRun if it never started, or its stores could not be read at its end */
export const measureSeed = async (
  { seed, withKills }: { readonly seed: number; readonly withKills: boolean },
  { signal, say }: { readonly signal: AbortSignal; readonly say: (line: string) => void },
): Promise<{ readonly row: SeedRow; readonly data: RunData }> => {
  const text = experimentOf(seed, withKills);
  const read = readExperiment(text);
  if ('problems' in read) throw new Error(`the experiment of seed ${seed} is wrong: ${JSON.stringify(read.problems)}`);
  const histories: Partial<Record<Workload, readonly RecordedEvent[]>> = {};
  const data = await recordRun({
    experiment: read.experiment,
    text,
    seed,
    id: `seed-${seed}${withKills ? '-kills' : ''}`,
    target: 'local',
    signal,
    say,
    keepHistory: (service, events) => {
      histories[service] = events;
    },
  });
  const missing = serviceNames.filter((name) => histories[name] === undefined);
  if (missing.length > 0) throw new IncompleteRun(`seed ${seed}: no events of ${missing.join(', ')} could be read`);
  const { recall, precision, faults } = judgeCauses(histories);
  const kills = data.faults.filter(({ action, effectUnixNano }) => action === 'kill' && effectUnixNano).length;
  const causes = { causeRecall: recall, causePrecision: precision, causeFaults: faults };
  const deviations = deviationsIn(data.traces.flatMap(readSpans));
  const { outcome } = data.facts;
  return { row: { seed, kills, ...causes, ...traceMeasures(data), deviations, outcome }, data };
};
