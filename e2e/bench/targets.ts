/** The value that one figure of a bench's lines must reach. */
export interface Target {
  readonly bench: string;
  /** Default: every size. */
  readonly sizes?: readonly number[];
  /** Prefix of the line's `of`. Default: every line. */
  readonly of?: string;
  readonly figure: string;
  /** For rates. */
  readonly min?: number;
  /** For durations. */
  readonly max?: number;
}

/** The targets of docs/performance.md. */
const targets: readonly Target[] = [
  { bench: 'revoke-fleet', sizes: [1], figure: 'ratio', max: 2 },
  { bench: 'revoke-fleet', sizes: [100_000], figure: 'ratio', max: 1.5 },
  { bench: 'revoke-fleet', sizes: [10_000, 100_000, 300_000], figure: 'peakMib', max: 300 },
  { bench: 'fairness', figure: 'ratio', max: 5 },
  { bench: 'restore-fleet', figure: 'ratio', max: 1.5 },
  { bench: 'rotate-fleet', figure: 'ratio', min: 0.7 },
  { bench: 'rotate-fleet', figure: 'ioP99Ratio', max: 2 },
  { bench: 'unwrap', sizes: [2_048], figure: 'ratio', min: 0.8 },
  { bench: 'unwrap', sizes: [4_096], figure: 'ratio', min: 0.9 },
  { bench: 'unwrap', sizes: [2_048], figure: 'oneByOneRatio', min: 0.55 },
  { bench: 'unwrap', sizes: [4_096], figure: 'oneByOneRatio', min: 0.8 },
  { bench: 'unwrap', figure: 'loopBlockedMs', max: 5 },
  { bench: 'append', sizes: [1, 64], figure: 'ratio', min: 0.7 },
  { bench: 'append', sizes: [64], figure: 'ratioToEmmett', min: 2 },
  { bench: 'feed', figure: 'ratio', min: 0.6 },
  { bench: 'feed', figure: 'latencyRatio', max: 2 },
  { bench: 'rebuild', figure: 'ratio', max: 2 },
  { bench: 'disk-io', of: 'sequential', figure: 'ratio', min: 0.85 },
  { bench: 'disk-io', of: 'NBD', figure: 'peerRatio', min: 1.3 },
  { bench: 'trace-cost', figure: 'ratio', min: 0.95 },
  { bench: 'start', figure: 'value', max: 8_000 },
  { bench: 'live-page', sizes: [1, 10_000], figure: 'value', max: 300 },
  { bench: 'live-page', figure: 'firstPaintMs', max: 1_000 },
  { bench: 'churn', figure: 'memoryGrowth', max: 1.05 },
];

/** A line of a bench, as far as its targets need it. */
interface Line {
  readonly bench: string;
  readonly size: number;
  readonly of?: string;
  readonly [figure: string]: unknown;
}

/** A target, and what a line has of its figure. */
export interface Judged {
  readonly figure: string;
  /** `≥ 0.7` */
  readonly limit: string;
  /** Undefined: the line does not have the figure. */
  readonly value: number | undefined;
  readonly verdict: 'reached' | 'missed' | 'not measured';
}

/** Each target of a line, judged. */
export const judged = (line: Line): readonly Judged[] =>
  targets
    .filter(
      ({ bench, sizes, of = '' }) =>
        bench === line.bench && (sizes === undefined || sizes.includes(line.size)) && (line.of ?? '').startsWith(of),
    )
    .map(({ figure, min, max }) => {
      const limit = min === undefined ? `≤ ${max}` : `≥ ${min}`;
      const value = line[figure];
      if (typeof value !== 'number') return { figure, limit, value: undefined, verdict: 'not measured' };
      const isReached = value >= (min ?? value) && value <= (max ?? value);
      return { figure, limit, value, verdict: isReached ? 'reached' : 'missed' };
    });

/** Each target of a line with its verdict: `ratio ≥ 0.7 reached`. */
export const verdictsOf = (line: Line): readonly string[] =>
  judged(line).map(({ figure, limit, verdict }) => `${figure} ${limit} ${verdict}`);

/**
 * What has a target and no line in the history: the sizes that targets name, and benches whose targets name no size.
 * By bench and size.
 */
export const withoutLine = (
  lines: readonly Line[],
): readonly { readonly bench: string; readonly size: number | undefined }[] =>
  [...Map.groupBy(targets, ({ bench }) => bench)]
    .flatMap(([bench, ofBench]): readonly { bench: string; size: number | undefined }[] => {
      const measured = new Set(lines.filter((line) => line.bench === bench).map(({ size }) => size));
      const named = new Set(ofBench.flatMap(({ sizes = [] }) => sizes));
      if (named.size === 0) return measured.size === 0 ? [{ bench, size: undefined }] : [];
      const sizes = [...named].filter((size) => !measured.has(size));
      return sizes.sort((one, other) => one - other).map((size) => ({ bench, size }));
    })
    .sort((one, other) => one.bench.localeCompare(other.bench));
