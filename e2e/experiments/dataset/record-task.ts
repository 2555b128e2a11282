import { type Experiment, readExperiment } from '@interlock/lab';
import { type RunData, splitTraces } from '@interlock/lab/dataset';
import { drawnExperiment } from './study/drawn-experiment.ts';

/** What all recording processes share. */
export interface RecordTask {
  /** Title of the collection. */
  readonly title: string;
  /** What the run of a seed plays. */
  readonly plays: Played | 'study';
  /** Folder of the collection. */
  readonly out: string;
}

/** An experiment, and its file as it is run. */
export interface Played {
  readonly experiment: Experiment;
  readonly text: string;
}

/** The experiment of a seed: the given one, or one that the study draws. */
export const playedBy = ({ plays }: RecordTask, seed: number): Played => {
  if (plays !== 'study') return plays;
  const text = drawnExperiment(seed);
  const read = readExperiment(text);
  if ('problems' in read) throw new Error(`the experiment of seed ${seed} is wrong: ${JSON.stringify(read.problems)}`);
  return { experiment: read.experiment, text };
};

/** Every second run of a study is recorded as a system does whose consumers start traces of their own. */
export const asStudied = ({ plays }: RecordTask, seed: number, data: RunData): RunData =>
  plays === 'study' && seed % 2 === 0 ? splitTraces(data) : data;

/** A run that was recorded. */
export interface RecordedRun {
  /** The folder, relative to that of the collection. */
  readonly path: string;
  readonly seed: number;
  /** Of its manifest. */
  readonly sha256: string;
  readonly outcome: string;
}
