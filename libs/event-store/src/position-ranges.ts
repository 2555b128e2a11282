/** Positions of a store's feed, kept as ranges without holes until somebody has come past them. */
export interface PositionRanges {
  /** @param positions rising, without a hole: those of one commit */
  add(positions: readonly number[]): void;
  /**
   * How far the positions reach that follow `position` without a hole; `position` itself where the next one is not there. What lies
   * up to there is forgotten: whoever asks goes on from the answer.
   */
  reach(position: number): number;
}

/** Opens them; neighbours become one range, so what one process stores by itself is a single one. */
export const positionRanges = (): PositionRanges => {
  /** In order, no two of them touching. */
  let ranges: { first: number; last: number }[] = [];
  return {
    add(positions) {
      const [first, last] = [positions[0], positions.at(-1)];
      if (first === undefined || last === undefined) return;
      // Nearly always the newest; commits that were under way together may be heard of in another order.
      let at = ranges.length;
      while (at > 0 && (ranges[at - 1]?.first ?? 0) > first) at -= 1;
      const [before, after] = [ranges[at - 1], ranges[at]];
      const joinsBefore = before !== undefined && before.last + 1 === first;
      const joinsAfter = after !== undefined && last + 1 === after.first;
      const joined = { first: joinsBefore ? before.first : first, last: joinsAfter ? after.last : last };
      ranges.splice(at - (joinsBefore ? 1 : 0), (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), joined);
    },
    reach(position) {
      ranges = ranges.filter(({ last }) => last > position);
      const [next] = ranges;
      if (next === undefined || next.first > position + 1) return position;
      ranges.shift();
      return next.last;
    },
  };
};
