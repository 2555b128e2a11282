import { type Html, html, px } from '../html.ts';
import type { Layout } from './lane.ts';
import type { TimeScale } from './time-scale.ts';

/** A fault of a part of the cloud, shown as a bar above the lanes. */
export interface FaultBar {
  /** The affected part: `nats`. */
  readonly part: string;
  /** `killed`, `paused`. */
  readonly label: string;
  /** Milliseconds since the epoch. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Pixels from one row of faults to the next. On a narrow page the part's name is above its bar. */
export const faultHeight = ({ nameWidth }: Layout): number => (nameWidth === 0 ? 38 : 24);
/** Pixels of a letter of a label, rather more than less. */
const letterWidth = 6.5;

/** A row for each part that a fault hit. @returns draws each row at `y` pixels from the top */
export function faultRows(
  faults: readonly FaultBar[],
  { x }: TimeScale,
  { nameWidth, plotWidth }: Layout,
): readonly ((y: number) => Html)[] {
  const isAbove = nameWidth === 0;
  const bar = ({ label, fromMs, untilMs }: FaultBar, y: number): Html => {
    const [from, width] = [x(fromMs), Math.max(3, x(untilMs) - x(fromMs))];
    const labelWidth = label.length * letterWidth + 8;
    const isInside = labelWidth < width;
    const isLeft = !isInside && from + width + labelWidth > nameWidth + plotWidth;
    const at = isInside ? from + 6 : isLeft ? from - 5 : from + width + 5;
    return html`<rect class="fault" x="${px(from)}" y="${y}" width="${px(width)}" height="16" rx="3"/>
      <text class="fault-label" x="${px(at)}" y="${y + 12}" text-anchor="${isLeft ? 'end' : 'start'}">${label}</text>`;
  };
  return [...Map.groupBy(faults, ({ part }) => part)].map(
    ([part, bars]) =>
      (y) =>
        html`<text class="name" x="0" y="${y + 12}">${part}</text>
        ${bars.map((one) => bar(one, y + (isAbove ? 18 : 0)))}`,
  );
}
