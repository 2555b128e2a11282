import type { SeedRow } from './measure-seed.ts';

/** What the runs of each kind must reach. */
export const limits = {
  cause: 1,
  spanRecall: { without: 0.995, with: 0.97 },
  labelPrecision: 1,
  orphans: 0.001,
} as const;

/** The limits that a run does not reach, as texts; empty if it reaches all. */
export const shortfalls = (row: SeedRow): readonly string[] => {
  const least = row.kills > 0 ? limits.spanRecall.with : limits.spanRecall.without;
  const checks: readonly (readonly [string, boolean])[] = [
    [`cause recall ${row.causeRecall}`, row.causeRecall >= limits.cause],
    [`cause precision ${row.causePrecision}`, row.causePrecision >= limits.cause],
    [`span recall ${row.spanRecall}`, row.spanRecall >= least],
    [`label precision ${row.labelPrecision}`, row.labelPrecision >= limits.labelPrecision],
    [`${row.orphans} orphans of ${row.spans} spans`, row.orphans <= limits.orphans * row.spans],
    [`${row.unexplained.length} orphans without a fault`, row.unexplained.length === 0],
    [`deviations: ${row.deviations.join('; ')}`, row.deviations.length === 0],
  ];
  return checks.flatMap(([what, holds]) => (holds ? [] : [what]));
};

const header = [
  'Seed',
  'Kills',
  'Events',
  'Edges',
  'Spans',
  'Cause recall',
  'Cause precision',
  'Span recall',
  'Label precision',
  'Blind precision',
  'Blind recall',
  'Orphans',
  'Unexplained',
  'Deviations',
];

const cells = (row: SeedRow): readonly string[] => [
  ...[row.seed, row.kills, row.events, row.edges, row.spans].map(String),
  ...[row.causeRecall, row.causePrecision, row.spanRecall].map((value) => value.toFixed(3)),
  ...[row.labelPrecision, row.blindPrecision, row.blindRecall].map((value) => value.toFixed(3)),
  ...[row.orphans, row.unexplained.length, row.deviations.length].map(String),
];

/** The runs as a table in Markdown, those without kills first. */
export const seedTable = (rows: readonly SeedRow[]): string =>
  [
    header,
    header.map(() => '---'),
    ...rows.toSorted((a, b) => Number(a.kills > 0) - Number(b.kills > 0) || a.seed - b.seed).map(cells),
  ]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n');
