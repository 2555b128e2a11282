import type { Kept } from './history.ts';

/** The lines of each bench, thing and size, oldest first; by bench, thing and size. */
export const seriesOf = (history: readonly Kept[]): readonly (readonly Kept[])[] =>
  [...Map.groupBy(history, ({ bench, of = '', size }) => JSON.stringify([bench, of, size])).values()].sort(
    ([one], [other]) => (one && other ? compare(one, other) : 0),
  );

const compare = (one: Kept, other: Kept): number =>
  one.bench.localeCompare(other.bench) || (one.of ?? '').localeCompare(other.of ?? '') || one.size - other.size;

/** `0.02`, `1,500`, `120k`, `3M`: three digits. */
export const short = (value: number): string => {
  const absolute = Math.abs(value);
  if (absolute >= 1_000_000) return `${Number((value / 1_000_000).toPrecision(3))}M`;
  if (absolute >= 10_000) return `${Number((value / 1_000).toPrecision(3))}k`;
  return Number(value.toPrecision(3)).toLocaleString('en-US', { maximumFractionDigits: 6 });
};
