/** Milliseconds of each unit of time that files may use. */
const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds of `200ms`, `1.5s`, `2m`, `1h`, `-5m`; undefined for other text. */
export function toMilliseconds(text: string): number | undefined {
  const [, sign = '', count = '', unit = ''] = /^(-?)(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  const factor = unitMs[unit];
  if (factor === undefined) return undefined;
  // 1.1 × 60000 has a remainder in binary: durations are exact to a thousandth of a millisecond.
  const ms = Math.round(Number(count) * factor * 1_000) / 1_000;
  return sign === '-' && ms !== 0 ? -ms : ms;
}

/** The shortest form of a duration that `toMilliseconds` reads back: `1500ms`, `3s`, `2m`. */
export function durationText(ms: number): string {
  const size = Math.abs(ms);
  if (size !== 0 && size % 3_600_000 === 0) return `${ms / 3_600_000}h`;
  if (size !== 0 && size % 60_000 === 0) return `${ms / 60_000}m`;
  if (size !== 0 && size % 1_000 === 0) return `${ms / 1_000}s`;
  return `${ms}ms`;
}
