import {
  type Experiment,
  exitCodes,
  type GroupFigures,
  type GroupMeasures,
  measureNames,
  type Outcome,
  quantilesIn,
} from '@interlock/lab';
import { playInProcesses } from '../../simulation/runs/play-pool.ts';
import type { PlayedExperiment } from './play-experiment.ts';

/** Many histories of one experiment, with consecutive seeds. */
export interface HistoriesOptions {
  readonly experiment: Experiment;
  readonly seed: number;
  readonly histories: number;
  /** Processes that play them. */
  readonly workers: number;
  /** Ends it early: histories that have started are completed. */
  readonly signal: AbortSignal;
  /** Progress, a line each. */
  readonly say: (line: string) => void;
  /** For progress and speed, in milliseconds. */
  readonly elapsedMs: () => number;
}

/** A rule that did not hold in some histories. */
export interface BrokenRule {
  /** As in the file, or the rule's name with its subject. */
  readonly text: string;
  readonly result: 'violated' | 'vacuous';
  readonly seeds: readonly number[];
  /** The measured value in the first of them. */
  readonly seen: string;
}

/** The results of many histories. */
export interface Histories {
  readonly played: number;
  readonly outcomes: Readonly<Partial<Record<Outcome, number>>>;
  /** Quantiles over all machines of a group in all histories. */
  readonly groups: readonly GroupFigures[];
  readonly broken: readonly BrokenRule[];
  /** The first history that did not hold. */
  readonly first?: Pick<PlayedExperiment, 'seed' | 'outcome' | 'because'>;
  readonly virtualMs: number;
}

/** Time between two lines of progress, in milliseconds. */
const progressMs = 5_000;
/** Seeds are 32 bits. */
const seeds = 2 ** 32;

/** Plays the histories in separate processes. @throws Error if a process ends before its histories do */
export const playHistories = async (options: HistoriesOptions): Promise<Histories> => {
  const { experiment, seed, histories, workers, signal, say, elapsedMs } = options;
  const results: PlayedExperiment[] = [];
  let started = 0;
  let nextMs = progressMs;
  await playInProcesses<Experiment, PlayedExperiment>({
    script: new URL('./history-process.ts', import.meta.url),
    workers: Math.min(workers, histories),
    task: experiment,
    nextSeed: () => {
      if (started >= histories || signal.aborted) return undefined;
      started += 1;
      return (seed + started - 1) % seeds;
    },
    played: (result) => {
      results.push(result);
      if (elapsedMs() < nextMs) return;
      nextMs = elapsedMs() + progressMs;
      say(progressLine(results, histories, elapsedMs()));
    },
  });
  // Processes end in any order. Sorting makes the report the same each time.
  return summaryOf(results.toSorted((a, b) => a.seed - b.seed));
};

const outcomesOf = (results: readonly PlayedExperiment[]): Histories['outcomes'] =>
  Object.fromEntries(
    [...Map.groupBy(results, ({ outcome }) => outcome)].map(([outcome, all]) => [outcome, all.length]),
  );

const outcomeText = (outcomes: Histories['outcomes']): string =>
  Object.entries(outcomes)
    .map(([outcome, count]) => `${count} ${outcome}`)
    .join(', ');

const progressLine = (results: readonly PlayedExperiment[], histories: number, elapsedMs: number): string => {
  const leftMs = (elapsedMs / results.length) * (histories - results.length);
  const left = `${Math.ceil(leftMs / 1_000)} s left`;
  return `${results.length} of ${histories} histories: ${outcomeText(outcomesOf(results))}; ${left}`;
};

const summaryOf = (results: readonly PlayedExperiment[]): Histories => {
  const first = results.find(({ outcome }) => outcome !== 'held');
  return {
    played: results.length,
    outcomes: outcomesOf(results),
    groups: pooled(results.flatMap(({ groups }) => groups)).map(quantilesIn),
    broken: brokenIn(results),
    ...(first === undefined ? {} : { first: { seed: first.seed, outcome: first.outcome, because: first.because } }),
    virtualMs: results.reduce((sum, { virtualMs }) => sum + virtualMs, 0),
  };
};

/** The measurements of each group in all histories. */
const pooled = (all: readonly GroupMeasures[]): readonly GroupMeasures[] =>
  [...Map.groupBy(all, ({ group }) => group).values()].flatMap((ofGroup) => {
    const [first] = ofGroup;
    if (first === undefined) return [];
    const values = measureNames.map((name) => [name, ofGroup.flatMap((one) => one[name])] as const);
    const failedOperations = ofGroup.reduce((sum, one) => sum + one.failedOperations, 0);
    const machines = ofGroup.reduce((sum, one) => sum + one.machines, 0);
    return [{ ...first, ...Object.fromEntries(values), machines, failedOperations }];
  });

const brokenIn = (results: readonly PlayedExperiment[]): readonly BrokenRule[] => {
  const found = new Map<string, { rule: BrokenRule; seeds: number[] }>();
  for (const { seed, broken } of results) {
    for (const { text, result, seen } of broken) {
      if (result === 'held') continue;
      const known = found.get(`${result} ${text}`) ?? { rule: { text, result, seeds: [], seen }, seeds: [] };
      known.seeds.push(seed);
      found.set(`${result} ${text}`, known);
    }
  }
  return [...found.values()].map(({ rule, seeds: all }) => ({ ...rule, seeds: all }));
};

/** The exit code of their worst outcome. */
export const historiesExitCode = ({ outcomes }: Histories): number =>
  Math.max(0, ...(Object.keys(outcomes) as Outcome[]).map((outcome) => exitCodes[outcome]));

/** Names of measures in tables. */
const titles: Readonly<Record<(typeof measureNames)[number], string>> = {
  lastGoodRead: 'last good read',
  lastGoodWrite: 'last good write',
  stopped: 'stopped',
  startRefused: 'start refused',
  back: 'back',
  gap: 'longest gap',
};

/** Most seeds that a line names. */
const seedsShown = 5;

const secondsOf = (ms: number | null): string => (ms === null ? '–' : `${(ms / 1_000).toFixed(2)} s`).padStart(9);

/** The results of many histories, as lines for a terminal. */
export const historiesLines = (histories: Histories): readonly string[] => {
  const { played, outcomes, groups, broken, first } = histories;
  const heading = ['p50', 'p95', 'p99', 'max'].map((name) => name.padStart(9)).join(' ');
  const figures = groups.flatMap((group) => [
    `${group.group} (${group.role}, ${group.machines} machines in all, ${group.failedOperations} failed operations)`,
    ...measureNames.flatMap((name) => {
      const { count, p50, p95, p99, max } = group[name];
      return count === 0 ? [] : [`  ${titles[name].padEnd(16)} ${[p50, p95, p99, max].map(secondsOf).join(' ')}`];
    }),
  ]);
  const rules = broken.map(({ text, result, seeds: all, seen }) => {
    const named = all.slice(0, seedsShown).join(', ');
    const more = all.length > seedsShown ? ` and ${all.length - seedsShown} more` : '';
    return `${result} in ${all.length} of ${played}: ${text} (${seen}); seed ${named}${more}`;
  });
  return [
    `${played} histories: ${outcomeText(outcomes)}`,
    '',
    `${' '.repeat(18)} ${heading}`,
    ...figures,
    ...(rules.length === 0 ? [] : ['', ...rules]),
    ...(first === undefined ? [] : ['', `seed ${first.seed} was ${first.outcome}: ${first.because}`]),
  ];
};
