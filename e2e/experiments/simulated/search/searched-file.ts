import {
  choicesOf,
  type Experiment,
  type Problem,
  readExperiment,
  type SearchChoice,
  type Target,
  Trials,
} from '@interlock/lab';

/** A file that can be searched: how its trials are made, and of what. */
export interface Searchable {
  readonly experiment: Experiment;
  readonly trials: Trials;
  readonly choices: readonly SearchChoice[];
}

/** Prepares the search of a file. @param text with its estate inside @returns its problems if it cannot be searched on this target */
export const searchableOf = (
  text: string,
  target: Pick<Target, 'refuse' | 'name'>,
): Searchable | { readonly problems: readonly Problem[] } => {
  const read = readExperiment(text);
  if ('problems' in read) return read;
  const { experiment } = read;
  const refused = target.refuse(experiment);
  if (refused.length > 0) return { problems: refused };
  const trials = new Trials(experiment, text);
  const choices = choicesOf(experiment, (move) => {
    const one = trials.experimentWith(move);
    return one !== undefined && target.refuse(one).length === 0;
  });
  if (choices.length > 0) return { experiment, trials, choices };
  const message = `no action of search fits the estate and the target ${target.name}`;
  return { problems: [{ line: 1, message, cure: 'Leave actions out, or name other targets.' }] };
};
