/** Quantiles of durations, in milliseconds: the smallest duration that this part of them does not exceed. */
export interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Quantiles of durations in milliseconds. Each is one of the durations; all are 0 if there are none. */
export const quantilesOf = (durationsMs: readonly number[]): Quantiles => {
  const sorted = durationsMs.toSorted((a, b) => a - b);
  const at = (part: number): number => sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? 0;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
};
