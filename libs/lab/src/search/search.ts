import { seededRandom } from '@interlock/runtime';
import type { Experiment } from '../experiment.ts';
import { defaultSearch } from '../file/search.ts';
import type { Candidate, Play, Played } from './candidate.ts';
import type { SearchChoice } from './choices.ts';
import { drawCandidate } from './draw.ts';
import { movesOf, type Trials } from './trial.ts';

/** What a search needs. */
export interface SearchParts {
  readonly experiment: Experiment;
  readonly trials: Pick<Trials, 'trialOf'>;
  /** At least one. */
  readonly choices: readonly SearchChoice[];
  readonly play: Play;
  /** The same seed gives the same candidates in the same order. */
  readonly seed: number;
  /** Most histories. */
  readonly histories: number;
  /** Whether it must end before that: its time is over, or the user interrupts it. */
  readonly isOver: () => boolean;
  /** Called after each batch. */
  readonly onProgress?: (progress: Progress) => void;
}

/** How far a search is. */
export interface Progress {
  readonly histories: number;
  /** The limit of which the largest share was used, and that share: how much the search tests. Absent: no limit was tested. */
  readonly closest?: { readonly limit: string; readonly used: number };
}

/** The result of a search. */
export interface Searched extends Progress {
  /** The first violation. */
  readonly found?: { readonly candidate: Candidate; readonly played: Played };
}

/** Candidates that are drawn together. It does not depend on the number of processes, so that these do not change the search. */
export const batchSize = 4;

/**
 * Looks for a timeline whose run violates a rule, until it finds one or its budget is used. The file's own timeline is the first; all
 * others are drawn, and depend on no result.
 */
export const search = async (parts: SearchParts): Promise<Searched> => {
  const { experiment, trials, choices, play, seed, isOver, onProgress } = parts;
  const random = seededRandom(seed).fork('search');
  const material = { choices, steps: (experiment.search ?? defaultSearch).steps };
  let closest: Progress['closest'];
  let histories = 0;
  const progress = (): Progress => ({ histories, ...(closest && { closest }) });
  const next = (): Candidate => drawCandidate(material, random);
  for (let first: Candidate[] = [{ moves: movesOf(experiment), seed: experiment.seed }]; ; first = []) {
    const size = Math.min(batchSize, parts.histories - histories);
    if (size <= 0 || isOver()) return progress();
    const batch = [...first, ...Array.from({ length: size - first.length }, next)];
    const drawn = batch.map((candidate) => trials.trialOf(candidate));
    const results = await play(drawn);
    for (const [n, candidate] of drawn.entries()) {
      const played = results[n];
      // An interrupted batch has fewer results.
      if (played === undefined) return progress();
      histories += 1;
      closest = closerOf(closest, played);
      if (played.outcome === 'violated') return { ...progress(), found: { candidate, played } };
    }
    onProgress?.(progress());
  }
};

/** The limit that came closest, after another history. One that proves nothing does not count. */
const closerOf = (closest: Progress['closest'], { outcome, closeness }: Played): Progress['closest'] => {
  if (outcome === 'inconclusive') return closest;
  return Object.entries(closeness).reduce(
    (best, [limit, used]) => (best === undefined || used > best.used ? { limit, used } : best),
    closest,
  );
};
