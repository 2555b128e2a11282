import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defaultSearch, drawCandidate, type Outcome, type Play, type Played, type Trial } from '@interlock/lab';
import { seededRandom, visibleInLine } from '@interlock/runtime';
import type { Meter } from '@opentelemetry/api';
import type { Searchable } from './searched-file.ts';

/** Continuous rounds of one file. */
export interface Forever {
  readonly searchable: Searchable;
  /** The same seed gives the same rounds. */
  readonly seed: number;
  readonly play: Play;
  /** Most rounds. */
  readonly rounds: number;
  /** Ends it after the round in progress. */
  readonly isOver: () => boolean;
  /** Receives the file of each violated round. */
  readonly folder: string;
  readonly meter: Meter;
  /** Whether lines are JSON. */
  readonly isJson: boolean;
  /** A line for each round, and the summary. */
  readonly say: (line: string) => void;
}

/** Rounds that are played together. It does not depend on the number of processes, so that these do not change the rounds. */
const batchSize = 2;
/** Most files that are kept, so that the disk does not fill up: later violated rounds are printed with their seeds only. */
const keptMax = 1_000;

/** How many rounds had each outcome. */
export type Counts = Readonly<Partial<Record<Outcome, number>>>;

/**
 * Plays rounds until it is over: an estate of its own and a drawn timeline in each, and its verdict in a line. A violated round leaves its
 * file, which gives the same bytes again; other rounds leave nothing.
 */
export const playForever = async (parts: Forever): Promise<Counts> => {
  const { searchable, seed, play, folder, meter, isJson, say } = parts;
  const { experiment, trials, choices } = searchable;
  const random = seededRandom(seed).fork('forever');
  const material = { choices, steps: (experiment.search ?? defaultSearch).steps };
  const rounds = meter.createCounter('interlock.experiment.rounds', { unit: '{round}' });
  const counts: Partial<Record<Outcome, number>> = {};
  let done = 0;
  let kept = 0;
  const note = (trial: Trial, played: Played): void => {
    done += 1;
    const { outcome } = played;
    counts[outcome] = (counts[outcome] ?? 0) + 1;
    rounds.add(1, { 'interlock.experiment.outcome': outcome });
    const file = outcome === 'violated' && kept < keptMax ? write(folder, done, trial, played) : undefined;
    if (file !== undefined) kept += 1;
    say(isJson ? jsonLine(done, trial, played, file) : textLine(done, trial, played, file));
  };
  while (done < parts.rounds && !parts.isOver()) {
    const size = Math.min(batchSize, parts.rounds - done);
    const drawn = Array.from({ length: size }, () => trials.trialOf(drawCandidate(material, random)));
    const results = await play(drawn);
    // An interrupted batch has fewer results.
    for (const [n, played] of results.entries()) note(drawn[n] as Trial, played);
  }
  say(isJson ? JSON.stringify({ summary: { rounds: done, ...counts } }) : summaryOf(done, counts));
  return counts;
};

const write = (folder: string, round: number, { text }: Trial, { because }: Played): string => {
  const file = join(folder, `round-${round}.experiment.yaml`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(file, `# ${visibleInLine(because)}\n${text}`, { mode: 0o600 });
  return file;
};

const stepsOf = ({ moves }: Trial): readonly string[] =>
  moves.map(({ action, targets }) => `${action} ${targets.join(' ')}`);

const jsonLine = (round: number, trial: Trial, { outcome, because, violated }: Played, file?: string): string =>
  JSON.stringify({ round, outcome, because, violated, steps: stepsOf(trial), seed: trial.seed, ...(file && { file }) });

const textLine = (round: number, trial: Trial, { outcome, because }: Played, file?: string): string => {
  const why = outcome === 'held' ? '' : `: ${visibleInLine(because)}`;
  return `round ${round} ${outcome} (${stepsOf(trial).join(', ')}; seed ${trial.seed})${why}${file === undefined ? '' : `; ${file}`}`;
};

const summaryOf = (rounds: number, counts: Counts): string =>
  `${rounds} rounds: ${
    Object.entries(counts)
      .map(([outcome, count]) => `${count} ${outcome}`)
      .join(', ') || 'none'
  }`;
