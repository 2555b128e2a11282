import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { engineFlags } from '../runs/play-pool.ts';
import { mutants } from './mutants.ts';

/** The result of the hunt for one mutant, as its process prints it. */
export interface Hunt {
  readonly isFound: boolean;
  readonly seed: number;
  readonly histories: number;
  /** Of processor time, so that other work of the machine does not matter. */
  readonly seconds: number;
  /** Violations of other guarantees during the hunt, by guarantee. */
  readonly others: Readonly<Record<string, number>>;
  /** The violation; empty if it was not found. */
  readonly actual: string;
}

/** Longest hunt for one mutant, in seconds of processor time. */
const limitSeconds = 60;
/** Hunts at the same time. */
const workers = 2;

const run = promisify(execFile);

/** Hunts one mutant in a separate process, because loaded code stays loaded. A crash is no finding. */
const hunt = async (script: URL, number: number, seed: number): Promise<Hunt | Error> => {
  try {
    const { stdout } = await run(process.execPath, [
      ...engineFlags,
      fileURLToPath(script),
      String(number),
      String(seed),
      String(limitSeconds),
    ]);
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
};

const lineOf = (title: string, outcome: Hunt | Error): string => {
  if (outcome instanceof Error) return `${title}: NOT FOUND, ${outcome.message.split('\n').slice(0, 12).join('\n')}`;
  const { isFound, seed, histories, seconds, others, actual } = outcome;
  const cost = `${seconds.toFixed(1)} s of processor time`;
  return isFound
    ? `${title}: found by ${actual.slice(0, 160)} with seed ${seed} in ${cost}`
    : `${title}: NOT FOUND in ${histories} histories, ${cost}; others ${JSON.stringify(others)}`;
};

/**
 * Hunts mutants and prints a line for each, and at the end a line of JSON. Exits with 0 if all were found.
 * @param script of one hunt; its arguments are the number of the mutant, the first seed and the limit in seconds
 * @param huntable numbers of mutants @param wanted those that the caller names; empty: all
 */
export const huntMutants = async (
  script: URL,
  huntable: readonly number[],
  wanted: readonly string[],
): Promise<never> => {
  const unknown = wanted.find((number) => !huntable.map(String).includes(number));
  if (unknown !== undefined) {
    process.stderr.write(`there is no mutant number ${unknown} to hunt: they are ${huntable.join(', ')}\n`);
    process.exit(2);
  }
  const chosen = wanted.length > 0 ? wanted.map(Number) : huntable;
  const left = [...chosen];
  let found = 0;
  const work = async (): Promise<void> => {
    for (let number = left.shift(); number !== undefined; number = left.shift()) {
      const outcome = await hunt(script, number, 1);
      if (!(outcome instanceof Error) && outcome.isFound) found += 1;
      const title = `${String(number).padStart(2)} ${mutants[number]?.name}`;
      process.stdout.write(`${lineOf(title, outcome)}\n`);
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  process.stdout.write(`${JSON.stringify({ mutants: chosen.length, found })}\n`);
  process.exit(found === chosen.length ? 0 : 1);
};
