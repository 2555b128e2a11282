import { shortName } from '@interlock/lab/short-name';
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import type { IoMinute } from '../src/page/rows.ts';
import type { Cloud } from './cloud.ts';

/** Height of a chart in CSS pixels. */
const HEIGHT = 170;
/** Seconds that the sentence above a chart counts. */
const RECENT_S = 10;

/** A group with its minutes, by time. */
interface GroupIo {
  readonly group: string;
  readonly minutes: readonly IoMinute[];
}

/** Operations of a group, second by second. A second without operations has none, and no duration. */
interface Series {
  /** Seconds since the epoch. */
  readonly at: number[];
  readonly done: number[];
  readonly failed: number[];
  readonly meanMs: (number | null)[];
  readonly maxMs: (number | null)[];
}

/** Reads and writes over time, for each group of machines. */
export function Io({ cloud }: { readonly cloud: Cloud }) {
  const groups = [...Map.groupBy(cloud.io, ({ group }) => group)]
    .map(([group, minutes]): GroupIo => ({ group, minutes }))
    .toSorted((a, b) => (a.group < b.group ? -1 : 1));
  if (groups.length === 0) return null;
  return (
    <section id="io" aria-labelledby="io-title">
      <h2 id="io-title">Reads and writes</h2>
      <p>
        From the journals of up to two guests of each group. Thick line: operations; dotted: failures; thin: their mean
        duration; dashed: the longest.
      </p>
      {groups.map((one) => (
        <Group key={one.group} {...one} cloud={cloud} />
      ))}
    </section>
  );
}

function Group({ group, minutes, cloud }: GroupIo & { readonly cloud: Cloud }) {
  const nowS = Math.floor(cloud.nowMs / 1_000);
  const series = seriesOf(minutes, Math.ceil(cloud.activity.fromMs / 1_000), nowS);
  const machines = (minutes.at(-1)?.machines ?? []).map(shortName).join(', ');
  const text = `${recentText(series)} (${machines} of ${cloud.machines.filter((one) => one.group === group).length})`;
  return (
    <>
      <h3>{group}</h3>
      <p class="note">{text}</p>
      <Chart series={series} label={`${group}: operations a second, failures and durations over time. ${text}`} />
    </>
  );
}

/** Fills the seconds from the first known one to now. */
function seriesOf(minutes: readonly IoMinute[], fromS: number, nowS: number): Series {
  const known = new Map(
    minutes.flatMap(({ minute, seconds }) => seconds.map((one) => [minute * 60 + one[0], one] as const)),
  );
  const first = Math.max(fromS, minutes[0] === undefined ? nowS : minutes[0].minute * 60);
  // The current second is not over.
  const at = Array.from({ length: Math.max(0, nowS - first) }, (_, n) => first + n);
  const of = at.map((second) => known.get(second));
  return {
    at,
    done: of.map((one) => one?.[1] ?? 0),
    failed: of.map((one) => one?.[2] ?? 0),
    meanMs: of.map((one) => one?.[3] ?? null),
    maxMs: of.map((one) => one?.[4] ?? null),
  };
}

/** `12 operations a second, the slowest took 4 ms, none failed, in the last 10 s` */
function recentText({ done, failed, maxMs }: Series): string {
  const [count, failures] = [done, failed].map((all) => all.slice(-RECENT_S).reduce((sum, one) => sum + one, 0));
  const slowest = Math.max(0, ...maxMs.slice(-RECENT_S).map((ms) => ms ?? 0));
  const rate = Math.round((count ?? 0) / RECENT_S);
  const took = slowest === 0 ? '' : `, the slowest took ${slowest} ms`;
  return `${rate} operations a second${took}, ${failures === 0 ? 'none' : failures} failed, in the last ${RECENT_S} s`;
}

/** Operations and failures on the left axis, durations on the right one. */
function Chart({ series, label }: { readonly series: Series; readonly label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(undefined);
  const isDark = useScheme();
  const { at, done, failed, meanMs, maxMs } = series;
  const data: uPlot.AlignedData = [at, done, failed, meanMs, maxMs];
  // The chart is made again for other colours; new data and another width only redraw it.
  useEffect(() => {
    const { current: element } = place;
    if (element === null) return undefined;
    chart.current = new uPlot(optionsFor(element), data, element);
    const resized = new ResizeObserver(() => chart.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      chart.current?.destroy();
    };
  }, [isDark]);
  useEffect(() => chart.current?.setData(data), [series]);
  return <div ref={place} class="io-chart" role="img" aria-label={label} />;
}

/** Whether the colours are dark, also when that changes. */
function useScheme(): boolean {
  const query = window.matchMedia('(prefers-color-scheme: dark)');
  const [isDark, setDark] = useState(query.matches);
  useEffect(() => {
    const changed = (): void => setDark(query.matches);
    query.addEventListener('change', changed);
    return () => query.removeEventListener('change', changed);
  }, []);
  return isDark;
}

function optionsFor(element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const axis = { stroke: color('--soft'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    cursor: { show: false },
    legend: { show: false },
    scales: { rate: { range: fromZero }, ms: { range: fromZero } },
    axes: [
      { ...axis, space: 90, values: (_chart, seconds) => seconds.map(timeOfDay) },
      { ...axis, scale: 'rate', label: 'operations a second', labelSize: 18, labelFont: '12px system-ui' },
      { ...axis, scale: 'ms', side: 1, grid: { show: false }, label: 'ms', labelSize: 18, labelFont: '12px system-ui' },
    ],
    series: [
      {},
      { scale: 'rate', stroke: color('--compute'), width: 2, points: { show: false } },
      { scale: 'rate', stroke: color('--stop'), width: 2, dash: [2, 3], points: { show: false } },
      { scale: 'ms', stroke: color('--soft'), width: 1, points: { show: false } },
      { scale: 'ms', stroke: color('--soft'), width: 1, dash: [6, 4], points: { show: false } },
    ],
  };
}

/** `07:17:40`, in UTC as every time of the page. @param seconds since the epoch */
const timeOfDay = (seconds: number): string => new Date(seconds * 1_000).toISOString().slice(11, 19);

/** An axis begins at zero, and has a length also without data. */
const fromZero: uPlot.Range.Function = (_chart, _least, most) => [0, Math.max(1, most ?? 0) * 1.1];
