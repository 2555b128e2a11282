import type { SeededRandom } from '@interlock/runtime';
import type { Candidate, Move } from './candidate.ts';
import { drawEnd, drawMoment, drawMove, drawSeed, type Material, within } from './draw.ts';

/** Most changes of a candidate at once. */
const changesMax = 3;

/** A candidate that differs from another in a few places. */
export const changeCandidate = ({ moves, seed }: Candidate, material: Material, random: SeededRandom): Candidate => {
  let changed = moves;
  for (let left = 1 + random.int(changesMax); left > 0; left -= 1)
    changed = random.pick(changes)({ moves: changed, material, random });
  return { moves: changed, seed: random.chance(0.5) ? seed : drawSeed(random) };
};

interface Change {
  /** At least one. */
  readonly moves: readonly Move[];
  readonly material: Material;
  readonly random: SeededRandom;
}

const replace = ({ moves, material, random }: Change): readonly Move[] => {
  const n = random.int(moves.length);
  return moves.with(n, drawMove(material, moves.toSpliced(n, 1), random));
};

const add = (change: Change): readonly Move[] => {
  const { moves, material, random } = change;
  return moves.length < material.steps ? [...moves, drawMove(material, moves, random)] : replace(change);
};

const remove = ({ moves, random }: Change): readonly Move[] =>
  moves.length > 1 ? moves.toSpliced(random.int(moves.length), 1) : moves;

const moveInTime = ({ moves, material, random }: Change): readonly Move[] => {
  const n = random.int(moves.length);
  const { choice, move } = chosen(moves, n, material);
  if (choice === undefined) return moves;
  const atMs = random.chance(0.5)
    ? drawMoment(choice.at, moves.toSpliced(n, 1), random)
    : within(choice.at, move.atMs + (random.fraction() - 0.5) * 1_000);
  return moves.with(n, { ...move, atMs });
};

const endElsewhen = ({ moves, material, random }: Change): readonly Move[] => {
  const n = random.int(moves.length);
  const { choice, move } = chosen(moves, n, material);
  if (choice?.for === undefined || move.forMs === undefined) return moves;
  const forMs = random.chance(0.5)
    ? drawEnd(choice.for, move.atMs, moves.toSpliced(n, 1), random)
    : within(choice.for, move.forMs * (0.5 + 1.5 * random.fraction()));
  return moves.with(n, { ...move, forMs, start: choice.kind === 'cause' && random.chance(0.5) });
};

/** A move with its choice; undefined if it is of the file's own timeline, and the search may not use it. */
const chosen = (moves: readonly Move[], n: number, { choices }: Material) => {
  const move = moves[n] as Move;
  return { move, choice: choices.find(({ action }) => action === move.action) };
};

/** Most add: a limit needs several faults at once, and the next one must fit those that came close. */
const changes = [add, add, add, remove, replace, moveInTime, endElsewhen];
