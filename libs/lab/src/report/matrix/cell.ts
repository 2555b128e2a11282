import { exitCodes, type Outcome, type Verdict } from '../../verdict.ts';
import { longest } from '../experiment/headline.ts';

/** One combination of a matrix, run once or several times. */
export interface MatrixCell {
  /** How access was lost: `disable-key`. */
  readonly cause: string;
  /** Class of the disks: `premium-ssd`. */
  readonly diskClass: string;
  /** The simultaneous faults: `kill nats`, or `none`. */
  readonly fault: string;
  /** In the order in which they ran. */
  readonly repeats: readonly MatrixRepeat[];
}

/** One run of a cell. */
export interface MatrixRepeat {
  readonly verdict: Verdict;
  /** Path of its report, relative to the page; undefined if it has none. */
  readonly report?: string;
}

/** The worst first: a violation, then outcomes that prove nothing. */
const order: readonly Outcome[] = ['violated', 'inconclusive', 'aborted', 'vacuous', 'held'];

/** The repeat that decides a cell: one with the worst outcome, and of those the slowest. Undefined if it did not run. */
export const decisive = ({ repeats }: MatrixCell): MatrixRepeat | undefined =>
  repeats.toSorted(
    (a, b) =>
      order.indexOf(a.verdict.outcome) - order.indexOf(b.verdict.outcome) || (slowestOf(b) ?? 0) - (slowestOf(a) ?? 0),
  )[0];

/** When the last machine was off, in milliseconds after the loss; null if none stopped, as with ultra disks. */
export const slowestOf = ({ verdict: { groups } }: MatrixRepeat): number | null =>
  longest(groups, ({ stopped }) => stopped);

/** The maximum of the first repeat, of the first two, and so on: how much the tail grew. */
export function tailOf({ repeats }: MatrixCell): readonly number[] {
  const tail: number[] = [];
  for (const ms of repeats.map(slowestOf)) if (ms !== null) tail.push(Math.max(tail.at(-1) ?? ms, ms));
  return tail;
}

/** How many cells have each outcome. */
export const countsOf = (cells: readonly MatrixCell[]): ReadonlyMap<Outcome, number> => {
  const names = Object.keys(exitCodes).filter((name): name is Outcome => order.some((outcome) => outcome === name));
  return new Map(names.map((name) => [name, cells.filter((cell) => decisive(cell)?.verdict.outcome === name).length]));
};
