import { type Html, html, px } from '../html.ts';
import { type FaultBar, faultHeight, faultRows } from './faults.ts';
import { labelHeight, labelRows, type Placed } from './label-rows.ts';
import { type Lane, type Layout, lane, laneHeight } from './lane.ts';
import { type TimeScale, timeScale } from './time-scale.ts';

/** A moment at which the machines were affected: a line through all lanes. */
export interface Mark {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  readonly label: string;
  /** Access is lost or restored, something changes without an effect on machines, or another part of the run starts. */
  readonly kind: 'loss' | 'return' | 'change' | 'aside';
}

/** The content of a picture of machines over time. Times are milliseconds since the epoch. */
export interface PictureContent {
  readonly lanes: readonly Lane[];
  readonly marks: readonly Mark[];
  readonly faults: readonly FaultBar[];
  /** When all machines paused at the same time. */
  readonly pauses: readonly (readonly [number, number])[];
  readonly fromMs: number;
  readonly toMs: number;
  /** The zero of the axis labels; undefined: its start. */
  readonly zeroMs?: number | undefined;
}

const wide: Layout = { nameWidth: 236, plotWidth: 880, laneGap: 10 };
/** Pixels between faults and lanes. */
const faultGap = 8;
/** For a phone: as wide as its screen, so that letters keep their size. */
const narrow: Layout = { nameWidth: 0, plotWidth: 350, laneGap: 30 };

/** Machines over time, for a wide page and for a narrow one. The axis is folded at a mark of kind `aside`. */
export const picture = (
  content: PictureContent,
): Html => html`<svg width="0" height="0" style="position: absolute" aria-hidden="true"><defs>
    ${pattern('off', 'var(--stop)', 0.42)}${pattern('free', 'var(--work)', 0.42)}${pattern('away', 'var(--faint)', 0.35)}</defs></svg>
  <div class="on-wide">${drawn(content, wide)}</div><div class="on-narrow">${drawn(content, narrow)}</div>`;

function drawn({ lanes, marks, faults, pauses, fromMs, toMs, zeroMs }: PictureContent, layout: Layout): Html {
  const { nameWidth, plotWidth, laneGap } = layout;
  const foldMs = marks.find(({ kind }) => kind === 'aside')?.atMs;
  const time = timeScale({ fromMs, toMs, foldMs, zeroMs, left: nameWidth, width: plotWidth });
  const { x } = time;
  const placed = labelRows(
    marks.map((mark) => ({ ...mark, at: x(mark.atMs) })),
    nameWidth + plotWidth,
  );
  const rows = faultRows(faults, time, layout);
  const above = nameWidth === 0 ? laneGap : 0;
  const labelsEnd = (1 + Math.max(0, ...placed.map(({ row }) => row + 1))) * labelHeight;
  const top = labelsEnd + rows.length * faultHeight(layout) + above + (rows.length > 0 ? faultGap : 0);
  const bottom = top + lanes.length * (laneHeight + laneGap);
  return html`<svg viewBox="0 0 ${nameWidth + plotWidth + 8} ${bottom + 26}" role="img"
    aria-label="Reads and writes of each machine over time">
    ${rows.map((draw, index) => draw(labelsEnd + index * faultHeight(layout)))}
    ${lanes.map((one, index) => lane(one, top + index * (laneHeight + laneGap), layout, time))}
    ${pauses.map(([from, to]) => html`<rect class="pause" x="${px(x(from))}" y="${top}" width="${px(Math.max(1, x(to) - x(from)))}" height="${bottom - top - laneGap}"/>`)}
    ${axis(time, bottom - (nameWidth === 0 ? laneGap - 10 : 0), nameWidth + plotWidth)}
    ${lines(placed, bottom)}
  </svg>`;
}

const pattern = (id: string, colour: string, opacity: number): Html =>
  html`<pattern id="${id}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
    <rect width="2" height="6" style="fill: ${colour}; opacity: ${opacity}"/></pattern>`;

function axis({ labels }: TimeScale, y: number, end: number): readonly Html[] {
  return labels.map(({ at, label }) => {
    return html`<line class="grid" x1="${px(at)}" x2="${px(at)}" y1="${y - 4}" y2="${y + 4}"/>
      <text class="small" x="${px(at)}" y="${y + 18}" text-anchor="${at < 12 ? 'start' : at > end - 12 ? 'end' : 'middle'}">${label}</text>`;
  });
}

/** A line through all lanes for each mark, and its label above them. */
function lines(placed: readonly Placed<Mark & { readonly at: number }>[], bottom: number): readonly Html[] {
  const heightOf = (row: number): number => 14 + row * labelHeight;
  const drawnLines = placed.map(
    ({ kind, at, row }) =>
      html`<line class="event-${kind}" x1="${px(at)}" x2="${px(at)}" y1="${heightOf(row) - 10}" y2="${bottom - 4}" stroke-width="1.5"/>`,
  );
  const labels = placed
    .filter(({ label }) => label !== '')
    .map(
      ({ label, kind, at, row, isLeft }) =>
        html`<text class="label label-${kind}" x="${px(at + (isLeft ? -6 : 6))}" y="${heightOf(row)}" text-anchor="${isLeft ? 'end' : 'start'}">${label}</text>`,
    );
  return [...drawnLines, ...labels];
}
