import type { SeededRandom } from '@interlock/runtime';
import type { Candidate, Move } from './candidate.ts';
import type { SearchChoice } from './choices.ts';
import { drawEnd, drawMoment, drawMove, drawSeed, type Material, within } from './draw.ts';

/** Most changes of a candidate at once. */
const changesMax = 3;

/** A candidate that differs from another in a few places. @param partner a candidate whose moves it may take over */
export const changeCandidate = (
  { moves, seed }: Candidate,
  partner: Candidate,
  material: Material,
  random: SeededRandom,
): Candidate => {
  let changed = moves;
  for (let left = 1 + random.int(changesMax); left > 0; left -= 1)
    changed = random.pick(changes)({ moves: changed, partner: partner.moves, material, random });
  return { moves: changed, seed: random.chance(0.5) ? seed : drawSeed(random) };
};

interface Change {
  /** At least one. */
  readonly moves: readonly Move[];
  readonly partner: readonly Move[];
  readonly material: Material;
  readonly random: SeededRandom;
}

const add = ({ moves, material, random }: Change): readonly Move[] =>
  moves.length < material.steps ? [...moves, drawMove(material, moves, random)] : moves;

const remove = ({ moves, random }: Change): readonly Move[] =>
  moves.length > 1 ? moves.toSpliced(random.int(moves.length), 1) : moves;

const replace = ({ moves, material, random }: Change): readonly Move[] => {
  const n = random.int(moves.length);
  return moves.with(n, drawMove(material, moves.toSpliced(n, 1), random));
};

const takeOver = ({ moves, partner, material, random }: Change): readonly Move[] =>
  moves.length < material.steps && partner.length > 0 ? [...moves, random.pick(partner)] : moves;

/** Another move of the same kind of action, or with another target, at the same time. */
const aimElsewhere = ({ moves, material, random }: Change): readonly Move[] => {
  const n = random.int(moves.length);
  const { choice, move } = chosen(moves, n, material);
  if (choice === undefined) return moves;
  const goal = random.pick(choice.goals);
  const { by } = move.options;
  // What expectations say of the step of that name was about its target.
  const { name: _, ...unnamed } = move;
  return moves.with(n, {
    ...unnamed,
    targets: goal.targets,
    options: by === undefined ? goal.options : { ...goal.options, by },
  });
};

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

/** Two moves end in the other order. */
const exchangeEnds = ({ moves, material, random }: Change): readonly Move[] => {
  const lasting = [...moves.keys()].filter((n) => moves[n]?.forMs !== undefined);
  if (lasting.length < 2) return moves;
  const [n, m] = [random.pick(lasting), random.pick(lasting)];
  const endOf = (index: number): number => (moves[index]?.atMs ?? 0) + (moves[index]?.forMs ?? 0);
  const ended = (index: number, endMs: number): Move | undefined => {
    const { choice, move } = chosen(moves, index, material);
    return choice?.for === undefined ? undefined : { ...move, forMs: within(choice.for, endMs - move.atMs) };
  };
  const [one, other] = [ended(n, endOf(m)), ended(m, endOf(n))];
  return n === m || one === undefined || other === undefined ? moves : moves.with(n, one).with(m, other);
};

/** A move with its choice; undefined if it is of the file's own timeline, and the search may not use it. */
const chosen = (moves: readonly Move[], n: number, { choices }: Material) => {
  const move = moves[n] as Move;
  const choice: SearchChoice | undefined = choices.find(({ action }) => action === move.action);
  return { move, choice };
};

const changes = [add, add, remove, replace, takeOver, aimElsewhere, moveInTime, moveInTime, endElsewhen, exchangeEnds];
