import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { engineFlags } from '../runs/play-pool.ts';
import { mutants } from './mutants.ts';
import { root } from './patching.ts';
import type { Hunt } from './play-mutant.ts';

/** Longest hunt for one mutant, in seconds of processor time. */
const limitSeconds = 60;
/** Hunts at once. */
const workers = 2;

const run = promisify(execFile);

/** Hunts one mutant in a process of its own. A crash is no finding. */
const hunt = async (number: number, seed: number): Promise<Hunt | Error> => {
  const script = join(root, 'e2e/simulation/mutants/play-mutant.ts');
  try {
    const { stdout } = await run(process.execPath, [
      ...engineFlags,
      script,
      String(number),
      String(seed),
      String(limitSeconds),
    ]);
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
};

/** Numbers of those to hunt; none: all. */
const wanted = process.argv.slice(2);
const unknown = wanted.find((number) => !/^\d+$/.test(number) || mutants[Number(number)] === undefined);
if (unknown !== undefined) {
  process.stderr.write(`there is no mutant number ${unknown}: they are 0 to ${mutants.length - 1}\n`);
  process.exit(2);
}
const chosen = wanted.length > 0 ? wanted.map(Number) : [...mutants.keys()];
const left = [...chosen];
let found = 0;
const work = async (): Promise<void> => {
  for (let number = left.shift(); number !== undefined; number = left.shift()) {
    const mutant = mutants[number];
    if (!mutant) continue;
    const outcome = await hunt(number, 1);
    const title = `${String(number).padStart(2)} ${mutant.name}`;
    if (outcome instanceof Error) {
      process.stdout.write(`${title}: NOT FOUND, ${outcome.message.split('\n').slice(0, 12).join('\n')}\n`);
    } else if (!outcome.isFound) {
      process.stdout.write(
        `${title}: NOT FOUND in ${outcome.histories} histories, ${outcome.seconds.toFixed(1)} s of processor time; others ${JSON.stringify(outcome.others)}\n`,
      );
    } else {
      found += 1;
      process.stdout.write(
        `${title}: found by ${mutant.guarantee} with seed ${outcome.seed} in ${outcome.seconds.toFixed(1)} s of processor time: ${outcome.actual.slice(0, 160)}\n`,
      );
    }
  }
};
await Promise.all(Array.from({ length: workers }, work));
process.stdout.write(`${JSON.stringify({ mutants: chosen.length, found })}\n`);
process.exit(found === chosen.length ? 0 : 1);
