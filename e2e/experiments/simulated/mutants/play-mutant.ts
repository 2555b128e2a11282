import { readFileSync } from 'node:fs';
import type { Hunt } from '../../../simulation/mutants/hunting.ts';
import { mutants } from '../../../simulation/mutants/mutants.ts';
import { plant } from '../../../simulation/mutants/patching.ts';
import { visibility } from './visible.ts';

/**
 * Runs the experiment that can find a planted bug until its verdict is not `held`. An inconclusive run is no finding.
 * Arguments: the number of the mutant, the first seed, the limit in seconds of processor time.
 */
const [number = '', firstSeed = '', limitSeconds = ''] = process.argv.slice(2);
const mutant = mutants[Number(number)];
const shown = visibility.find((one) => one.mutant === mutant?.name);
if (mutant === undefined || shown === undefined || !('file' in shown)) throw new Error(`no experiment shows ${number}`);
const planted = plant(mutant);
const { playExperiment } = await import('../play-experiment.ts');
const { readExperiment } = await import('@interlock/lab');
if (!planted.isLoaded()) throw new Error(`${mutant.file} is no part of what the simulation runs`);

// Stacks of refusals are not read.
Error.stackTraceLimit = 0;
const file = new URL(`./files/${shown.file}.experiment.yaml`, import.meta.url);
const read = readExperiment(readFileSync(file, 'utf8'));
if ('problems' in read) throw new Error(`${shown.file} is not valid: ${JSON.stringify(read.problems)}`);
const seconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const others: Record<string, number> = {};
let hunt: Hunt | undefined;
for (let seed = Number(firstSeed), histories = 1; hunt === undefined; seed += 1, histories += 1) {
  const { outcome, because } = await playExperiment(read.experiment, seed);
  const isFound = outcome === 'violated' || outcome === 'vacuous' || outcome === 'aborted';
  if (isFound || seconds() > Number(limitSeconds)) {
    const actual = isFound ? `${outcome}: ${because}` : '';
    hunt = { isFound, seed, histories, seconds: seconds(), others, actual };
  } else if (outcome !== 'held') others[outcome] = (others[outcome] ?? 0) + 1;
}
process.stdout.write(`${JSON.stringify(hunt)}\n`);
process.exit(0);
