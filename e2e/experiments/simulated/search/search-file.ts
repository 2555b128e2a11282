import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  durationText,
  type Play,
  type Played,
  type Problem,
  type Progress,
  readExperiment,
  type Searched,
  search,
  shrink,
  type Target,
  type Trial,
} from '@interlock/lab';
import { visibleInLine } from '@interlock/runtime';
import { openPlayPool } from '../../../simulation/runs/play-pool.ts';
import { simulatedTarget } from '../target.ts';
import { type Searchable, searchableOf } from './searched-file.ts';

/** A search of one file. */
export interface FileSearch {
  /** With its estate inside. */
  readonly text: string;
  /** Of the search; undefined: that of the file. */
  readonly seed: number | undefined;
  /** When it ends, in milliseconds after its start. */
  readonly budgetMs: number;
  /** Most histories. */
  readonly histories: number;
  /** Processes that play. */
  readonly workers: number;
  /** Where a violation is written. */
  readonly output: string;
  /** On which the violation may be repeated in addition, with its name. */
  readonly other: Pick<Target, 'refuse' | 'name'>;
  /** Ends it early. */
  readonly signal: AbortSignal;
  /** Progress and results, a line each. */
  readonly say: (line: string) => void;
  readonly elapsedMs: () => number;
}

/** Time between two lines of progress, in milliseconds. */
const progressMs = 5_000;
/** Most histories that make a violation smaller. */
const shrinkMax = 300;

/** Searches a file in virtual time. @returns its problems, or whether a violation was found and written */
export const searchFile = async (
  parts: FileSearch,
): Promise<{ readonly problems: readonly Problem[] } | { readonly isFound: boolean }> => {
  const searchable = searchableOf(parts.text, simulatedTarget(parts.seed ?? 1));
  if ('problems' in searchable) return searchable;
  const { signal, elapsedMs, budgetMs, histories, say } = parts;
  const pool = openPlayPool<Trial, Played>(new URL('./trial-process.ts', import.meta.url), parts.workers);
  try {
    const isOver = (): boolean => signal.aborted || elapsedMs() >= budgetMs;
    const play: Play = (trials) => untilAborted(pool.play(trials.map((task) => ({ seed: task.seed, task }))), signal);
    const { experiment, trials, choices } = searchable;
    const seed = parts.seed ?? experiment.seed;
    const searched = await search({
      ...{ experiment, trials, choices, play, seed, histories, isOver },
      onProgress: progressLines(parts),
    });
    say(summaryLine(searched, seed));
    if (searched.found === undefined) return { isFound: false };
    say(`violated: ${visibleInLine(searched.found.played.because)}`);
    say('making it smaller');
    const isInterrupted = (): boolean => signal.aborted;
    const shrunk = await shrink(searched.found, { trials, play, histories: shrinkMax, isOver: isInterrupted });
    const trial = trials.trialOf(shrunk.candidate);
    writeFound(parts, trial, `found by a search with seed ${seed}: ${shrunk.played.because}`);
    for (const line of foundLines(parts, searchable, trial, shrunk.played)) say(line);
    return { isFound: true };
  } finally {
    pool.close();
  }
};

/** The results; none if the signal comes first. */
export const untilAborted = async <Result>(
  results: Promise<readonly Result[]>,
  signal: AbortSignal,
): Promise<readonly Result[]> => {
  const { promise, resolve } = Promise.withResolvers<readonly Result[]>();
  const end = (): void => resolve([]);
  if (signal.aborted) return [];
  signal.addEventListener('abort', end);
  // The pool is closed then, which ends what it plays.
  results.then(resolve, (error: unknown) => (signal.aborted ? end() : resolve(Promise.reject(error))));
  return promise.finally(() => signal.removeEventListener('abort', end));
};

/** A line every few seconds. */
const progressLines = ({ say, elapsedMs, budgetMs }: FileSearch): ((progress: Progress) => void) => {
  let nextMs = elapsedMs() + progressMs;
  return (progress) => {
    if (elapsedMs() < nextMs) return;
    nextMs = elapsedMs() + progressMs;
    say(`${progressText(progress)}; ${Math.max(0, Math.ceil((budgetMs - elapsedMs()) / 1_000))} s left`);
  };
};

const progressText = ({ histories, closest }: Progress): string => {
  const close = closest && `; closest: ${closest.limit}, of which ${Math.round(closest.used * 100)} % was used`;
  return `${histories} histories${close ?? ''}`;
};

const summaryLine = (searched: Searched, seed: number): string =>
  `${progressText(searched)}; ${searched.found === undefined ? 'no violation' : '1 violation'} (seed ${seed})`;

const writeFound = ({ output }: FileSearch, { text }: Trial, comment: string): void => {
  mkdirSync(dirname(output), { recursive: true, mode: 0o700 });
  writeFileSync(output, `# ${visibleInLine(comment)}\n${text}`, { mode: 0o600 });
};

/** What was found, its file, and how to repeat it. */
const foundLines = (
  { output, other }: FileSearch,
  { experiment }: Searchable,
  trial: Trial,
  { because }: Played,
): readonly string[] => {
  const read = readExperiment(trial.text);
  const timeline = 'experiment' in read ? read.experiment.timeline : experiment.timeline;
  const [refused] = 'experiment' in read ? other.refuse(read.experiment) : [];
  const lastMs = Math.max(...timeline.map(({ atMs, forMs = 0 }) => atMs + forMs));
  return [
    `smallest: ${visibleInLine(because)}`,
    `${timeline.length} steps in ${durationText(lastMs)}, seed ${trial.seed}:`,
    output,
    `repeat it: npx interlock experiment run ${output} --target simulated`,
    refused === undefined
      ? `with processes: npx interlock experiment run ${output} --target ${other.name}`
      : `not with --target ${other.name}: ${visibleInLine(refused.message)}`,
  ];
};
