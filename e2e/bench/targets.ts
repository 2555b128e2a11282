/** What a bench is to reach, checked against one figure of its lines. */
export interface Target {
  readonly bench: string;
  /** Sizes it is meant for; every size where it is absent. */
  readonly sizes?: readonly number[];
  /** Begins the names of the things it is meant for, where a bench measures several; all of them where it is absent. */
  readonly of?: string;
  /** Which figure of the line. */
  readonly figure: string;
  /** Rates are to be at least so much, durations at most. */
  readonly least?: number;
  readonly most?: number;
}

/** The targets of docs/performance.md that can be read off a line. */
export const targets: readonly Target[] = [
  { bench: 'revoke-fleet', sizes: [1], figure: 'ratio', most: 2 },
  { bench: 'revoke-fleet', sizes: [100_000], figure: 'ratio', most: 1.5 },
  { bench: 'revoke-fleet', sizes: [10_000, 100_000, 300_000], figure: 'peakMib', most: 300 },
  { bench: 'fairness', figure: 'ratio', most: 5 },
  { bench: 'restore-fleet', figure: 'ratio', most: 1.5 },
  { bench: 'rotate-fleet', figure: 'ratio', least: 0.7 },
  { bench: 'rotate-fleet', figure: 'ioP99Ratio', most: 2 },
  { bench: 'unwrap', sizes: [2_048], figure: 'ratio', least: 0.8 },
  { bench: 'unwrap', sizes: [4_096], figure: 'ratio', least: 0.9 },
  { bench: 'unwrap', sizes: [2_048], figure: 'oneByOneRatio', least: 0.55 },
  { bench: 'unwrap', sizes: [4_096], figure: 'oneByOneRatio', least: 0.8 },
  { bench: 'unwrap', figure: 'loopBlockedMs', most: 5 },
  { bench: 'append', sizes: [1, 64], figure: 'ratio', least: 0.7 },
  { bench: 'append', sizes: [64], figure: 'ratioToEmmett', least: 2 },
  { bench: 'feed', figure: 'ratio', least: 0.6 },
  { bench: 'feed', figure: 'latencyRatio', most: 2 },
  { bench: 'rebuild', figure: 'ratio', most: 2 },
  { bench: 'disk-io', of: 'sequential', figure: 'ratio', least: 0.85 },
  { bench: 'trace-cost', figure: 'ratio', least: 0.95 },
  { bench: 'start', figure: 'value', most: 8_000 },
  { bench: 'churn', figure: 'memoryGrowth', most: 1.05 },
];

/** Those for one line. */
export const targetsFor = (line: {
  readonly bench: string;
  readonly size: number;
  readonly of?: string;
}): readonly Target[] =>
  targets.filter(
    ({ bench, sizes, of = '' }) =>
      bench === line.bench && (sizes === undefined || sizes.includes(line.size)) && (line.of ?? '').startsWith(of),
  );

/** Whether a line reaches a target; undefined where it does not have the figure. */
export const isReached = (
  line: Readonly<Record<string, unknown>>,
  { figure, least, most }: Target,
): boolean | undefined => {
  const value = line[figure];
  if (typeof value !== 'number') return undefined;
  return value >= (least ?? Number.NEGATIVE_INFINITY) && value <= (most ?? Number.POSITIVE_INFINITY);
};

/** `ratio ≥ 0.7` */
export const inWords = ({ figure, least, most }: Target): string =>
  least === undefined ? `${figure} ≤ ${most}` : `${figure} ≥ ${least}`;
