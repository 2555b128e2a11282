import { ticks } from './axis.ts';

/** A label of the axis, in pixels from the left. */
export interface AxisLabel {
  readonly at: number;
  readonly label: string;
}

/** From times to pixels. */
export interface TimeScale {
  /** Pixels from the left for a time in milliseconds since the epoch. */
  readonly x: (ms: number) => number;
  /** How many milliseconds a pixel covers there. */
  readonly msPerPixel: (ms: number) => number;
  /** The start of the axis part that contains this time, in milliseconds since the epoch. */
  readonly beginOf: (ms: number) => number;
  readonly labels: readonly AxisLabel[];
  /** Where the denser part starts, in pixels; undefined if the axis is linear. */
  readonly foldAt: number | undefined;
}

/** The share of the width for the first part, if the second is denser. */
const firstShare = 0.72;
/** Pixels between the two parts. */
const foldGap = 14;

/**
 * An axis with room for what matters: if much time passes after `foldMs`, that part is denser and starts after a gap.
 * @param foldMs since the epoch, like the others; undefined for a linear axis
 */
export const timeScale = (parts: {
  readonly fromMs: number;
  readonly toMs: number;
  readonly foldMs: number | undefined;
  /** The zero of the labels, since the epoch; undefined: the start of the axis. */
  readonly zeroMs?: number | undefined;
  readonly left: number;
  readonly width: number;
}): TimeScale => {
  const { fromMs, toMs, foldMs, left, width } = parts;
  const zeroMs = parts.zeroMs ?? fromMs;
  const isFolded = foldMs !== undefined && foldMs > fromMs && (foldMs - fromMs) / (toMs - fromMs) < firstShare;
  const axisOf = (from: number, to: number, at: number, pixels: number) => {
    const msPerPixel = (to - from) / pixels;
    const x = (ms: number) => at + (ms - from) / msPerPixel;
    const labels = ticks(from - zeroMs, to - zeroMs, pixels).map(({ atMs, label }) => ({
      at: x(zeroMs + atMs),
      label,
    }));
    return { x, msPerPixel, labels };
  };
  if (!isFolded) {
    const { x, msPerPixel, labels } = axisOf(fromMs, toMs, left, width);
    return { x, msPerPixel: () => msPerPixel, beginOf: () => fromMs, labels, foldAt: undefined };
  }
  const firstWidth = width * firstShare;
  const first = axisOf(fromMs, foldMs, left, firstWidth);
  const rest = axisOf(foldMs, toMs, left + firstWidth + foldGap, width - firstWidth - foldGap);
  const partOf = (ms: number) => (ms < foldMs ? first : rest);
  return {
    x: (ms) => partOf(ms).x(ms),
    msPerPixel: (ms) => partOf(ms).msPerPixel,
    beginOf: (ms) => (ms < foldMs ? fromMs : foldMs),
    // The last label of the first part would overlap the first of the second.
    labels: [...first.labels.filter(({ at }) => at < left + firstWidth - foldGap), ...rest.labels],
    foldAt: left + firstWidth + foldGap / 2,
  };
};
