import { readFileSync } from 'node:fs';
import { mutants } from '../../../simulation/mutants/mutants.ts';
import { plant } from '../../../simulation/mutants/patching.ts';

/** The result of the search for one planted bug, as its process prints it. */
export interface SearchedMutant {
  readonly isFound: boolean;
  /** Up to the first violation, or all of them. */
  readonly histories: number;
  /** Of processor time. */
  readonly seconds: number;
  /** The rule that the search broke; empty if none. */
  readonly rule: string;
  /** Steps of the smallest timeline, with its give-backs; 0 if the violation was not made smaller. */
  readonly steps: number;
  /** That timeline as a file. */
  readonly text: string;
}

/**
 * Searches one file until a planted bug violates a rule: no experiment that knows the bug. Arguments: the number of the mutant, the seed
 * of the search, the most histories, and the most histories that make the violation smaller.
 */
const [number = '', seed = '', histories = '', shrinking = '0'] = process.argv.slice(2);
const mutant = mutants[Number(number)];
if (mutant === undefined) throw new Error(`there is no mutant number ${number}`);
const planted = plant(mutant);
const { playTrial } = await import('../search/play-trial.ts');
const { searchableOf } = await import('../search/searched-file.ts');
const { simulatedTarget } = await import('../target.ts');
const { readExperiment, search, shrink } = await import('@interlock/lab');
if (!planted.isLoaded()) throw new Error(`${mutant.file} is no part of what the simulation runs`);

// Stacks of refusals are not read.
Error.stackTraceLimit = 0;
const file = new URL('../search/everything.experiment.yaml', import.meta.url);
const searchable = searchableOf(readFileSync(file, 'utf8'), simulatedTarget(1));
if ('problems' in searchable) throw new Error(JSON.stringify(searchable.problems));
const play = async (trials: readonly Parameters<typeof playTrial>[0][]) => {
  const played: Awaited<ReturnType<typeof playTrial>>[] = [];
  // One after the other: the rest of a batch is not played after a violation, so that histories are counted to it.
  for (const trial of trials) {
    played.push(await playTrial(trial));
    if (played.at(-1)?.outcome === 'violated') break;
  }
  return played;
};
const bounds = { isOver: () => false, play, trials: searchable.trials };
const searched = await search({
  ...{ ...searchable, ...bounds },
  ...{ seed: Number(seed), histories: Number(histories) },
});
const { user, system } = process.cpuUsage();
const { found } = searched;
const shrunk =
  found === undefined || shrinking === '0'
    ? undefined
    : await shrink(found, { ...bounds, histories: Number(shrinking) });
const text = shrunk === undefined ? '' : searchable.trials.trialOf(shrunk.candidate).text;
const read = text === '' ? undefined : readExperiment(text);
const result: SearchedMutant = {
  isFound: found !== undefined,
  histories: searched.histories,
  seconds: (user + system) / 1e6,
  rule: found?.played.violated[0] ?? '',
  steps: read !== undefined && 'experiment' in read ? read.experiment.timeline.length : 0,
  text,
};
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exit(0);
