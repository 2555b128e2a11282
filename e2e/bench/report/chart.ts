import { type EChartsOption, init } from 'echarts';
import type { Html } from '../../rehearsal/report/html.ts';

/** Colours of one theme: text, lines, and one colour a series. */
interface Theme {
  readonly name: 'light' | 'dark';
  readonly ink: string;
  readonly soft: string;
  readonly line: string;
  readonly series: readonly string[];
}

const themes: readonly Theme[] = [
  {
    name: 'light',
    ink: '#1d2327',
    soft: '#59636b',
    line: '#e2e1db',
    series: ['#2a7a6f', '#78828a', '#2f6db3', '#c05a2b', '#6b5bb5', '#a06d05'],
  },
  {
    name: 'dark',
    ink: '#e7ebee',
    soft: '#a6b1b9',
    line: '#2c343b',
    series: ['#4fb8a6', '#98a3ab', '#6ea9ec', '#f08d5c', '#a294ea', '#e0b04a'],
  },
];

/** One line of a chart. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Reference, not measurement: a floor. */
  readonly isDashed?: boolean;
}

export interface Axis {
  /** With its unit. */
  readonly name: string;
  readonly isLog?: boolean;
  /** Names in place of numbers: x is an index into them. */
  readonly categories?: readonly string[];
  /** How a number of the axis is written. */
  readonly format?: (value: number) => string;
  readonly min?: number;
  readonly max?: number;
  /** Distance of its ticks. */
  readonly interval?: number;
}

export interface Chart {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
  /** Horizontal lines: targets. */
  readonly marks?: readonly { readonly at: number; readonly text: string }[];
}

const width = 520;
const height = 320;
/** Between names of the legend, side by side and one below the other. */
const legendGap = 18;
const legendMark = 18;
const legendRow = 14 + legendGap;

/** In how many rows the names of the legend stand. Letters are taken for wide ones: a row too many costs nothing but room. */
const legendRows = (series: readonly Series[]): number => {
  let rows = 1;
  let used = 0;
  for (const { name } of series) {
    const needed = legendMark + 5 + name.length * 7;
    if (used > 0 && used + needed > width) {
      rows += 1;
      used = 0;
    }
    used += needed + legendGap;
  }
  return rows;
};

/** `0.02`, `8`, `1,500`, `120k`, `3M` */
export const short = (value: number): string => {
  const absolute = Math.abs(value);
  if (absolute >= 1_000_000) return `${Number((value / 1_000_000).toPrecision(3))}M`;
  if (absolute >= 10_000) return `${Number((value / 1_000).toPrecision(3))}k`;
  if (absolute >= 1_000) return Number(value.toPrecision(3)).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
};

/** Draws a chart as SVG, once for light pages and once for dark ones; the page's style shows one of them. */
export const draw = (chart: Chart): Html => ({
  html: `<figure aria-label="${chart.title.replaceAll('"', '&quot;')}">${themes.map((theme) => drawIn(theme, chart)).join('')}</figure>`,
});

const drawIn = (theme: Theme, chart: Chart): string => {
  const drawing = init(null, null, {
    renderer: 'svg',
    ssr: true,
    width,
    height: height + (legendRows(chart.series) - 1) * legendRow,
  });
  try {
    drawing.setOption(optionOf(theme, chart));
    return `<div class="in-${theme.name}">${drawing.renderToSVGString()}</div>`;
  } finally {
    drawing.dispose();
  }
};

const optionOf = (theme: Theme, { title, x, y, series, marks = [] }: Chart): EChartsOption => ({
  animation: false,
  color: [...theme.series],
  textStyle: { fontFamily: 'system-ui, sans-serif', color: theme.soft, fontSize: 12 },
  title: { text: title, left: 0, top: 0, textStyle: { color: theme.ink, fontSize: 14, fontWeight: 600 } },
  legend: {
    top: 26,
    left: 0,
    itemWidth: legendMark,
    itemGap: legendGap,
    textStyle: { color: theme.soft },
    data: series.map(({ name }) => name),
  },
  // Below the legend and the unit of the axis, which stands on top of it.
  grid: { left: 64, right: 22, top: 52 + legendRows(series) * legendRow, bottom: 52 },
  xAxis: { ...axis(theme, x), nameGap: 30 },
  yAxis: {
    ...axis(theme, y),
    nameLocation: 'end',
    nameGap: 10,
    nameTextStyle: { color: theme.soft, align: 'left', padding: [0, 0, 0, -58] },
  },
  series: series.map(({ name, points, isDashed }, n) => ({
    name,
    type: 'line' as const,
    data: points.map(([a, b]) => [a, b]),
    symbol: isDashed ? 'diamond' : 'circle',
    symbolSize: points.length > 30 ? 0 : 7,
    lineStyle: { width: 2, type: isDashed ? ('dashed' as const) : ('solid' as const) },
    ...(n === 0 && marks.length > 0
      ? {
          markLine: {
            silent: true,
            symbol: 'none',
            lineStyle: { color: theme.ink, type: 'dotted' as const, opacity: 0.6 },
            label: { color: theme.ink, fontSize: 11 },
            // Their words stand at the ends in turn: two targets can be close to each other.
            data: marks.map(({ at, text }, mark) => ({
              yAxis: at,
              label: {
                formatter: text,
                position: mark % 2 === 0 ? ('insideEndTop' as const) : ('insideStartBottom' as const),
              },
            })),
          },
        }
      : {}),
  })),
});

const axis = (theme: Theme, { name, isLog, categories, format = short, min, max, interval }: Axis) => {
  const look = {
    name,
    nameLocation: 'middle' as const,
    nameTextStyle: { color: theme.soft },
    axisLine: { show: true, lineStyle: { color: theme.line } },
    splitLine: { lineStyle: { color: theme.line } },
  };
  const label = { color: theme.soft, hideOverlap: true };
  if (categories)
    return { ...look, type: 'category' as const, boundaryGap: true, data: [...categories], axisLabel: label };
  const bounds = {
    ...(min === undefined ? {} : { min }),
    ...(max === undefined ? {} : { max }),
    ...(interval === undefined ? {} : { interval }),
  };
  const axisLabel = { ...label, formatter: (value: number) => format(value) };
  return isLog
    ? { ...look, ...bounds, type: 'log' as const, axisLabel }
    : { ...look, ...bounds, type: 'value' as const, scale: true, axisLabel };
};
