import type { Io, Journals } from '../../oracle/journal/journal.ts';
import type { Evidence, Gathered, LossSeen } from '../evidence/evidence.ts';
import type { Step } from '../timeline.ts';
import { type Html, html, px } from './html.ts';
import { labelHeight, labelRows } from './label-rows.ts';
import { lossesOf } from './report.ts';
import { type TimeScale, timeScale } from './time-scale.ts';

/** Pixels of a picture. */
interface Layout {
  /** Left of the plot, where names stand beside it; 0 where they stand above. */
  readonly nameWidth: number;
  readonly plotWidth: number;
  readonly laneGap: number;
}

const laneHeight = 36;
const wide: Layout = { nameWidth: 236, plotWidth: 880, laneGap: 10 };
/** For a telephone: as wide as its screen, so that letters keep their size. */
const narrow: Layout = { nameWidth: 0, plotWidth: 350, laneGap: 30 };
/** Completed operations are counted in steps of this many milliseconds, and never in narrower ones than a picture can show. */
const bucketMsMin = 60;
const barWidthMin = 1.2;
/** A silence longer than this is shown as one, in milliseconds. */
const silenceMs = 220;
/** All machines silent for longer than this at once is shown, in milliseconds: what they run on was busy otherwise. */
const sharedSilenceMs = 300;

type Machine = Evidence['machines'][number];

/** What the picture shows. */
interface Content {
  readonly machines: readonly Machine[];
  readonly journals: Journals;
  readonly steps: readonly Step[];
  readonly evidence: Gathered;
}

/** The reads and writes of every machine over time, with the moments at which access went and came: for a wide page and for a narrow one. */
export const lanes = (
  content: Content,
): Html => html`<svg width="0" height="0" style="position: absolute" aria-hidden="true"><defs>
    ${pattern('off', 'var(--stop)', 0.42)}${pattern('free', 'var(--work)', 0.42)}${pattern('away', 'var(--faint)', 0.35)}</defs></svg>
  <div class="on-wide">${picture(content, wide)}</div><div class="on-narrow">${picture(content, narrow)}</div>`;

function picture({ machines, journals, steps, evidence }: Content, layout: Layout): Html {
  const { nameWidth, plotWidth, laneGap } = layout;
  const all = machines.flatMap(({ name }) => journals[name] ?? []);
  if (all.length === 0) return html`<p>No machine did any reads or writes.</p>`;
  const fromMs = Math.min(...all.map(({ invokedAt }) => invokedAt)) - 100;
  const toMs = Math.max(...all.map(({ completedAt }) => completedAt)) + 100;
  const marks = steps.flatMap(({ event, startMs }) => (event === undefined ? [] : [{ ...event, startMs }]));
  const foldMs = marks.find(({ kind }) => kind === 'aside')?.startMs;
  const time = timeScale({ fromMs, toMs, foldMs, left: nameWidth, width: plotWidth });
  const { x } = time;
  const placed = labelRows(
    marks.map((mark) => ({ ...mark, at: x(mark.startMs) })),
    nameWidth + plotWidth,
  );
  const above = nameWidth === 0 ? laneGap : 0;
  const top = 2 * labelHeight + Math.max(0, ...placed.map(({ row }) => row)) * labelHeight + above;
  const bottom = top + machines.length * (laneHeight + laneGap);
  const losses = lossesOf(evidence);
  const returns = marks.filter(({ kind }) => kind === 'return').map(({ startMs }) => startMs);
  return html`<svg viewBox="0 0 ${nameWidth + plotWidth + 8} ${bottom + 26}" role="img"
    aria-label="Reads and writes of each machine over time">
    ${machines.map((machine, index) =>
      lane(machine, journals[machine.name] ?? [], top + index * (laneHeight + laneGap), {
        layout,
        time,
        fromMs,
        toMs,
        losses,
        returns,
      }),
    )}
    ${pauses(all).map(([from, to]) => html`<rect class="pause" x="${px(x(from))}" y="${top}" width="${px(Math.max(1, x(to) - x(from)))}" height="${bottom - top - laneGap}"/>`)}
    ${axis(time, bottom - (nameWidth === 0 ? laneGap - 10 : 0))}
    ${events(placed, bottom)}
  </svg>`;
}

