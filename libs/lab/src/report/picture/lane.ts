import { type Html, html, px } from '../html.ts';
import type { TimeScale } from './time-scale.ts';

/** Pixels of a picture. */
export interface Layout {
  /** Width to the left of the plot for names; 0 if names are above the lanes. */
  readonly nameWidth: number;
  readonly plotWidth: number;
  readonly laneGap: number;
}

/** A row of the picture: a machine, or several to which the same happened. */
export interface Lane {
  readonly name: string;
  readonly about: string;
  /** Completed reads and writes, in any order. */
  readonly operations: readonly Operation[];
  readonly stretches: readonly Stretch[];
}

/** A read or write. `atMs`: its completion, in milliseconds since the epoch. */
export interface Operation {
  readonly atMs: number;
  readonly ok: boolean;
}

/** A state over time, in milliseconds since the epoch. */
export interface Stretch {
  /**
   * `on`: it runs, and its work is not recorded; `off`: stopped by the platform; `free`: off, and access is restored; `away`: stopped or restarted by its user;
   * `partly`: some machines of the lane are stopped and some are not.
   */
  readonly kind: 'on' | 'off' | 'free' | 'away' | 'partly';
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Pixels. */
export const laneHeight = 36;
/** Completed operations are counted in steps of at least this many milliseconds, and never in steps narrower than a pixel. */
const bucketMsMin = 60;
const barWidthMin = 1.2;

/** Mean width of a character of the small text, in pixels. */
const smallCharacter = 5.5;

/** A text that fits next to the plot. The whole text is shown when the reader points at it. */
const cut = (text: string, width: number): string => {
  const most = Math.floor(width / smallCharacter);
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
};

/** @param y pixels from the top of the picture */
export function lane({ name, about, operations, stretches }: Lane, y: number, layout: Layout, time: TimeScale): Html {
  const { nameWidth, plotWidth } = layout;
  const isAbove = nameWidth === 0;
  return html`<rect class="lane" x="${nameWidth}" y="${y}" width="${plotWidth}" height="${laneHeight}" rx="5"/>
    <text class="name" x="0" y="${y + (isAbove ? -7 : 15)}">${name}</text>
    <text class="small" x="${isAbove ? plotWidth : 0}" y="${y + (isAbove ? -7 : 30)}" text-anchor="${isAbove ? 'end' : 'start'}"><title>${about}</title>${isAbove ? about : cut(about, nameWidth)}</text>
    ${stretches.map((one) => stretch(one, y, time))}${bars(operations, y, time)}
    ${time.foldAt === undefined ? '' : html`<rect class="fold" x="${px(time.foldAt - 3)}" y="${y}" width="6" height="${laneHeight}"/>`}`;
}

const stretch = ({ kind, fromMs, untilMs }: Stretch, y: number, { x }: TimeScale): Html =>
  html`<rect class="${kind}" x="${px(x(fromMs))}" y="${y + 3}" width="${px(Math.max(0, x(untilMs) - x(fromMs)))}" height="${laneHeight - 6}" rx="3"/>`;

/** A bar for each step of time: good operations from below, refused ones as a mark above. */
function bars(operations: readonly Operation[], y: number, time: TimeScale): readonly Html[] {
  const bucketOf = (ms: number): string => {
    const lengthMs = Math.max(bucketMsMin, time.msPerPixel(ms) * barWidthMin);
    const begin = time.beginOf(ms);
    return `${begin + Math.floor((ms - begin) / lengthMs) * lengthMs} ${lengthMs}`;
  };
  const counts = new Map<string, { good: number; bad: number }>();
  for (const { ok, atMs } of operations) {
    const bucket = bucketOf(atMs);
    const { good, bad } = counts.get(bucket) ?? { good: 0, bad: 0 };
    counts.set(bucket, ok ? { good: good + 1, bad } : { good, bad: bad + 1 });
  }
  // Per second, because a bar covers more time after the fold of the axis.
  const rateOf = (bucket: string, good: number): number => good / Number(bucket.split(' ')[1]);
  const most = Math.max(...[...counts].map(([bucket, { good }]) => rateOf(bucket, good)));
  return [...counts].map(([bucket, { good, bad }]) => {
    const [startMs = 0, lengthMs = 0] = bucket.split(' ').map(Number);
    const at = time.x(startMs);
    const width = Math.max(1, lengthMs / time.msPerPixel(startMs) - 0.8);
    // Checks after a start read much at once. The square root keeps ordinary work visible next to them.
    const height = good === 0 ? 0 : (0.35 + 0.65 * Math.sqrt(rateOf(bucket, good) / most)) * (laneHeight - 8);
    return html`${
      good > 0
        ? html`<rect class="io" x="${px(at)}" y="${px(y + laneHeight - 4 - height)}" width="${px(width)}" height="${px(height)}" rx="1"/>`
        : ''
    }${bad > 0 ? html`<rect class="bad" x="${px(at)}" y="${y + 2}" width="${px(width)}" height="5" rx="1"/>` : ''}`;
  });
}
