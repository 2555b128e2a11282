import type { Candidate, Move, Play, Played } from './candidate.ts';
import type { Trials } from './trial.ts';

/** What is needed to make a violation smaller. */
export interface ShrinkParts {
  readonly trials: Pick<Trials, 'trialOf'>;
  readonly play: Play;
  /** Most histories. */
  readonly histories: number;
  /** Whether it must end before that. */
  readonly isOver: () => boolean;
}

/** A violation that was made smaller. */
export interface Shrunk {
  readonly candidate: Candidate;
  readonly played: Played;
  readonly histories: number;
}

/** Other seeds that are tried: without a move, the same bug may need another moment in the life of a lease. */
const otherSeeds = [1, 2, 3];

/**
 * Makes a violation smaller, and keeps the rule that it violates: fewer moves, then simpler ones (no start of machines in the end,
 * round times, earlier moments, shorter times). It draws nothing: the same violation gives the same result.
 */
export const shrink = async (
  found: { readonly candidate: Candidate; readonly played: Played },
  parts: ShrinkParts,
): Promise<Shrunk> => {
  const [rule = ''] = found.played.violated;
  let best: Omit<Shrunk, 'histories'> = found;
  let histories = 0;
  /** Whether a smaller timeline violates the same rule; then it is the best one. */
  const accepts = async (moves: readonly Move[], seeds: readonly number[]): Promise<boolean> => {
    for (const seed of seeds) {
      if (parts.isOver() || histories >= parts.histories) return false;
      const candidate = parts.trials.trialOf({ moves, seed });
      // A move that became impossible was not simplified.
      if (candidate.moves.length < moves.length) return false;
      const [played] = await parts.play([candidate]);
      histories += 1;
      if (played?.outcome !== 'violated' || !played.violated.includes(rule)) continue;
      best = { candidate, played };
      return true;
    }
    return false;
  };
  while (await removesOne(() => best.candidate, accepts));
  for (let n = 0; n < best.candidate.moves.length; n += 1) {
    for (const simpler of simplerOf(best.candidate.moves[n] as Move)) {
      const { moves, seed } = best.candidate;
      if (await accepts(moves.with(n, simpler), [seed])) break;
    }
  }
  return { ...best, histories };
};

/** Removes half of the moves, or one of them. @returns false if every one is needed */
async function removesOne(
  best: () => Candidate,
  accepts: (moves: readonly Move[], seeds: readonly number[]) => Promise<boolean>,
): Promise<boolean> {
  const { moves, seed } = best();
  const middle = Math.ceil(moves.length / 2);
  const halves = moves.length < 4 ? [] : [moves.slice(0, middle), moves.slice(middle)];
  const fewer = [...halves, ...[...moves.keys()].toReversed().map((n) => moves.toSpliced(n, 1))];
  for (const some of fewer) {
    if (some.length === 0) continue;
    if (await accepts(some, [seed, ...otherSeeds])) return true;
  }
  return false;
}

/** Simpler forms of a move, the simplest first. */
function simplerOf(move: Move): readonly Move[] {
  const times = [10_000, 1_000, 100].flatMap((gridMs): readonly Move[] => {
    const round = (ms: number): number => Math.round(ms / gridMs) * gridMs;
    const atMs = round(move.atMs);
    if (move.forMs === undefined) return [{ ...move, atMs }];
    return [{ ...move, atMs, forMs: Math.max(gridMs, round(move.forMs)) }];
  });
  const ended = move.start ? [{ ...move, start: false }] : [];
  const isOther = (one: Move): boolean => JSON.stringify(one) !== JSON.stringify(move);
  return [...times.map((one) => ({ ...one, start: false })), ...times, ...ended].filter(isOther);
}
