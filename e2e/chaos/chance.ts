import { createHash } from 'node:crypto';

/**
 * The moment of a fault. Without a seed it is the usual one. `npm run chaos` sets `CHAOS_SEED`: then seed and label draw it from
 * 0 to `spreadMs`, and the same seed gives the same moments.
 */
export const momentMs = (
  label: string,
  { usualMs, spreadMs }: { readonly usualMs: number; readonly spreadMs: number },
  seed = process.env.CHAOS_SEED ?? '',
): number => {
  if (seed === '') return usualMs;
  const drawn = createHash('sha256').update(`${seed}\0${label}`).digest().readUInt32BE(0) / 2 ** 32;
  return Math.floor(drawn * spreadMs);
};
