/** A pause of all machines longer than this is shown, in milliseconds: then their computer was busy with other work. */
export const sharedPauseMs = 300;
/** A machine works around a pause if it succeeded within so many times the least pause, before and after it. */
const nearby = 4;

/** When an operation of a machine succeeded, in milliseconds since the epoch. */
export interface GoodOperation {
  readonly machine: string;
  readonly completedMs: number;
}

/**
 * When no machine worked, although several did before and after. A machine that works alone, because the others are off, is only slow.
 * @param good the successful operations of all machines
 * @param leastMs shorter pauses do not count
 * @returns from and to, in milliseconds since the epoch
 */
export function sharedPauses(
  good: readonly GoodOperation[],
  leastMs = sharedPauseMs,
): readonly (readonly [number, number])[] {
  const done = good.toSorted((a, b) => a.completedMs - b.completedMs);
  const machinesIn = (from: number, step: 1 | -1): ReadonlySet<string> => {
    const found = new Set<string>();
    const startMs = done[from]?.completedMs ?? 0;
    for (let at = from; Math.abs((done[at]?.completedMs ?? Number.NaN) - startMs) <= nearby * leastMs; at += step)
      found.add(done[at]?.machine ?? '');
    return found;
  };
  return done.flatMap(({ completedMs }, n) => {
    const beforeMs = done[n - 1]?.completedMs ?? completedMs;
    if (completedMs - beforeMs <= leastMs) return [];
    const after = machinesIn(n, 1);
    const around = [...machinesIn(n - 1, -1)].filter((machine) => after.has(machine));
    return around.length > 1 ? [[beforeMs, completedMs] as const] : [];
  });
}
