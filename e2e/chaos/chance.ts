import { createHash } from 'node:crypto';

/**
 * The moment of a fault. In the short form it is the given one; `npm run chaos` sets `CHAOS_SEED`, and then it is drawn from
 * up to four times that, and up to 200 ms in any case, by seed and label: the same seed gives the same moments.
 */
export const momentMs = (label: string, usualMs: number, seed = process.env.CHAOS_SEED): number => {
  if (seed === undefined || seed === '') return usualMs;
  const drawn = createHash('sha256').update(`${seed}\0${label}\0${usualMs}`).digest().readUInt32BE(0) / 2 ** 32;
  return Math.floor(drawn * Math.max(200, 4 * usualMs));
};
