import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';

/** One line of a bench: a figure beside the floor measured in the same run. */
export interface Measurement {
  readonly bench: string;
  readonly size: number;
  /** Which of several things the bench measures at one size: `sequential read`. Absent where it is one alone. */
  readonly of?: string;
  readonly value: number;
  readonly unit: string;
  /** The same unit, from the floor or peer of this run. */
  readonly floor: number;
  /** value ÷ floor. For rates a high ratio is good, for durations a low one. */
  readonly ratio: number;
  /** (largest − smallest) ÷ median of the samples of `value`. */
  readonly spread: number;
  readonly samples: number;
  readonly commit: string;
  readonly machine: string;
  /** Whatever else the bench has to say; `quantilesOf` latencies under a name that ends in `Quantiles`. */
  readonly [detail: string]: string | number | readonly number[];
}

/** The measurement as one of a cloud with so many processes of each service: with more than one it is another thing than with one. */
export const withReplicas = (measurement: Measurement, replicas = 1): Measurement => {
  if (replicas === 1) return measurement;
  const each = `${replicas} of each service`;
  return { ...measurement, of: measurement.of === undefined ? each : `${measurement.of}, ${each}` };
};

/** A measurement as it is printed: one of a run that measures nothing says so, wherever it is read. */
export const lineOf = (measurement: Measurement, isSmoke: boolean): string =>
  JSON.stringify(isSmoke ? { smoke: true, ...measurement } : measurement);

/** Shares at which `quantilesOf` reads a distribution. */
export const QUANTILE_SHARES = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1] as const;

/** A distribution as history keeps it: its values at `QUANTILE_SHARES`. @throws RangeError without samples */
export const quantilesOf = (samples: readonly number[]): readonly number[] =>
  QUANTILE_SHARES.map((share) => rounded(percentile(samples, share)));

/** Middle value; of an even number the mean of the middle two. @throws RangeError without samples */
export const median = (samples: readonly number[]): number => percentile(samples, 0.5);

/** Value below which a share of the samples lies, interpolated. @param share from 0 to 1 @throws RangeError without samples */
export const percentile = (samples: readonly number[], share: number): number => {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  if (low === undefined || high === undefined) throw new RangeError('there is no percentile of nothing');
  return low + (high - low) * (at - Math.floor(at));
};

/**
 * How much a series still grows once it has begun: the median of its last quarter ÷ that of its second; 1 is flat. What warms
 * up in the first quarter is left out. @throws RangeError without samples
 */
export const growth = (series: readonly number[]): number => median(quarter(series, 3)) / median(quarter(series, 1));

const quarter = (series: readonly number[], n: number): readonly number[] => {
  const from = Math.floor((n * series.length) / 4);
  return series.slice(from, Math.max(from + 1, Math.floor(((n + 1) * series.length) / 4)));
};

/** Milliseconds `work` takes. */
export const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const since = performance.now();
  await work();
  return performance.now() - since;
};

/**
 * Measures several things in turn, A B C A B C …, after one warm-up of each, so that a drift of the machine's speed meets
 * all of them.
 * @returns the samples of each, in ms
 */
export const inTurns = async <Name extends string>(
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
  details: Readonly<Record<string, string | number | readonly number[]>> = {},
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
    // A copy without its history can be measured all the same; the line says that it is one.
    return 'unknown';
  }
};
