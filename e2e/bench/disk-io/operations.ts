import type { DataClient } from './data-client.ts';

/** One kind of use of a disk, the same for everything that is compared. */
export interface Operation {
  readonly pattern: 'sequential' | 'random';
  readonly direction: 'read' | 'write';
  /** Bytes of one read or write. */
  readonly bytes: number;
  /** Reads or writes in flight. */
  readonly depth: number;
}

/** Unit of an operation's rate. */
export const unitOf = ({ pattern }: Operation): 'MB/s' | 'IO/s' => (pattern === 'sequential' ? 'MB/s' : 'IO/s');

/** 4 KiB random, then 1 MiB sequential; each as write and read, at each depth. */
export const operationsAt = (depths: readonly number[]): readonly Operation[] =>
  [{ pattern: 'random', bytes: 4_096 } as const, { pattern: 'sequential', bytes: 1_048_576 } as const].flatMap(
    (shape) =>
      (['write', 'read'] as const).flatMap((direction) => depths.map((depth) => ({ ...shape, direction, depth }))),
  );

/**
 * Reads or writes in the first `regionBytes` of a disk, `depth` at a time, for `seconds`. Operations in flight at the end finish and
 * count.
 * @returns the rate, in the operation's unit
 */
export const perform = async (
  client: Pick<DataClient, 'read' | 'write'>,
  { pattern, direction, bytes, depth }: Operation,
  { seconds, regionBytes, content }: { seconds: number; regionBytes: number; content: Uint8Array },
): Promise<number> => {
  const places = regionBytes / bytes;
  const data = content.subarray(0, bytes);
  let next = 0;
  let place = 1;
  const placeOf = (n: number): number => {
    if (pattern === 'sequential') return n % places;
    // Linear congruential generator (Numerical Recipes): the same places in every run.
    place = (Math.imul(place, 1_664_525) + 1_013_904_223) >>> 0;
    return place % places;
  };
  const since = performance.now();
  const end = since + seconds * 1_000;
  await Promise.all(
    Array.from({ length: depth }, async () => {
      do {
        const offset = placeOf(next++) * bytes;
        await (direction === 'read' ? client.read(offset, bytes) : client.write(offset, data));
      } while (performance.now() < end);
    }),
  );
  const took = (performance.now() - since) / 1_000;
  return pattern === 'sequential' ? (next * bytes) / 1e6 / took : next / took;
};
