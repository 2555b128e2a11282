import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { mutants } from '../../../simulation/mutants/mutants.ts';
import { engineFlags } from '../../../simulation/runs/play-pool.ts';
import type { SearchedMutant } from './search-mutant.ts';

/** Most histories that make a violation smaller. */
const shrinking = 150;
/** Searches at the same time. */
const workers = 2;

interface Wanted {
  readonly number: number;
  readonly seed: number;
}

const run = promisify(execFile);

/** Each search in a process of its own, because loaded code stays loaded. A crash is no finding. */
const searchIn = async ({ number, seed }: Wanted, histories: number): Promise<SearchedMutant | Error> => {
  const script = fileURLToPath(new URL('./search-mutant.ts', import.meta.url));
  const args = [number, seed, histories, seed === 1 ? shrinking : 0].map(String);
  try {
    const { stdout } = await run(process.execPath, [...engineFlags, script, ...args]);
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
};

const medianOf = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return ((sorted[Math.floor((sorted.length - 1) / 2)] ?? 0) + (sorted[Math.floor(sorted.length / 2)] ?? 0)) / 2;
};

/**
 * Searches the same file for each planted bug, and prints a row of a table for each: the histories up to the first violation, one
 * figure for each seed. `–`: none within the histories. The violation of seed 1 is made smaller. Exits with 0 if it ran.
 * @param args `--seeds N`, `--histories N`, and the numbers of bugs; without any: all
 */
export const searchMutants = async (args: readonly string[]): Promise<never> => {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { seeds: { ...text, default: '1' }, histories: { ...text, default: '150' } },
  });
  const histories = Number(values.histories);
  const seeds = Array.from({ length: Number(values.seeds) }, (_, n) => n + 1);
  const chosen = positionals.length > 0 ? positionals.map(Number) : [...mutants.keys()];
  const unknown = chosen.find((number) => mutants[number] === undefined);
  if (unknown !== undefined || !(histories >= 1) || seeds.length === 0) {
    process.stderr.write(`give --seeds, --histories and numbers of planted bugs from 0 to ${mutants.length - 1}\n`);
    process.exit(2);
  }
  const left = [...chosen];
  const all: number[] = [];
  let found = 0;
  let small = 0;
  process.stdout.write('| Planted bug | Histories | Seconds | Rule | Steps |\n| --- | --- | --- | --- | --- |\n');
  const work = async (): Promise<void> => {
    for (let number = left.shift(); number !== undefined; number = left.shift()) {
      const results = [];
      for (const seed of seeds) {
        const result = await searchIn({ number, seed }, histories);
        if (result instanceof Error) process.stderr.write(`${number} ${seed}: ${result.message.slice(0, 2_000)}\n`);
        results.push(result instanceof Error || !result.isFound ? undefined : result);
      }
      all.push(...results.map((result) => result?.histories ?? Number.POSITIVE_INFINITY));
      const cells = [
        results.map((result) => result?.histories ?? '–').join(', '),
        results.map((result) => (result === undefined ? '–' : Math.ceil(result.seconds))).join(', '),
      ];
      const smallest = results.find((result) => result !== undefined && result.steps > 0);
      if (results.some((result) => result !== undefined)) found += 1;
      if (smallest !== undefined && smallest.steps <= 6) small += 1;
      const { rule = '', steps = '' } = smallest ?? {};
      process.stdout.write(`| ${mutants[number]?.name} | ${cells.join(' | ')} | ${rule} | ${steps} |\n`);
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  const summary = { mutants: chosen.length, found, small, median: medianOf(all) };
  process.stdout.write(`${JSON.stringify(summary)}\n`);
  process.exit(0);
};
