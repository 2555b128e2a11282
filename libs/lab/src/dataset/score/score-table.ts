import type { Agreement, Score } from './score.ts';

const figure = (value: number | null): string => (value === null ? '–' : value.toFixed(3));

const three = ({ precision, recall, f1 }: Agreement): readonly string[] => [precision, recall, f1].map(figure);

const header = [
  'method',
  ...['event', 'span', 'service'].flatMap((level) => [`${level} P`, 'R', 'F1']),
  'trees',
  'paths',
  'AC@1',
  'AC@3',
  'AC@5',
  'Avg@5',
  'MRR',
];

/** What each method read, one line each. */
export const readLines = (scores: readonly Score[]): readonly string[] =>
  scores.map(
    ({ method, reads }) =>
      `${method}: reads ${reads === undefined ? 'columns that it does not declare' : reads.join(', ')}`,
  );

/** Scores as a table for a terminal, one row for each method. `–`: nothing to compare. */
export const scoreTable = (scores: readonly Score[]): readonly string[] => {
  const rows = scores.map((one) => [
    one.method,
    ...three(one.event),
    ...three(one.span),
    ...three(one.service),
    ...[one.exactTrees, one.reachability, one.ac1, one.ac3, one.ac5, one.avg5, one.mrr].map(figure),
  ]);
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  return [header, ...rows].map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  '),
  );
};
