/** Pixels from one row of labels to the next. */
export const labelHeight = 18;
/** Pixels of a letter of a label, rather more than less, and between a label and its line or its neighbour. */
const letterWidth = 7;
const gap = 6;
/** Marks with the same label that follow each other within so many pixels share one label, with their number. */
const sameWithin = 24;

/** A label at a line. */
interface Mark {
  readonly label: string;
  readonly kind: string;
  /** Pixels from the left of the picture. */
  readonly at: number;
}

/** A mark with its place. `label`: empty if the mark before it has the label of both. */
export type Placed<M> = M & { readonly row: number; readonly isLeft: boolean };

/**
 * Puts labels, in order of their lines, into rows in which none covers another or is crossed by a line. A label that starts
 * before its neighbour ends goes below it, and its line starts there. Near the right edge it is left of its line.
 * @param end pixels from the left at which the picture ends
 */
export const labelRows = <M extends Mark>(marks: readonly M[], end: number): readonly Placed<M>[] => {
  const runs = runsOf(marks.toSorted((one, other) => one.at - other.at));
  const placed: (Placed<M> & { from: number; to: number })[] = [];
  const rest: Placed<M>[] = [];
  for (const [first, ...others] of runs) {
    const label = others.length === 0 ? first.label : `${first.label} ×${others.length + 1}`;
    const width = label.length * letterWidth + 2 * gap;
    const isLeft = first.at + width > end;
    const [from, to] = isLeft ? [first.at - width, first.at] : [first.at, first.at + width];
    const above = placed.filter((one) => one.from < to && one.to > from);
    const row = Math.max(-1, ...above.map((one) => one.row)) + 1;
    placed.push({ ...first, label, row, isLeft, from, to });
    // Their lines start below the label, which they would cross.
    rest.push(...others.map((mark) => ({ ...mark, label: '', row: row + 1, isLeft })));
  }
  return [...placed, ...rest];
};

const runsOf = <M extends Mark>(sorted: readonly M[]): readonly (readonly [M, ...M[]])[] => {
  const runs: [M, ...M[]][] = [];
  for (const mark of sorted) {
    const last = runs.at(-1)?.at(-1);
    const isSame = last?.label === mark.label && last.kind === mark.kind && mark.at - last.at <= sameWithin;
    if (isSame) runs.at(-1)?.push(mark);
    else runs.push([mark]);
  }
  return runs;
};