const pattern = (id: string, colour: string, opacity: number): Html =>
  html`<pattern id="${id}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
    <rect width="2" height="6" style="fill: ${colour}; opacity: ${opacity}"/></pattern>`;

interface Scale {
  readonly layout: Layout;
  readonly time: TimeScale;
  readonly fromMs: number;
  readonly toMs: number;
  readonly losses: readonly LossSeen[];
  /** When access was restored, in milliseconds since the epoch. */
  readonly returns: readonly number[];
}

function lane(machine: Machine, journal: readonly Io[], y: number, scale: Scale): Html {
  const { layout, time } = scale;
  const { nameWidth, plotWidth } = layout;
  const bucketOf = (ms: number): string => {
    const lengthMs = Math.max(bucketMsMin, time.msPerPixel(ms) * barWidthMin);
    const begin = time.beginOf(ms);
    const startMs = begin + Math.floor((ms - begin) / lengthMs) * lengthMs;
    return `${startMs} ${lengthMs}`;
  };
  const data = journal.filter(({ op }) => op !== 'flush');
  const counts = new Map<string, { good: number; bad: number }>();
  for (const { ok, completedAt } of data) {
    const bucket = bucketOf(completedAt);
    const { good, bad } = counts.get(bucket) ?? { good: 0, bad: 0 };
    counts.set(bucket, ok ? { good: good + 1, bad } : { good, bad: bad + 1 });
  }
  // A second: where time goes by faster, a bar stands for more of it.
  const rateOf = (bucket: string, good: number): number => good / Number(bucket.split(' ')[1]);
  const most = Math.max(...[...counts].map(([bucket, { good }]) => rateOf(bucket, good)));
  const bars = [...counts].map(([bucket, { good, bad }]) => {
    const [startMs = 0, lengthMs = 0] = bucket.split(' ').map(Number);
    const at = time.x(startMs);
    const width = Math.max(1, lengthMs / time.msPerPixel(startMs) - 0.8);
    // Checks after a start read much at once; the root keeps ordinary work visible beside them.
    const height = good === 0 ? 0 : (0.35 + 0.65 * Math.sqrt(rateOf(bucket, good) / most)) * (laneHeight - 8);
    return html`${
      good > 0
        ? html`<rect class="io" x="${px(at)}" y="${px(y + laneHeight - 4 - height)}" width="${px(width)}" height="${px(height)}" rx="1"/>`
        : ''
    }${bad > 0 ? html`<rect class="bad" x="${px(at)}" y="${y + 2}" width="${px(width)}" height="5" rx="1"/>` : ''}`;
  });
  return html`<rect class="lane" x="${nameWidth}" y="${y}" width="${plotWidth}" height="${laneHeight}" rx="5"/>
    <text class="name" x="0" y="${y + (nameWidth === 0 ? -7 : 15)}">${machine.name}</text>
    <text class="small" x="${nameWidth === 0 ? plotWidth : 0}" y="${y + (nameWidth === 0 ? -7 : 30)}" text-anchor="${nameWidth === 0 ? 'end' : 'start'}">${about(machine)}</text>
    ${silences(machine, data, y, scale)}${bars}
    ${time.foldAt === undefined ? '' : html`<rect class="fold" x="${px(time.foldAt - 3)}" y="${y}" width="6" height="${laneHeight}"/>`}`;
}

/**
 * Stretches without work: stopped for a lost key, and, once that was restored, waiting for a start; or
 * given back by the user. A machine that only had to wait for a core was not restarted, so it checks nothing afterwards.
 */
