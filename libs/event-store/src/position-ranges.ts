/** Positions of a store's feed, as ranges without gaps. */
export interface PositionRanges {
  /** @param positions of one commit: ascending, without a gap */
  add(positions: readonly number[]): void;
  /**
   * The last position that follows `position` without a gap; `position` itself if the next one is unknown. Positions up to the
   * result are dropped: the caller continues from it.
   */
  reach(position: number): number;
}

/** Creates an empty set. Adjacent ranges are merged, so the commits of a single process form one range. */
export const positionRanges = (): PositionRanges => {
  /** In order, no two adjacent. */
  let ranges: { first: number; last: number }[] = [];
  return {
    add(positions) {
      const [first, last] = [positions[0], positions.at(-1)];
      if (first === undefined || last === undefined) return;
      // Nearly always the newest; concurrent commits may complete in another order.
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
