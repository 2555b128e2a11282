import type { DataClient } from './data-client.ts';

/** One way of using a disk, as all who are compared are asked for it. */
export interface Operation {
  readonly pattern: 'sequential' | 'random';
  readonly direction: 'read' | 'write';
  /** Bytes of one read or write. */
  readonly bytes: number;
  /** How many are under way at once. */
  readonly depth: number;
}

/** What is rated: bytes where they are many at once, else calls. */
export const unitOf = ({ pattern }: Operation): 'MB/s' | 'IO/s' => (pattern === 'sequential' ? 'MB/s' : 'IO/s');

/** 4 KiB random first, then 1 MiB sequential; each as read and write, at each depth. */
export const operationsAt = (depths: readonly number[]): readonly Operation[] =>
  [{ pattern: 'random', bytes: 4_096 } as const, { pattern: 'sequential', bytes: 1_048_576 } as const].flatMap(
    (shape) =>
      (['write', 'read'] as const).flatMap((direction) => depths.map((depth) => ({ ...shape, direction, depth }))),
  );

/**
 * Reads or writes in the first `regionBytes` of a disk, `depth` at a time, for as long as it should; what is under way then is
 * finished and counts.
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
    // Places in the order of a linear congruential generator (Numerical Recipes): the same in every run.
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
