import { exitCodes, type MatrixCase, type Outcome, readExperiment, type Verdict } from '@interlock/lab';
import type { MatrixRun } from '@interlock/lab/report/matrix/cells-of';
import { playInProcesses } from '../../simulation/runs/play-pool.ts';

/** A matrix to be played in virtual time. */
export interface MatrixOptions {
  readonly cases: readonly Pick<MatrixCase, 'text'>[];
  /** How often each case is played, each time with the next seed. */
  readonly repeat: number;
  /** The folder for the evidence of each run; undefined: none is kept. */
  readonly folder: string | undefined;
  /** Processes that play. */
  readonly workers: number;
  /** Ends it early: runs that have started are completed. */
  readonly signal: AbortSignal;
  /** Progress, a line each. */
  readonly say: (line: string) => void;
  /** For progress, in milliseconds. */
  readonly elapsedMs: () => number;
}

/** The part of the matrix options that a process receives. */
export type MatrixTask = Pick<MatrixOptions, 'cases' | 'folder'>;

/** The result of one run. */
export interface PlayedRun {
  /** Its place: all cases once, then all of them again. */
  readonly number: number;
  readonly verdict: Verdict;
  /** Its page, relative to the folder; undefined if no evidence is kept. */
  readonly report?: string;
}

/** Time between two lines of progress, in milliseconds. */
const progressMs = 5_000;

/** Plays every case in separate processes. @returns the runs in order of cases, the repeats of each together @throws Error if a process ends early */
export const playMatrix = async (options: MatrixOptions): Promise<readonly MatrixRun[]> => {
  const { cases, repeat, folder, workers, signal, say, elapsedMs } = options;
  const count = cases.length * repeat;
  const played: PlayedRun[] = [];
  let started = 0;
  let nextMs = progressMs;
  await playInProcesses<MatrixTask, PlayedRun>({
    script: new URL('./matrix-process.ts', import.meta.url),
    workers: Math.min(workers, count),
    task: { cases, folder },
    nextSeed: () => (started >= count || signal.aborted ? undefined : started++),
    played: (run) => {
      played.push(run);
      if (elapsedMs() < nextMs && played.length < count) return;
      nextMs = elapsedMs() + progressMs;
      say(progressLine(played, count, elapsedMs()));
    },
  });
  const runs = played.toSorted((a, b) => (a.number % cases.length) - (b.number % cases.length) || a.number - b.number);
  return runs.map(({ number, verdict, report }) => {
    const read = readExperiment(cases[number % cases.length]?.text ?? '');
    if ('problems' in read) throw new Error(`case ${number} is not valid: ${read.problems[0]?.message}`);
    return { experiment: read.experiment, verdict, ...(report === undefined ? {} : { report }) };
  });
};

const progressLine = (played: readonly PlayedRun[], count: number, elapsedMs: number): string => {
  const outcomes = outcomesText(played.map(({ verdict }) => verdict.outcome));
  const leftMs = (elapsedMs / played.length) * (count - played.length);
  return `${played.length} of ${count} runs: ${outcomes}; ${Math.ceil(leftMs / 1_000)} s left`;
};

/** `94 held, 2 vacuous` */
export const outcomesText = (outcomes: readonly Outcome[]): string =>
  [...Map.groupBy(outcomes, (outcome) => outcome)].map(([outcome, all]) => `${all.length} ${outcome}`).join(', ');

/** The code of the worst outcome. */
export const worstExitCode = (outcomes: readonly Outcome[]): number =>
  Math.max(0, ...outcomes.map((outcome) => exitCodes[outcome]));
