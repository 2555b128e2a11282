import type { Kept } from './history.ts';
import { seriesOf, short } from './series.ts';
import { type Judged, judged, withoutLine } from './targets.ts';

/**
 * The table of docs/performance.md as Markdown: the newest line of each bench, thing and size, and below it the runs it comes from.
 * Figures that reach their target are bold. A target without a figure in the history is marked `not measured`.
 */
export const renderTable = (history: readonly Kept[]): string => {
  const lines = seriesOf(history).flatMap((series) => series.slice(-1));
  const missing = withoutLine(lines).map(({ bench, size }) =>
    row([`\`${bench}\``, size === undefined ? '–' : exact(size), 'not measured', '–', '–', '–']),
  );
  const titles = ['Bench', 'Size', 'Ratio', 'Target', 'Value', 'Floor or peer'];
  const table = [row(titles), row(titles.map(() => '---')), ...lines.map(lineRow), ...missing];
  return `${table.join('\n')}\n\n${runsOf(lines).join('\n')}\n`;
};

const row = (cells: readonly string[]): string => `| ${cells.map(escaped).join(' | ')} |`;

/** `2,048`: a size is a name, so it is not rounded. */
const exact = (size: number): string => size.toLocaleString('en-US');

const escaped = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ');

const lineRow = (line: Kept): string => {
  const { bench, of, size, ratio, value, floor, unit, spread } = line;
  const all = judged(line);
  const ofRatio = all.find(({ figure }) => figure === 'ratio');
  const others = all.filter(({ figure }) => figure !== 'ratio');
  return row([
    `\`${bench}\`${of === undefined ? '' : `, ${of}`}`,
    exact(size),
    [
      ofRatio === undefined ? short(ratio) : figureOf(ofRatio),
      ...others.map((one) => `${one.figure} ${figureOf(one)}`),
    ].join(', '),
    [
      ...(ofRatio === undefined ? [] : [ofRatio.limit]),
      ...others.map(({ figure, limit }) => `${figure} ${limit}`),
    ].join(', ') || '–',
    `${short(value)} ${unit}, spread ${short(spread)}`,
    `${short(floor)} ${unit}`,
  ]);
};

const figureOf = ({ value, verdict }: Judged): string => {
  if (value === undefined) return verdict;
  return verdict === 'reached' ? `**${short(value)}**` : short(value);
};

/** A line for each commit, day and machine, with its benches. */
const runsOf = (lines: readonly Kept[]): readonly string[] => {
  const runs = Map.groupBy(lines, ({ commit, time, machine }) => `${commit}, ${time.slice(0, 10)}, ${machine}`);
  return [...runs].map(([run, ofRun]) => {
    const benches = [...new Set(ofRun.map(({ bench }) => `\`${bench}\``))];
    return `- ${escaped(run)}: ${benches.join(', ')}.`;
  });
};
