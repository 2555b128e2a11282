import type { SeededRandom } from '@interlock/runtime';
import type { SearchRange } from '../experiment.ts';
import type { Candidate, Move } from './candidate.ts';
import type { SearchChoice } from './choices.ts';

/** What candidates are made of. */
interface Material {
  /** At least one. */
  readonly choices: readonly SearchChoice[];
  /** Most moves of a candidate. */
  readonly steps: number;
}

/** Times are multiples of this, in milliseconds, so that files are readable. */
const gridMs = 10;
/** How far a moment lies from another that it is drawn beside, in milliseconds. */
const nearMs = 500;
/** Seeds of histories: short, because they are written into files. */
const seeds = 1_000_000;

const drawSeed = (random: SeededRandom): number => random.int(seeds);

/** A candidate that depends on no other. */
export const drawCandidate = (material: Material, random: SeededRandom): Candidate => {
  const moves: Move[] = [];
  for (let left = 1 + random.int(material.steps); left > 0; left -= 1) moves.push(drawMove(material, moves, random));
  return { moves, seed: drawSeed(random) };
};

/**
 * A move beside others. Kinds of actions are equally likely, whatever their number, but faults twice as likely: they break most of what a
 * limit needs. Parts are equally likely too, although some have more faults.
 */
const drawMove = ({ choices }: Material, others: readonly Move[], random: SeededRandom): Move => {
  const kinds = [...new Set(choices.map((one) => one.kind))];
  const kind = random.pick(kinds.includes('fault') ? [...kinds, 'fault' as const] : kinds);
  const ofKind = choices.filter((one) => one.kind === kind);
  const choice = random.pick(kind === 'fault' ? ofOnePart(ofKind, random) : ofKind);
  const goal = random.pick(choice.goals);
  return {
    action: choice.action,
    targets: goal.targets,
    ...drawTimes(choice, others, random),
    start: choice.kind === 'cause' && choice.for !== undefined && random.chance(0.5),
    options: choice.by === undefined ? goal.options : { ...goal.options, by: evenly(choice.by, random) || gridMs },
  };
};

/** The choices that affect a part, with their goals that do. */
const ofOnePart = (faults: readonly SearchChoice[], random: SeededRandom): readonly SearchChoice[] => {
  const part = random.pick([...new Set(faults.flatMap(({ goals }) => goals.flatMap(({ targets }) => targets)))]);
  return faults.flatMap((choice) => {
    const goals = choice.goals.filter(({ targets }) => targets.includes(part));
    return goals.length === 0 ? [] : [{ ...choice, goals }];
  });
};

/** When a move begins and how long it lasts. Half of the faults cover a moment of another move: they begin just before it and end after it. */
const drawTimes = (
  choice: SearchChoice,
  others: readonly Move[],
  random: SeededRandom,
): Pick<Move, 'atMs' | 'forMs'> => {
  if (choice.kind === 'fault' && choice.for && others.length > 0 && random.chance(0.5)) {
    const moment = random.pick(momentsOf(others));
    const atMs = within(choice.at, moment - random.fraction() * nearMs);
    return { atMs, forMs: within(choice.for, moment - atMs + anyLength(choice.for, random)) };
  }
  const atMs = drawMoment(choice.at, others, random);
  return { atMs, ...(choice.for && { forMs: drawEnd(choice.for, atMs, others, random) }) };
};

/** A moment for a move of this choice: every second one lies beside the begin or the end of another move. */
const drawMoment = (range: SearchRange, others: readonly Move[], random: SeededRandom): number => {
  if (others.length === 0 || random.chance(0.5)) return evenly(range, random);
  return within(range, beside(random.pick(momentsOf(others)), random));
};

/** How long a move lasts: short times are as likely as long ones; every fourth ends beside a moment of another. */
const drawEnd = (range: SearchRange, atMs: number, others: readonly Move[], random: SeededRandom): number => {
  const later = momentsOf(others).filter((moment) => moment > atMs);
  if (later.length > 0 && random.chance(0.25)) return within(range, beside(random.pick(later), random) - atMs);
  return within(range, anyLength(range, random));
};

/** Short times are as likely as long ones. */
const anyLength = (range: SearchRange, random: SeededRandom): number => {
  const [from, to] = [Math.max(1, range.fromMs), Math.max(1, range.toMs)];
  return from * (to / from) ** random.fraction();
};

/** When moves begin and end. */
const momentsOf = (moves: readonly Move[]): readonly number[] =>
  moves.flatMap(({ atMs, forMs }) => (forMs === undefined ? [atMs] : [atMs, atMs + forMs]));

const beside = (moment: number, random: SeededRandom): number =>
  moment + (random.chance(0.25) ? 0 : (random.fraction() - 0.25) * nearMs);

const evenly = (range: SearchRange, random: SeededRandom): number =>
  within(range, range.fromMs + random.fraction() * (range.toMs - range.fromMs));

/** The nearest time on the grid in a range. */
const within = ({ fromMs, toMs }: SearchRange, ms: number): number => {
  const rounded = Math.round(ms / gridMs) * gridMs;
  return Math.min(toMs, Math.max(fromMs, rounded));
};
