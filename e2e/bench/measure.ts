import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';

/** One line of a bench: a value and a floor or peer, measured in the same run. */
export interface Measurement {
  readonly bench: string;
  readonly size: number;
  /** What is measured, if a bench measures several things at one size: `sequential read`. */
  readonly of?: string;
  readonly value: number;
  readonly unit: string;
  /** In the same unit. */
  readonly floor: number;
  /** value ÷ floor. High is good for rates, low for durations. */
  readonly ratio: number;
  /** (largest − smallest) ÷ median of the samples of `value`. */
  readonly spread: number;
  readonly samples: number;
  /** Ends in `+` if there were uncommitted changes. */
  readonly commit: string;
  readonly machine: string;
  /** Details of the bench; lists are quantiles or series. */
  readonly [detail: string]: string | number | readonly number[];
}

/** Details of a measurement. */
export type Details = Readonly<Record<string, string | number | readonly number[]>>;

/** Names the numbers of processes in `of`, so that a line of several is never compared with a line of one. */
export const withProcesses = (
  measurement: Measurement,
  {
    replicas = 1,
    diskHosts = 0,
    vmHosts = 0,
  }: Partial<Record<'replicas' | 'diskHosts' | 'vmHosts', number | undefined>>,
): Measurement => {
  const named = [
    ...(measurement.of === undefined ? [] : [measurement.of]),
    ...(replicas === 1 ? [] : [`${replicas} of each service`]),
    ...(diskHosts === 0 ? [] : [`${diskHosts} disk ${diskHosts === 1 ? 'host' : 'hosts'}`]),
    ...(vmHosts === 0 ? [] : [`${vmHosts} VM ${vmHosts === 1 ? 'host' : 'hosts'}`]),
  ];
  return named.length === 0 ? measurement : { ...measurement, of: named.join(', ') };
};

/** The measurement as one line of JSON. A line of a smoke run starts with `smoke: true`. */
export const lineOf = (measurement: Measurement, isSmoke: boolean): string =>
  JSON.stringify(isSmoke ? { smoke: true, ...measurement } : measurement);

/** The fractions at which `quantilesOf` reads a distribution. */
export const QUANTILES = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1] as const;

/** Values of a distribution at `QUANTILES`. @throws RangeError without samples */
export const quantilesOf = (samples: readonly number[]): readonly number[] =>
  QUANTILES.map((fraction) => rounded(percentile(samples, fraction)));

/** @throws RangeError without samples */
export const median = (samples: readonly number[]): number => percentile(samples, 0.5);

/** Interpolated. @param fraction from 0 to 1 @throws RangeError without samples */
export const percentile = (samples: readonly number[], fraction: number): number => {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = fraction * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  if (low === undefined || high === undefined) throw new RangeError('a percentile needs at least one sample');
  return low + (high - low) * (at - Math.floor(at));
};

/** Median of the last quarter of a series ÷ median of its second quarter: 1 is flat. The first quarter warms up. @throws RangeError without samples */
export const growth = (series: readonly number[]): number => median(quarter(series, 3)) / median(quarter(series, 1));

const quarter = (series: readonly number[], n: number): readonly number[] => {
  const from = Math.floor((n * series.length) / 4);
  return series.slice(from, Math.max(from + 1, Math.floor(((n + 1) * series.length) / 4)));
};

/** Milliseconds that `work` takes. */
export const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const since = performance.now();
  await work();
  return performance.now() - since;
};

/** Runs `each` for 0 … count − 1, `width` at a time. */
export const inFlight = async (width: number, count: number, each: (n: number) => Promise<unknown>): Promise<void> => {
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(width, count) }, async () => {
      while (next < count) await each(next++);
    }),
  );
};

/**
 * Measures several things alternately, A B C A B C …, after one warm-up of each: a drift of the machine's speed affects all
 * of them. @returns the samples of each, in ms
 */
export const alternate = async <Name extends string>(
  rounds: number,
  works: Readonly<Record<Name, () => Promise<unknown>>>,
): Promise<Readonly<Record<Name, readonly number[]>>> => {
  const all = Object.entries(works) as [Name, () => Promise<unknown>][];
  for (const [, work] of all) await work();
  const samples = Object.fromEntries(all.map(([name]) => [name, []])) as unknown as Record<Name, number[]>;
  for (let round = 0; round < rounds; round++) {
    for (const [name, work] of all) samples[name].push(await timed(work));
  }
  return samples;
};

/** Completes a measurement from samples. */
export const measurement = (
  named: { readonly bench: string; readonly size: number; readonly unit: string },
  values: readonly number[],
  floors: readonly number[],
  details: Details = {},
): Measurement => {
  const [value, floor] = [median(values), median(floors)];
  return {
    ...named,
    value: rounded(value),
    floor: rounded(floor),
    ratio: rounded(value / floor),
    spread: rounded((Math.max(...values) - Math.min(...values)) / value),
    samples: values.length,
    ...details,
    commit: commit(),
    machine: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}, Node ${process.versions.node}`,
  };
};

/** Four significant digits. */
export const rounded = (value: number): number => Number(value.toPrecision(4));

const commit = (): string => {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
  try {
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') === '' ? '' : '+'}`;
  } catch {
    // A copy without git history can be measured too.
    return 'unknown';
  }
};
