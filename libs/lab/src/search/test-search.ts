import assert from 'node:assert/strict';
import { problemLines, readExperiment } from '../file/read-experiment.ts';
import type { Candidate, Move, Play, Played } from './candidate.ts';
import { choicesOf } from './choices.ts';
import type { SearchParts } from './search.ts';
import { Trials } from './trial.ts';

const text = `title: a test
settings: { leaseTtl: 4s, authzTtl: 1s }
estate:
  premium: { machines: 1, disks: [premium-ssd], key: k1 }
  second: { machines: 1, disks: [premium-ssd], key: k2 }
  control: { machines: 1, disks: [premium-ssd], key: other }
timeline:
  - { at: 1s, disable-key: k1, as: loss, for: 8s }
expect:
  - premium.lastGoodWrite <= loss + 5s
  - bytesLost == 0
`;

/** A file with more sections, and how its trials are made. */
export const searchable = (more = ''): Pick<SearchParts, 'experiment' | 'choices'> & { readonly trials: Trials } => {
  const read = readExperiment(text + more);
  if ('problems' in read) assert.fail(problemLines('test', read.problems).join('\n'));
  const trials = new Trials(read.experiment, text + more);
  const choices = choicesOf(read.experiment, (move) => trials.experimentWith(move) !== undefined);
  return { experiment: read.experiment, trials, choices };
};

export const nothing: Played = { outcome: 'held', because: '', violated: [], closeness: {} };

/** A target that judges the moves of a trial instead of running it. */
export const playing =
  (judge: (candidate: Candidate) => Partial<Played>): Play =>
  async (trials) =>
    trials.map((trial) => ({ ...nothing, ...judge(trial) }));

/** The first move of an action. */
export const moveOf = (moves: readonly Move[], action: string): Move | undefined =>
  moves.find((move) => move.action === action);
