import { join } from 'node:path';
import { readExperiment, runExperiment, verdictOfRun, withChanges } from '@interlock/lab';
import { takeOrders } from '../../simulation/runs/take-orders.ts';
import { runFile } from '../run-file.ts';
import type { MatrixTask, PlayedRun } from './matrix.ts';
import { simulatedTarget } from './target.ts';

/** Seeds are 32 bits. */
const seeds = 2 ** 32;

const play = async (number: number, { cases, folder }: MatrixTask): Promise<PlayedRun> => {
  const { text } = cases[number % cases.length] ?? { text: '' };
  const read = readExperiment(text);
  if ('problems' in read) throw new Error(`case ${number} is not valid: ${read.problems[0]?.message}`);
  const seed = (read.experiment.seed + Math.floor(number / cases.length)) % seeds;
  const experiment = { ...read.experiment, seed };
  const common = { experiment, id: `simulated-${seed}`, signal: new AbortController().signal, say: () => undefined };
  if (folder === undefined) {
    const journal = { append: () => undefined };
    const record = await runExperiment({ ...common, target: simulatedTarget(seed), journal });
    return { number, verdict: verdictOfRun(experiment, record) };
  }
  const name = String(number).padStart(4, '0');
  const own = join(folder, name);
  const target = simulatedTarget(seed);
  const { verdict } = await runFile({
    ...common,
    text: withChanges(text, [], String(seed)),
    folder: own,
    place: { target: 'simulated' },
    target,
  });
  return { number, verdict, report: `${name}/report.html` };
};

takeOrders(play);
