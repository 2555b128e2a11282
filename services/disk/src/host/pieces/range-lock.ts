/** How a range is used: readers share it, a writer has it exclusively. */
export type RangeUse = 'read' | 'write';

interface Claim {
  readonly from: number;
  readonly to: number;
  readonly use: RangeUse;
  readonly released: Promise<void>;
}

/**
 * Locks over ranges of sectors. Claims that touch each other and are not both reads take turns in the order they came,
 * so no claim starves, and no change of a sector is lost.
 */
export interface RangeLock {
  /** Runs `work` while it holds sectors [from, to). */
  hold<T>(from: number, to: number, use: RangeUse, work: () => Promise<T>): Promise<T>;
}

/** Creates a lock without any claim. */
export const createRangeLock = (): RangeLock => new RangesInTurn();

/** A class: there is one for each open disk, and most of them have nothing in progress (see `FileBlockStore`). */
class RangesInTurn implements RangeLock {
  #claims: Set<Claim> | undefined;

  async hold<T>(from: number, to: number, use: RangeUse, work: () => Promise<T>): Promise<T> {
    this.#claims ??= new Set();
    const claims = this.#claims;
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const isInTheWay = (other: Claim) =>
      other.from < to && from < other.to && (use === 'write' || other.use === 'write');
    const earlier = [...claims].filter(isInTheWay);
    const claim: Claim = { from, to, use, released };
    claims.add(claim);
    try {
      await Promise.all(earlier.map((other) => other.released));
      return await work();
    } finally {
      claims.delete(claim);
      release();
    }
  }
}