function silences(
  { name }: Machine,
  data: readonly Io[],
  y: number,
  { time: { x }, losses, returns, toMs }: Scale,
): readonly Html[] {
  const stretch = (kind: 'off' | 'free' | 'away', from: number, until: number): Html =>
    html`<rect class="${kind}" x="${px(x(from))}" y="${y + 3}" width="${px(Math.max(0, x(until) - x(from)))}" height="${laneHeight - 6}" rx="3"/>`;
  const good = data.filter(({ ok }) => ok);
  return good.flatMap(({ completedAt, op }, index) => {
    const next = good[index + 1];
    const until = next?.completedAt ?? toMs;
    if (until - completedAt < silenceMs) return [];
    const isStopped = losses.some((loss) =>
      loss.machines.some(
        (machine) =>
          machine.name === name &&
          machine.stoppedAt !== undefined &&
          machine.stoppedAt >= completedAt &&
          machine.stoppedAt <= until,
      ),
    );
    if (!isStopped) return next?.op === 'verify' && op !== 'verify' ? [stretch('away', completedAt, until)] : [];
    const back = returns.find((at) => at > completedAt && at < until) ?? until;
    return [stretch('off', completedAt, back), ...(back < until ? [stretch('free', back, until)] : [])];
  });
}

const classNames: Readonly<Record<string, string>> = {
  STANDARD_HDD: 'Standard HDD',
  STANDARD_SSD: 'Standard SSD',
  PREMIUM_SSD: 'Premium SSD',
  PREMIUM_SSD_V2: 'Premium SSD v2',
  ULTRA: 'Ultra',
};

/** A class of disks as people write it. */
export const className = (sku: string): string => classNames[sku] ?? sku;

function about({ disks, onLoss }: Machine): string {
  const under = disks.filter(({ set }) => set !== '');
  if (under.length === 0) return 'platform key only';
  const classes = [...new Set(under.map(({ sku }) => className(sku)))].join(' + ');
  return onLoss === 'untouched' ? `${classes}, another key` : `${classes} under the key`;
}

/** Whether the picture marks any pause, which wants to be explained then. */
export const hasPauses = ({ machines, journals }: Pick<Content, 'machines' | 'journals'>): boolean =>
  pauses(machines.flatMap(({ name }) => journals[name] ?? [])).length > 0;

/** When every machine was silent at once, from and to in milliseconds since the epoch. */
export function pauses(all: readonly Io[]): readonly (readonly [number, number])[] {
  const done = all
    .filter(({ ok }) => ok)
    .map(({ completedAt }) => completedAt)
    .sort((a, b) => a - b);
  return done.flatMap((at, n) => {
    const before = done[n - 1] ?? at;
    return at - before > sharedSilenceMs ? [[before, at] as const] : [];
  });
}

function axis({ labels }: TimeScale, y: number): readonly Html[] {
  return labels.map(({ at, label }) => {
    return html`<line class="grid" x1="${px(at)}" x2="${px(at)}" y1="${y - 4}" y2="${y + 4}"/>
      <text class="small" x="${px(at)}" y="${y + 18}" text-anchor="${at < 12 ? 'start' : 'middle'}">${label}</text>`;
  });
}

/** The moments at which access went or came: a line through all machines, and what it was above them. */
function events(
  placed: readonly {
    readonly kind: string;
    readonly label: string;
    readonly at: number;
    readonly row: number;
    readonly isLeft: boolean;
  }[],
  bottom: number,
): readonly Html[] {
  const heightOf = (row: number): number => 14 + row * labelHeight;
  const lines = placed.map(
    ({ kind, at, row }) =>
      html`<line class="event-${kind}" x1="${px(at)}" x2="${px(at)}" y1="${heightOf(row) - 10}" y2="${bottom - 4}" stroke-width="1.5"/>`,
  );
  const labels = placed.map(
    ({ label, kind, at, row, isLeft }) =>
      html`<text class="label label-${kind}" x="${px(at + (isLeft ? -6 : 6))}" y="${heightOf(row)}" text-anchor="${isLeft ? 'end' : 'start'}">${label}</text>`,
  );
  return [...lines, ...labels];
}
