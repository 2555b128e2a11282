import type { Evidence, Gathered, LossSeen } from '../evidence/evidence.ts';
import type { Io, Journals } from '../evidence/journal.ts';
import type { Step } from '../timeline.ts';
import { ticks } from './axis.ts';
import { type Html, html, px } from './html.ts';
import { labelHeight, labelRows } from './label-rows.ts';
import { lossesOf } from './report.ts';

/** Pixels of the picture. */
const nameWidth = 236;
const plotWidth = 880;
const laneHeight = 36;
const laneGap = 10;
/** Completed operations are counted in steps of this many milliseconds, and never in narrower ones than a picture can show. */
const bucketMsMin = 60;
const barWidthMin = 1.2;
/** A silence longer than this is shown as one, in milliseconds. */
const silenceMs = 220;

type Machine = Evidence['machines'][number];

/** The reads and writes of every machine over time, with the moments at which access went and came. */
export function lanes(parts: {
  readonly machines: readonly Machine[];
  readonly journals: Journals;
  readonly steps: readonly Step[];
  readonly evidence: Gathered;
}): Html {
  const { machines, journals, steps, evidence } = parts;
  const all = machines.flatMap(({ name }) => journals[name] ?? []);
  if (all.length === 0) return html`<p>No machine did any reads or writes.</p>`;
  const fromMs = Math.min(...all.map(({ invokedAt }) => invokedAt)) - 100;
  const toMs = Math.max(...all.map(({ completedAt }) => completedAt)) + 100;
  const marks = steps.flatMap(({ event, startMs }) => (event === undefined ? [] : [{ ...event, startMs }]));
  const x = (ms: number): number => nameWidth + ((ms - fromMs) / (toMs - fromMs)) * plotWidth;
  const placed = labelRows(
    marks.map((mark) => ({ ...mark, at: x(mark.startMs) })),
    nameWidth + plotWidth,
  );
  const top = 2 * labelHeight + Math.max(0, ...placed.map(({ row }) => row)) * labelHeight;
  const bottom = top + machines.length * (laneHeight + laneGap);
  const losses = lossesOf(evidence);
  const returns = marks.filter(({ kind }) => kind === 'return').map(({ startMs }) => startMs);
  return html`<svg viewBox="0 0 ${nameWidth + plotWidth + 8} ${bottom + 26}" role="img"
    aria-label="Reads and writes of each machine over time">
    <defs>${pattern('off', 'var(--stop)', 0.42)}${pattern('free', 'var(--work)', 0.42)}${pattern('away', 'var(--faint)', 0.35)}</defs>
    ${machines.map((machine, index) =>
      lane(machine, journals[machine.name] ?? [], top + index * (laneHeight + laneGap), {
        x,
        fromMs,
        toMs,
        losses,
        returns,
      }),
    )}
    ${axis(fromMs, toMs, bottom, x)}
    ${events(placed, bottom)}
  </svg>`;
}

const pattern = (id: string, colour: string, opacity: number): Html =>
  html`<pattern id="${id}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
    <rect width="2" height="6" style="fill: ${colour}; opacity: ${opacity}"/></pattern>`;

interface Scale {
  readonly x: (ms: number) => number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly losses: readonly LossSeen[];
  /** When somebody gave access back, in milliseconds since the epoch. */
  readonly returns: readonly number[];
}

function lane(machine: Machine, journal: readonly Io[], y: number, scale: Scale): Html {
  const { x, fromMs, toMs } = scale;
  const bucketMs = Math.max(bucketMsMin, ((toMs - fromMs) / plotWidth) * barWidthMin);
  const data = journal.filter(({ op }) => op !== 'flush');
  const counts = new Map<number, { good: number; bad: number }>();
  for (const { ok, completedAt } of data) {
    const bucket = Math.floor((completedAt - fromMs) / bucketMs);
    const { good, bad } = counts.get(bucket) ?? { good: 0, bad: 0 };
    counts.set(bucket, ok ? { good: good + 1, bad } : { good, bad: bad + 1 });
  }
  const most = Math.max(1, ...[...counts.values()].map(({ good }) => good));
  const width = Math.max(1, x(bucketMs) - x(0) - 0.8);
  const bars = [...counts].map(([bucket, { good, bad }]) => {
    const at = x(fromMs + bucket * bucketMs);
    // Checks after a start read much at once; the root keeps ordinary work visible beside them.
    const height = good === 0 ? 0 : (0.35 + 0.65 * Math.sqrt(good / most)) * (laneHeight - 8);
    return html`${
      good > 0
        ? html`<rect class="io" x="${px(at)}" y="${px(y + laneHeight - 4 - height)}" width="${px(width)}" height="${px(height)}" rx="1"/>`
        : ''
    }${bad > 0 ? html`<rect class="bad" x="${px(at)}" y="${y + 2}" width="${px(width)}" height="5" rx="1"/>` : ''}`;
  });
  return html`<rect class="lane" x="${nameWidth}" y="${y}" width="${plotWidth}" height="${laneHeight}" rx="5"/>
    <text class="name" x="0" y="${y + 15}">${machine.name}</text>
    <text class="small" x="0" y="${y + 30}">${about(machine)}</text>
    ${silences(machine, data, y, scale)}${bars}`;
}

/**
 * Stretches without work: stopped for a lost key, and from when that was back waiting for somebody to start the machine; or
 * given back by the user. A machine that only had to wait for a core was not restarted, so it checks nothing afterwards.
 */
function silences(
  { name }: Machine,
  data: readonly Io[],
  y: number,
  { x, losses, returns, toMs }: Scale,
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

function axis(fromMs: number, toMs: number, y: number, x: (ms: number) => number): readonly Html[] {
  return ticks(toMs - fromMs, plotWidth).map(({ atMs, label }) => {
    const at = x(fromMs + atMs);
    return html`<line class="grid" x1="${px(at)}" x2="${px(at)}" y1="${y - 4}" y2="${y + 4}"/>
      <text class="small" x="${px(at)}" y="${y + 18}" text-anchor="middle">${label}</text>`;
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
