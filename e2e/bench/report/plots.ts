import type { Kept } from '../history.ts';
import { QUANTILE_SHARES } from '../measure.ts';
import { inWords, type Target, targetsFor } from '../targets.ts';
import type { Chart, Series } from './chart.ts';

/** Largest number of runs drawn side by side. */
const runsMax = 24;

const newestBySize = (lines: readonly Kept[]): readonly Kept[] =>
  [...new Map(lines.map((line) => [line.size, line])).values()].toSorted((a, b) => a.size - b.size);

/** The parts of one bench's history that are about one thing each, in order of its name; most benches measure one alone. */
export const byThing = (lines: readonly Kept[]): ReadonlyMap<string, readonly Kept[]> =>
  new Map([...Map.groupBy(lines, ({ of = '' }) => of)].toSorted(([a], [b]) => a.localeCompare(b)));

/** The charts of one thing that a bench measures. */
export const plotsOf = (lines: readonly Kept[], thing: string): readonly Chart[] =>
  [...growth(lines), ...beforeAndAfter(lines), ...distributions(lines), ...courses(lines)].map((chart) =>
    thing === '' ? chart : { ...chart, title: `${chart.title}: ${thing}` },
  );

/** How the figure and its floor grow with the size, where there are several sizes. */
const growth = (lines: readonly Kept[]): readonly Chart[] => {
  const newest = newestBySize(lines);
  const [first] = newest;
  if (!first || newest.length < 2) return [];
  const peers = Object.keys(first).filter((name) => isPeer(name, newest));
  const along = (name: string): Series['points'] =>
    newest.flatMap((line) =>
      typeof line[name] === 'number' && line[name] > 0 ? [[line.size, line[name]] as const] : [],
    );
  return [
    {
      title: 'Growth with size',
      x: { name: 'size', isLog: true },
      y: { name: first.unit, isLog: true },
      series: [
        { name: 'measured', points: along('value') },
        { name: 'floor', points: along('floor'), isDashed: true },
        ...peers.map((name) => ({ name, points: along(name), isDashed: true })),
      ],
    },
  ];
};

/** Other rates or durations of the line, in the same unit: rates of a line that counts in them. */
const isPeer = (name: string, lines: readonly Kept[]): boolean =>
  ['oneStatement', 'emmett', 'eventOnly', 'decided', 'nbdkit', 'qemuNbd'].includes(name) &&
  lines.some((line) => typeof line[name] === 'number');

/** The ratio of each size, run by run, with the targets. */
const beforeAndAfter = (lines: readonly Kept[]): readonly Chart[] => {
  const runs = [...new Set(lines.map(({ time, commit }) => `${time} ${commit}`))].slice(-runsMax);
  const sizes = [...new Set(lines.map(({ size }) => size))].toSorted((a, b) => a - b);
  const marks = [...new Map(lines.flatMap(targetsFor).map((target) => [inWords(target), target])).values()].filter(
    ({ figure }) => figure === 'ratio',
  );
  return [
    {
      title: 'Ratio to the floor, run by run',
      x: { name: 'commit, oldest first', categories: runs.map((run) => run.split(' ')[1] ?? '') },
      y: { name: 'ratio', min: 0, max: roomFor([...lines.map(({ ratio }) => ratio), ...marks.map(markAt)]) },
      series: sizes.map((size) => ({
        name: `size ${size.toLocaleString('en-US')}`,
        points: lines
          .filter((line) => line.size === size && runs.includes(`${line.time} ${line.commit}`))
          .map((line) => [runs.indexOf(`${line.time} ${line.commit}`), line.ratio] as const),
      })),
      marks: marks.map((target) => ({
        at: markAt(target),
        text: `target ${target.least === undefined ? '≤' : '≥'} ${target.least ?? target.most}`,
      })),
    },
  ];
};

const markAt = ({ least, most }: Target): number => least ?? most ?? 0;

/** A round number, which is a tick of the axis too, with a little room above the largest. */
const roomFor = (values: readonly number[]): number => {
  const least = Math.max(...values) * 1.05;
  const decade = 10 ** Math.floor(Math.log10(least));
  const step = least < 2 * decade ? decade / 5 : 2 * decade;
  return Number((Math.ceil(least / step) * step).toPrecision(3));
};

/** Of every distribution on the newest lines: which share of all is below how much. */
const distributions = (lines: readonly Kept[]): readonly Chart[] =>
  newestBySize(lines).flatMap((line) => {
    const named = Object.entries(line).filter(([name, value]) => name.endsWith('Quantiles') && Array.isArray(value));
    if (named.length === 0) return [];
    return [
      {
        title: `Latency, size ${line.size.toLocaleString('en-US')}`,
        // Nines: 90 % at 1, 99 % at 2, 99.9 % at 3; so the tail has as much room as the rest.
        x: { name: 'share of all that is faster', min: 0, max: 3, interval: 1, format: nines },
        y: { name: 'ms', isLog: true },
        series: named.map(([name, value]) => ({
          name: name.replace(/(Ms)?Quantiles$/, ''),
          isDashed: name.startsWith('floor'),
          points: (value as readonly number[]).flatMap((ms, n) => {
            const share = QUANTILE_SHARES[n];
            return share === undefined || share === 1 || ms <= 0 ? [] : [[-Math.log10(1 - share), ms] as const];
          }),
        })),
      },
    ];
  });

/** What the memory of each service was in the course of the newest run of each size, where a bench looks more than once. */
const courses = (lines: readonly Kept[]): readonly Chart[] =>
  newestBySize(lines).flatMap((line) => {
    const looks = Object.entries(line).filter(([name, value]) => name.startsWith('mib of ') && Array.isArray(value));
    if (looks.length === 0) return [];
    return [
      {
        title: `Resident memory, size ${line.size.toLocaleString('en-US')}`,
        x: { name: 'share of the run that is over', min: 0, max: 100, format: (share) => `${share} %` },
        y: { name: 'MiB', min: 0 },
        series: looks.map(([name, value]) => ({
          name: name.replace('mib of ', ''),
          points: (value as readonly number[]).map((mib, n, all) => [(100 * n) / Math.max(1, all.length - 1), mib]),
        })),
      },
    ];
  });

const nines = (value: number): string => `${Number((100 * (1 - 10 ** -value)).toPrecision(3))} %`;
