/** Pixels from one row of labels to the next. */
export const labelHeight = 18;
/** Pixels of a letter of a label, rather more than less, and between a label and its line or its neighbour. */
const letterWidth = 7;
const gap = 6;

/** A label at a line. */
interface Mark {
  readonly label: string;
  /** Pixels from the left of the picture. */
  readonly at: number;
}

/**
 * Puts labels, in order of their lines, into rows in which none covers another or is crossed by a line. A label that starts
 * before its neighbour ends goes below it, and its line starts there. Near the right edge it is left of its line.
 * @param end pixels from the left at which the picture ends
 */
export const labelRows = <M extends Mark>(
  marks: readonly M[],
  end: number,
): readonly (M & { readonly row: number; readonly isLeft: boolean })[] => {
  const placed: (M & { row: number; isLeft: boolean; from: number; to: number })[] = [];
  for (const mark of marks.toSorted((one, other) => one.at - other.at)) {
    const width = mark.label.length * letterWidth + 2 * gap;
    const isLeft = mark.at + width > end;
    const [from, to] = isLeft ? [mark.at - width, mark.at] : [mark.at, mark.at + width];
    const above = placed.filter((one) => one.from < to && one.to > from);
    placed.push({ ...mark, row: Math.max(-1, ...above.map(({ row }) => row)) + 1, isLeft, from, to });
  }
  return placed;
};
