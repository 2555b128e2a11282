/** A label of the axis. */
export interface Tick {
  /** Milliseconds from the zero of the axis; negative before it. */
  readonly atMs: number;
  readonly label: string;
}

/** Minimum pixels between two labels: the width of the longest (`100 min`) and a gap. */
const leastPixels = 64;

/** Distances between labels, in milliseconds. */
const steps = [
  ...[100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * 1_000),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60_000),
  ...[1, 2, 3, 6, 12, 24].map((hours) => hours * 3_600_000),
];

/**
 * The labels of a time axis: as many round times as fit without overlap.
 * @param fromMs start of the axis, in milliseconds from its zero; likewise `toMs`
 */
export const ticks = (fromMs: number, toMs: number, pixels: number): readonly Tick[] => {
  const fits = (step: number): boolean => (step / (toMs - fromMs)) * pixels >= leastPixels;
  const stepMs = steps.find(fits) ?? toMs - fromMs;
  const first = Math.ceil(fromMs / stepMs);
  return Array.from({ length: Math.floor(toMs / stepMs) - first + 1 }, (_, n) => {
    const atMs = (first + n) * stepMs;
    return { atMs, label: `${atMs < 0 ? '−' : ''}${labelOf(Math.abs(atMs), stepMs)}` };
  });
};

/** All labels of an axis have the unit of its step. */
const labelOf = (ms: number, stepMs: number): string => {
  if (stepMs < 1_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (stepMs < 60_000) return `${Math.round(ms / 1_000)} s`;
  return stepMs < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
};
