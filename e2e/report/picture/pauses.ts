/** All machines without work for longer than this at once is shown, in milliseconds: what they run on was busy otherwise. */
export const sharedPauseMs = 300;

/**
 * When every machine was without work at once.
 * @param goodMs completion of each successful operation of all machines, in milliseconds since the epoch
 * @param leastMs shorter ones do not count
 * @returns from and to, in milliseconds since the epoch
 */
export function sharedPauses(
  goodMs: readonly number[],
  leastMs = sharedPauseMs,
): readonly (readonly [number, number])[] {
  const done = goodMs.toSorted((a, b) => a - b);
  return done.flatMap((at, n) => {
    const before = done[n - 1] ?? at;
    return at - before > leastMs ? [[before, at] as const] : [];
  });
}
