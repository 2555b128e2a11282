/** A pause of all machines longer than this is shown, in milliseconds: then their computer was busy with other work. */
export const sharedPauseMs = 300;

/**
 * When no machine worked.
 * @param goodMs completion of each successful operation of all machines, in milliseconds since the epoch
 * @param leastMs shorter pauses do not count
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
