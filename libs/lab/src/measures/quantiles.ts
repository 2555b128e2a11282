import type { Quantiles } from '../verdict.ts';

/** Quantiles by nearest rank: each is a value that was measured. Values that are not finite (never) do not count. */
export function quantilesOf(values: readonly number[]): Quantiles {
  const sorted = values.filter(Number.isFinite).toSorted((a, b) => a - b);
  const at = (fraction: number): number | null => sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] ?? null;
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}
