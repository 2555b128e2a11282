import type { Random } from '@interlock/runtime';

/** First pause after a failure. */
const FIRST_MS = 50;
/** Longest pause: the end of an outage is noticed within this time. */
const LONGEST_MS = 5_000;

/** Pause before the next attempt after `failures` failures in a row: doubling, half of it random. */
export const backoffMs = (failures: number, random: Random): number =>
  Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1)) * (0.5 + random.fraction() / 2);
