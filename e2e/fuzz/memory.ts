/** Resident memory of processes by name, in MiB, at a time in seconds since the start. */
export interface MemorySample {
  readonly atS: number;
  readonly residentMib: Readonly<Record<string, number>>;
}

/** Largest resident memory of a service under the fuzzer, in MiB. */
export const RESIDENT_MAX_MIB = 350;
/** How much more memory the last quarter of a run may use than the second one, in MiB: caches of bounded size still fill. */
const GROWTH_MAX_MIB = 40;

/** Memory problems of a run, a line each. Growth is judged for runs of five minutes or more. */
export const memoryProblems = (samples: readonly MemorySample[]): readonly string[] => {
  const names = [...new Set(samples.flatMap(({ residentMib }) => Object.keys(residentMib)))];
  const lastS = samples.at(-1)?.atS ?? 0;
  return names.flatMap((name) => {
    const of = (fromS: number, toS: number): number[] =>
      samples.flatMap(({ atS, residentMib }) => {
        const mib = residentMib[name];
        return mib !== undefined && atS >= fromS && atS <= toS ? [mib] : [];
      });
    const most = Math.max(...of(0, lastS));
    const growth = median(of(lastS * 0.75, lastS)) - median(of(lastS * 0.25, lastS * 0.5));
    return [
      ...(most > RESIDENT_MAX_MIB ? [`${name} had ${most} MiB in memory; allowed are ${RESIDENT_MAX_MIB}`] : []),
      ...(lastS >= 300 && growth > GROWTH_MAX_MIB
        ? [`${name} grew by ${growth} MiB from the second quarter to the last; allowed are ${GROWTH_MAX_MIB}`]
        : []),
    ];
  });
};

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
