import type { Hunt } from './hunting.ts';
import { mutants } from './mutants.ts';
import { plant } from './patching.ts';

/**
 * Plays histories with a planted bug until they violate its guarantee. Each runs in a separate process, because loaded code
 * stays loaded. Arguments: the number of the mutant, the first seed, the limits in seconds of processor time and in
 * histories.
 */
const [number = '', firstSeed = '', limitSeconds = '', limitHistories = 'Infinity'] = process.argv.slice(2);
const mutant = mutants[Number(number)];
if (!mutant) throw new Error(`there is no mutant number ${number}`);
const planted = plant(mutant);
const { playHistory } = await import('../runs/history.ts');
if (!planted.isLoaded()) throw new Error(`${mutant.file} is no part of what the simulation runs`);

// As in a process that plays histories: stacks of refusals are not read.
Error.stackTraceLimit = 0;
const seconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const others: Record<string, number> = {};
let hunt: Hunt | undefined;
for (let seed = Number(firstSeed), histories = 1; hunt === undefined; seed += 1, histories += 1) {
  const { violation } = await playHistory({ seed });
  const isFound = violation?.guarantee === mutant.guarantee;
  if (isFound || seconds() > Number(limitSeconds) || histories >= Number(limitHistories)) {
    hunt = {
      isFound,
      seed,
      histories,
      seconds: seconds(),
      others,
      actual: isFound ? `${violation.guarantee}: ${violation.actual}` : '',
    };
  } else if (violation) others[violation.guarantee] = (others[violation.guarantee] ?? 0) + 1;
}
process.stdout.write(`${JSON.stringify(hunt)}\n`);
process.exit(0);
